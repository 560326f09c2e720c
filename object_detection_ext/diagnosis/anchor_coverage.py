"""Which objects the anchors can learn: the share that no anchor reaches at the matcher's IoU, by class, size and aspect ratio.

Such an object is a positive example only through `force_match_for_each_row`, at one badly fitting anchor, or not at all. Augmentation is
left out: crops make objects larger in the network's input, rotations turn their aspect ratio around.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from object_detection_ext.diagnosis.anchor_grid import AnchorGrid, best_iou
from object_detection_ext.findings import Check, Finding, Severity

COCO_SIZES = (("small, area below 32²", 32.0), ("medium", 96.0), ("large, area from 96²", np.inf))  # sides of pixels; cocodataset.org
_SIDES = (8, 16, 32, 64, 96, 128, 192, 256, 384, 512)  # pixels
_ASPECT_RATIOS = (1 / 4, 1 / 2, 2 / 3, 3 / 2, 2, 4)  # width / height at the network's input

MAX_MISSED = 0.1  # share of all objects above which a warning is due
MAX_MISSED_OF_CLASS = 0.25  # share of one class, of which there are at least:
MIN_OBJECTS_OF_CLASS = 10

ANCHORS_MISS_OBJECTS = Check(
    "anchors_miss_objects",
    Severity.WARNING,
    f"more than {MAX_MISSED:.0%} of the objects, or {MAX_MISSED_OF_CLASS:.0%} of a class, that no anchor overlaps as the matcher asks",
    "--anchor_patch FILE writes anchors that fit better; a larger input or a finer feature map helps small objects",
)


class CoverageGroup(NamedTuple):
    """Objects that have something in common."""

    name: str
    num_objects: int
    num_missed: int  # whose best IoU with an anchor is below the threshold
    mean_iou: float  # of their best IoUs; 0 without objects

    @property
    def missed_share(self) -> float:
        return self.num_missed / max(self.num_objects, 1)


@dataclass(frozen=True, eq=False)
class AnchorCoverage:
    """How well anchors fit N objects. Groups without objects are left out."""

    threshold: float  # IoU that the matcher asks for
    is_forced: bool  # a missed object still takes its best anchor
    input_shape: tuple[int, int]  # height and width of the network's input in pixels
    best_iou: np.ndarray  # [N] float64
    overall: CoverageGroup
    by_class: tuple[CoverageGroup, ...]  # worst first
    by_size: tuple[CoverageGroup, ...]  # COCO's sizes, in pixels of the network's input
    by_side: tuple[CoverageGroup, ...]  # square root of the area, in pixels of the network's input
    by_aspect_ratio: tuple[CoverageGroup, ...]  # width / height in the network's input


def measure_coverage(
    boxes: np.ndarray,
    class_ids: np.ndarray,
    *,
    grids: Sequence[AnchorGrid],
    input_shape: tuple[int, int],
    class_names: Mapping[int, str],
    threshold: float = 0.5,
    is_forced: bool = True,
) -> AnchorCoverage:
    """Compares every object with its best anchor.

    Args:
        boxes: [N, 4] float, with area, normalised to the (padded) network input.
        class_ids: [N] int, label-map ids.
        grids: the anchors.
        input_shape: height and width of the network's input in pixels.
        class_names: label-map id -> name; an id that it lacks names itself.
        threshold: IoU from which the matcher takes an anchor.
        is_forced: the matcher has `force_match_for_each_row`.
    """
    ious = best_iou(boxes, grids)
    heights, widths = ((boxes[:, 2:] - boxes[:, :2]) * np.asarray(input_shape)).T
    sides = np.sqrt(heights * widths)
    ids, class_index = np.unique(class_ids, return_inverse=True)
    names = [class_names.get(class_id) or f"id {class_id}" for class_id in ids.tolist()]

    def groups(names: Sequence[str], index: np.ndarray) -> tuple[CoverageGroup, ...]:
        return _groups(names, index, ious=ious, threshold=threshold)

    overall = groups(["all objects"], np.zeros(len(ious), int)) or (CoverageGroup("all objects", 0, 0, 0.0),)
    return AnchorCoverage(
        threshold,
        is_forced,
        input_shape,
        ious,
        overall[0],
        by_class=tuple(sorted(groups(names, class_index), key=lambda group: (-group.missed_share, group.name))),
        by_size=groups([name for name, _ in COCO_SIZES], np.searchsorted([side for _, side in COCO_SIZES[:-1]], sides, side="right")),
        by_side=groups(_interval_names([f"{side}" for side in _SIDES]), np.searchsorted(_SIDES, sides, side="right")),
        by_aspect_ratio=groups(
            _interval_names(["1:4", "1:2", "2:3", "3:2", "2:1", "4:1"]), np.searchsorted(_ASPECT_RATIOS, widths / heights, side="right")
        ),
    )


def find_missed_objects(coverage: AnchorCoverage, where: str) -> list[Finding]:
    """One warning where the anchors miss too many of all objects or of a class; `where` is the place of the anchors in the config."""
    worst = [group for group in coverage.by_class if group.num_missed and group.missed_share >= coverage.overall.missed_share]
    bad = [group for group in worst if group.missed_share > MAX_MISSED_OF_CLASS and group.num_objects >= MIN_OBJECTS_OF_CLASS]
    if coverage.overall.missed_share <= MAX_MISSED and not bad:
        return []
    named = (worst if coverage.overall.missed_share > MAX_MISSED else bad)[:3]
    sizes = max(coverage.by_size, key=lambda group: group.num_missed)
    rest = "they train one badly fitting anchor each" if coverage.is_forced else "they are never trained on"
    message = (
        f"{_told(coverage.overall)} of {coverage.overall.num_objects:,} objects are reached by no anchor at IoU {coverage.threshold:g}"
        f" ({', '.join(f'{group.name} {_told(group)}' for group in named)}; {sizes.num_missed:,} objects are "
        f"{sizes.name.partition(',')[0]} at {coverage.input_shape[0]} x {coverage.input_shape[1]} pixels); {rest}"
    )
    return [ANCHORS_MISS_OBJECTS(where, message)]


def format_coverage(coverage: AnchorCoverage, better: AnchorCoverage | None = None) -> str:
    """A table of all groups; with `better`, of the same objects, a second pair of columns for it."""
    height, width = coverage.input_shape
    pairs = {
        "": ([coverage.overall], [better.overall] if better else []),
        "class": (coverage.by_class, better.by_class if better else ()),
        f"size, pixels at {height} x {width}": (coverage.by_size, better.by_size if better else ()),
        "side, pixels": (coverage.by_side, better.by_side if better else ()),
        "width : height": (coverage.by_aspect_ratio, better.by_aspect_ratio if better else ()),
    }
    rows = [("", "objects", "missed", "mean IoU", *(("missed", "mean IoU") if better else ()))]
    for title, (groups, others) in pairs.items():
        after = {group.name: group for group in others}
        rows += [(title,)] if title else []
        for group in groups:
            cells = (*_cells(group), *(_cells(after[group.name]) if better else ()))
            rows.append((f"  {group.name}", f"{group.num_objects:,}", *cells))
    first = max(len(row[0]) for row in rows)
    lines = [row[0].ljust(first) + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
    above = [" " * (first + 10) + f"{'now':>20}{'with the patch':>20}"] if better else []
    head = f"anchors: objects whose best IoU with an anchor is below {coverage.threshold:g} are missed"
    return "\n".join(line.rstrip() for line in [head, *above, *lines])


def _groups(names: Sequence[str], index: np.ndarray, *, ious: np.ndarray, threshold: float) -> tuple[CoverageGroup, ...]:
    counts = np.bincount(index, minlength=len(names))
    missed = np.bincount(index, ious < threshold, minlength=len(names))
    sums = np.bincount(index, ious, minlength=len(names))
    return tuple(
        CoverageGroup(name, int(counts[i]), int(missed[i]), float(sums[i] / counts[i])) for i, name in enumerate(names) if counts[i]
    )


def _interval_names(bounds: Sequence[str]) -> list[str]:
    between = [f"{low} to {high}" for low, high in itertools.pairwise(bounds)]
    return [f"below {bounds[0]}", *between, f"from {bounds[-1]}"]


def _told(group: CoverageGroup) -> str:
    return f"{group.missed_share:.1%}"


def _cells(group: CoverageGroup) -> tuple[str, str]:
    return _told(group), f"{group.mean_iou:.3f}"
