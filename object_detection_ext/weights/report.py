"""What became of each variable of a network when stored weights were read into it, as a table for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from object_detection_ext.weights.names import part_of

# restored: as stored. missing: not in the file. mismatch: in the file with another shape. fresh: not asked for, or a class head for
# another number of classes. All but `restored` keep the values they had.
Status = Literal["restored", "missing", "mismatch", "fresh"]
STATUSES: tuple[Status, ...] = ("restored", "missing", "mismatch", "fresh")

_TITLES = {"restored": "restored", "missing": "missing", "mismatch": "shape mismatch", "fresh": "left fresh"}
_MOST_ROWS = 8  # a backbone in more pieces is told in one row
_MOST_NAMES = 4
_COORDINATES = 4  # of a box code


class Outcome(NamedTuple):
    """What became of one variable of the network."""

    name: str
    status: Status
    shape: tuple[int, ...]
    stored_shape: tuple[int, ...] | None = None  # in our layout; None where the file has no such variable or it was not asked for

    @property
    def size(self) -> int:
        """Its parameters."""
        return math.prod(self.shape)


class Scope(NamedTuple):
    """A group of variables that a table tells in one row."""

    label: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class RestoreReport:
    """All variables of a network after reading a file; `str()` is the table.

    Attributes:
        source: the file and its kind, in words.
        outcomes: in the order of the network's variables.
        unused: stored variables, with their shapes in the file, that this network has no place for.
        advice: what would make more of the file fit; empty where nothing is known.
        caution: why the network may compute something else although weights fit; empty where nothing is known.
    """

    source: str
    outcomes: tuple[Outcome, ...]
    unused: Mapping[str, tuple[int, ...]]
    advice: str = ""
    caution: str = ""

    def count(self, *statuses: Status) -> int:
        """Variables of these statuses."""
        return sum(outcome.status in statuses for outcome in self.outcomes)

    def parameters(self, *statuses: Status) -> int:
        """Parameters of these statuses."""
        return sum(outcome.size for outcome in self.outcomes if outcome.status in statuses)

    @property
    def share(self) -> float:
        """Parameters restored, of those that were to be: what is left fresh does not count."""
        wanted = self.parameters("restored", "missing", "mismatch")
        return self.parameters("restored") / wanted if wanted else 0.0

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The rows of the table: stretches of the backbone, the feature maps, each head."""
        return scopes({outcome.name: outcome.status for outcome in self.outcomes})

    @property
    def class_heads(self) -> tuple[Outcome, ...]:
        """The predictors that stayed fresh because the file was trained for another number of classes."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "fresh" and outcome.stored_shape is not None)

    def __str__(self) -> str:
        of = {outcome.name: outcome for outcome in self.outcomes}
        rows = [["", *(_TITLES[status] for status in STATUSES)]]
        for scope in self.scopes:
            rows.append([scope.label, *_cells([of[name] for name in scope.names])])
        rows.append(["total", *_cells(self.outcomes)])
        head = f"weights from {self.source}: variables (parameters)"
        return "\n".join([head, *aligned(rows), *self._notes()])

    def _notes(self) -> Iterator[str]:
        mismatched = [outcome for outcome in self.outcomes if outcome.status == "mismatch"]
        if mismatched:
            yield _listed("shape mismatch, left fresh", [f"{o.name} {o.shape} here, {o.stored_shape} in the file" for o in mismatched])
            if self.advice:
                yield f"to restore more: {self.advice}"
        missing = [f"{outcome.name} {outcome.shape}" for outcome in self.outcomes if outcome.status == "missing"]
        if missing:
            yield _listed("missing in the file", missing)
        if self.class_heads:
            yield f"class heads stay fresh: {self._class_counts()}"
        if self.unused:
            yield _listed("in the file without a place here", [f"{name} {shape}" for name, shape in self.unused.items()])
        if self.caution:
            yield f"note: {self.caution}"

    def _class_counts(self) -> str:
        """The numbers of class scores, from the first class head and the box head beside it."""
        head = next((outcome for outcome in self.class_heads if outcome.name.endswith("/bias")), self.class_heads[0])
        boxes = next((o.shape[-1] for o in self.outcomes if "BoxHead" in o.name and o.name.endswith("/bias")), 0)
        anchors = boxes // _COORDINATES
        assert head.stored_shape is not None
        if not anchors or head.shape[-1] % anchors or head.stored_shape[-1] % anchors:
            return f"{head.name} is {head.stored_shape} in the file and {head.shape} here"
        stored, ours = head.stored_shape[-1] // anchors, head.shape[-1] // anchors
        return f"the file scores {stored} classes (the background included where it has one), the config {ours}"


def scopes(states: Mapping[str, object]) -> tuple[Scope, ...]:
    """Groups variables, in the network's order, into rows: stretches of backbone layers in one state, the feature maps, each head.

    Args:
        states: variable name -> what the stretches are told apart by.
    """
    groups: dict[str, list[str]] = {"FeatureMaps": []}
    backbone = [name for name in states if part_of(name) == "backbone"]
    for name in states:
        if part_of(name) == "backbone":
            continue
        label = "FeatureMaps" if part_of(name) == "feature_maps" else "/".join(name.split("/")[:2])
        groups.setdefault(label, []).append(name)
    rest = [Scope(label, tuple(names)) for label, names in groups.items() if names]
    return (*_stretches(backbone, states), *rest)


def _stretches(names: Sequence[str], states: Mapping[str, object]) -> list[Scope]:
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition("/")[0], []).append(name)
    runs: list[tuple[frozenset[object], list[str]]] = []
    for layer, variables in layers.items():
        state = frozenset(states[name] for name in variables)
        if not runs or runs[-1][0] != state:
            runs.append((state, []))
        runs[-1][1].append(layer)
    if len(runs) > _MOST_ROWS:
        return [Scope("backbone", tuple(names))]
    return [Scope(_stretch_label(run), tuple(name for layer in run for name in layers[layer])) for _, run in runs]


def _stretch_label(layers: Sequence[str]) -> str:
    return f"backbone: {layers[0]}" if len(layers) == 1 else f"backbone: {layers[0]} to {layers[-1]}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    first, *others = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))]) for row in rows]


def _cells(outcomes: Sequence[Outcome]) -> list[str]:
    cells = []
    for status in STATUSES:
        sizes = [outcome.size for outcome in outcomes if outcome.status == status]
        cells.append(f"{len(sizes)} ({sum(sizes):,})" if sizes else "-")
    return cells


def _listed(title: str, entries: Sequence[str]) -> str:
    more = f"; and {len(entries) - _MOST_NAMES} more" if len(entries) > _MOST_NAMES else ""
    return f"{title}: {'; '.join(entries[:_MOST_NAMES])}{more}"
