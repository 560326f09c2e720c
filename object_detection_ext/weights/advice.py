"""Why stored weights do not fit a network, and what to change: one line, guessed from names and shapes."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from object_detection_ext.weights.names import DEPTH_MULTIPLIERS, Part, part_of
from object_detection_ext.weights.report import Outcome, RestoreReport
from object_detection_ext.weights.source import WeightSource

_WIDE = 64  # channels from which rounding to multiples of 8 says little about the multiplier


class _Optional(NamedTuple):
    """A part of the network that a file may lack, and the kind of warm start that does without."""

    name: str
    kind_without: str


_OPTIONAL: dict[Part, _Optional] = {
    "feature_maps": _Optional("feature-map layers", "classification"),
    "heads": _Optional("heads", "detection"),
}


def no_ranges(path: str) -> str:
    """Why weights that were trained in float do not serve a network with fake quantisation."""
    return (
        f"{path} has no ranges for fake quantisation, as it was trained in float: make it the fine_tune_checkpoint of a run, which finds "
        "them, or leave graph_rewriter out"
    )


def why_little_fits(report: RestoreReport, source: WeightSource, *, min_share: float, depth_multiplier: float | None) -> str:
    """The message of the error: how much fits, how much must, and the likeliest cause."""
    rule = "everything must" if min_share >= 1 else f"at least {min_share:.0%} must"
    start = f"{source.path} ({source.kind}): {report.share:.0%} of the parameters asked for fit, {rule}; nothing was restored"
    advice = (
        _other_depth(report, depth_multiplier)
        or _absent_part(report)
        or other_min_depth(report)
        or _other_names(report)
        or _other_classes(report)
    )
    return f"{start}: {advice or _first(report)}"


def _other_depth(report: RestoreReport, depth_multiplier: float | None) -> str | None:
    ratios = [o.stored_shape[-1] / o.shape[-1] for o in report.outcomes if o.stored_shape and _is_wide_kernel(o)]
    mismatched = [o for o in report.outcomes if o.status == "mismatch" and part_of(o.name) == "backbone"]
    if len(ratios) < 3 or not mismatched:
        return None
    ratio = statistics.median(ratios)
    if abs(ratio - 1) < 0.05:
        return None
    example = _shapes(mismatched[-1])
    if depth_multiplier is not None:
        nearest = min(DEPTH_MULTIPLIERS, key=lambda known: abs(known / (ratio * depth_multiplier) - 1))
        if abs(nearest / (ratio * depth_multiplier) - 1) < 0.08 and nearest != depth_multiplier:
            return (
                f"the checkpoint is of depth {nearest:g}, the config says {depth_multiplier:.7g}: set "
                f"model.ssd.feature_extractor.depth_multiplier: {nearest:g} ({example})"
            )
    return f"its layers are {ratio:.2f} times as wide as the config's; depth_multiplier and min_depth decide on that ({example})"


def other_min_depth(report: RestoreReport) -> str | None:
    """Where the backbone's layers that do not fit are narrower in the file, and as wide here as a least width or its expansions."""
    kernels = [o for o in report.outcomes if part_of(o.name) == "backbone" and o.status == "mismatch" and o.name.endswith("/kernel")]
    pairs = [(o.stored_shape[-1], o.shape[-1]) for o in kernels if o.stored_shape and o.stored_shape[-1] != o.shape[-1]]
    if not pairs:
        return None
    stored, least = min(pairs, key=lambda pair: pair[1])
    if any(theirs > ours or ours % least for theirs, ours in pairs):
        return None
    return f"its narrowest layers have {stored} channels, the config's {least}: model.ssd.feature_extractor.min_depth: {stored} would fit"


def _is_wide_kernel(outcome: Outcome) -> bool:
    stored = outcome.stored_shape
    if stored is None or part_of(outcome.name) != "backbone" or not len(stored) == len(outcome.shape) == 4:
        return False
    return outcome.name.endswith("/kernel") and outcome.shape[-1] >= _WIDE


def _absent_part(report: RestoreReport) -> str | None:
    """A part that was asked for and of which nothing is in the file, although the backbone is."""
    if not any(o.status == "restored" and part_of(o.name) == "backbone" for o in report.outcomes):
        return None
    absent = [layers for part, layers in _OPTIONAL.items() if _statuses(report, part) == {"missing"}]
    if not absent:
        return None
    names = " and ".join(layers.name for layers in absent)
    return f"it holds no {names} of this network; as a warm start, set train_config.fine_tune_checkpoint_type: {absent[0].kind_without}"


def _statuses(report: RestoreReport, part: Part) -> set[str]:
    return {outcome.status for outcome in report.outcomes if part_of(outcome.name) == part}


def _other_names(report: RestoreReport) -> str | None:
    missing = [outcome.name for outcome in report.outcomes if outcome.status == "missing"]
    if not missing or not report.unused or report.count("missing") < 2 * report.count("restored", "mismatch"):
        return None
    return (
        f"it is of another network: it has no {missing[0]} but {next(iter(report.unused))}; "
        "model.ssd.feature_extractor.type must be what it was trained with"
    )


def _other_classes(report: RestoreReport) -> str | None:
    if not report.class_heads or report.count("missing", "mismatch"):
        return None
    return f"its class heads are for another number of classes ({_shapes(report.class_heads[0])}); model.ssd.num_classes must agree"


def _first(report: RestoreReport) -> str:
    wrong = [outcome for outcome in report.outcomes if outcome.status in ("mismatch", "missing")]
    return "; ".join(_shapes(outcome) for outcome in wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")


def _shapes(outcome: Outcome) -> str:
    stored = "missing" if outcome.stored_shape is None else f"{outcome.stored_shape} there"
    return f"{outcome.name} is {stored} and {outcome.shape} here"
