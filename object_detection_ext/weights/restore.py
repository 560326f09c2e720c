"""Stored weights into a network: what fits is assigned and what does not is told, all or nothing."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from object_detection_ext.errors import InputError
from object_detection_ext.models.quantization_state import is_quantization_state
from object_detection_ext.weights.advice import no_ranges, other_min_depth, why_little_fits
from object_detection_ext.weights.names import NameTable, Part, StoredName, part_of
from object_detection_ext.weights.report import Outcome, RestoreReport
from object_detection_ext.weights.source import Scheme, WeightSource

if TYPE_CHECKING:
    import tf_keras

MIN_SHARE = 0.75
EVERYTHING = 1.0  # as a least share: every variable must fit, class heads too

# Scheme -> the module of its table in this package, and the table's name.
_TABLES: dict[Scheme, tuple[str, str]] = {
    "api": ("api_names", "api_names"),
    "api_graph": ("api_names", "graph_names"),
    "tf1": ("tf1_names", "tf1_names"),
    "slim": ("tf1_names", "slim_names"),
    "keras": ("keras_names", "keras_names"),
    "torchvision": ("torchvision_names", "torchvision_names"),
}


def name_table(scheme: Scheme) -> NameTable:
    """The table that tells where files of a scheme keep our variables."""
    if scheme == "ours":
        return _own_names
    module, name = _TABLES[scheme]
    return getattr(importlib.import_module(f"object_detection_ext.weights.{module}"), name)


def restore(
    network: tf_keras.Model,
    source: WeightSource,
    *,
    parts: frozenset[Part] | None = None,
    min_share: float = MIN_SHARE,
    depth_multiplier: float | None = None,
) -> RestoreReport:
    """Assigns every stored variable that has its place and shape in `network`; the others keep their values.

    The final layers of class heads that differ only in their number of classes are left fresh, as is what is not asked for; neither
    counts against `min_share`. Moving statistics of batch normalisation are variables like the others. A new run
    (`parts`) gathers its own ranges of fake quantisation: they and their count of steps stay fresh, as where a float file lacks them.

    Args:
        parts: the parts of the network to restore; None for all.
        min_share: least share, by parameters, of what is asked for. Below it nothing is assigned. At 1 nothing may be left out, class
            heads and ranges neither.
        depth_multiplier: the config's, for advice.

    Raises:
        InputError: too little fits; says what to change.
    """
    variables = {variable.name.partition(":")[0]: variable for variable in network.weights}
    report, values = _plan({name: tuple(variable.shape) for name, variable in variables.items()}, source, parts)
    if min_share == EVERYTHING and any(is_quantization_state(each.name) and each.status == "fresh" for each in report.outcomes):
        raise InputError(no_ranges(source.path))
    complete = min_share < EVERYTHING or not report.class_heads
    if report.share < min_share or not complete or not values:
        raise InputError(why_little_fits(report, source, min_share=min_share, depth_multiplier=depth_multiplier))
    for name, value in values.items():
        variables[name].assign(value)
    return replace(report, advice=other_min_depth(report) or "", caution=_caution(values, source.scheme))


def _plan(
    shapes: Mapping[str, tuple[int, ...]], source: WeightSource, parts: frozenset[Part] | None
) -> tuple[RestoreReport, dict[str, np.ndarray]]:
    table = name_table(source.scheme)(list(shapes))
    outcomes: list[Outcome] = []
    values: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        stored = table.get(name)
        if parts is not None and (part_of(name) not in parts or is_quantization_state(name)):
            outcomes.append(Outcome(name, "fresh", shape))
        elif stored is None or any(key not in source.shapes for key in (stored.name, *stored.beside)):
            outcomes.append(Outcome(name, "fresh" if is_quantization_state(name) else "missing", shape))
        else:
            value = _load(stored, source)
            if value is not None and value.shape == shape:
                values[name] = value
                outcomes.append(Outcome(name, "restored", shape, shape))
            else:
                outcomes.append(Outcome(name, "mismatch", shape, source.shapes[stored.name] if value is None else value.shape))
    placed = {key for stored in table.values() for key in (stored.name, *stored.beside)}
    unused = {name: shape for name, shape in source.shapes.items() if name not in placed}
    return RestoreReport(f"{source.path} ({source.kind})", _leave_class_heads(outcomes), unused), values


def _caution(restored: Collection[str], scheme: Scheme) -> str:
    if scheme == "tf1" and any("/top_down/smoothing_2" in name for name in restored):
        return (
            "TF 1 computed the finest maps of this pyramid from sums before smoothing, TF 2 and this project from smoothed maps: "
            "train some steps before you use the network as it is"
        )
    return ""


def _load(stored: StoredName, source: WeightSource) -> np.ndarray | None:
    """The value in our layout; None where its rank is not what the layout is made for."""
    try:
        return np.asarray(stored.load(source.read))
    except InputError:  # a ValueError too: the file is damaged
        raise
    except ValueError:
        return None


def _leave_class_heads(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Tells class heads for another number of classes from heads that do not fit: the box heads beside them do."""
    if any(outcome.status == "mismatch" and "BoxHead" in outcome.name for outcome in outcomes):
        return tuple(outcomes)
    return tuple(outcome._replace(status="fresh") if _is_other_class_count(outcome) else outcome for outcome in outcomes)


def _is_other_class_count(outcome: Outcome) -> bool:
    if outcome.status != "mismatch" or "/ClassPredictor/" not in outcome.name or outcome.stored_shape is None:
        return False
    return len(outcome.shape) == len(outcome.stored_shape) and outcome.shape[:-1] == outcome.stored_shape[:-1]


def _own_names(names: Sequence[str]) -> dict[str, StoredName]:
    return {name: StoredName(name) for name in names}
