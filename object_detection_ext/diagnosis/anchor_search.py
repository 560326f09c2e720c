"""Anchors that fit given objects better, as many at each location as before: coordinate descent on their best IoUs.

k-means on IoU (Redmon and Farhadi 2017, "YOLO9000", section 2) finds free box shapes; the API's generators have none to set, only scales
and aspect ratios that all shapes share. So the settings themselves are moved, one at a time and in ever smaller steps, from two starts: the
generator as it is, and one laid out over the sizes and aspect ratios of the objects.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from object_detection_ext.anchors.multiscale import MultiscaleAnchorGenerator
from object_detection_ext.anchors.ssd import SsdAnchorGenerator
from object_detection_ext.diagnosis.anchor_grid import AnchorGrid, anchor_grids, center_distances, shape_iou

Generator = SsdAnchorGenerator | MultiscaleAnchorGenerator

MAX_OBJECTS = 4000  # looked at by the search; the result is measured on all of them
_STEPS = (0.4, 0.2, 0.1, 0.05, 0.025)  # of the logarithm of a setting
_ROUNDS = 3  # passes over all settings with one step
_IOU_WEIGHT = 0.2  # of the mean IoU, beside shares of objects that are reached
_LARGEST_RATIO, _SMALLEST_SCALE, _LARGEST_SCALE = 8.0, 0.005, 1.5


@dataclass(frozen=True)
class _Start:
    """Settings as logarithms, and the generator that they make."""

    settings: tuple[float, ...]
    make: Callable[[Sequence[float]], Generator]


def search_anchors(
    generator: Generator,
    boxes: np.ndarray,
    class_ids: np.ndarray,
    *,
    feature_map_shapes: Sequence[tuple[int, int]],
    image_shape: tuple[int, int],
    threshold: float = 0.5,
    anchors_per_location: int | None = None,
) -> Generator:
    """The generator of the same kind whose anchors reach most objects; `generator` itself where none is better.

    What is maximised is the mean of two shares reached at `threshold`, of all objects and averaged over the classes, so that a rare class
    counts, with a little of the mean best IoU.

    Args:
        boxes: [N, 4] float, with area, normalised to the (padded) network input.
        class_ids: [N] int.
        feature_map_shapes: height and width of each map, finest first.
        image_shape: height and width of the network's input in pixels.
        threshold: IoU from which the matcher takes an anchor.
        anchors_per_location: another number than the generator's.

    Raises:
        ValueError: that number of anchors is not possible.
    """
    sample = _sample(class_ids)
    boxes, class_ids = boxes[sample], class_ids[sample]
    grids = anchor_grids(generator, feature_map_shapes, image_shape=image_shape)
    score = _Score(boxes, class_ids, grids, image_shape, threshold)
    wanted = _with_number(generator, anchors_per_location)
    best = [wanted] if anchors_per_location is None else []
    best += [_descend(start, score) for start in _starts(wanted, _objects(boxes, image_shape, score.weights))]
    return max(best, key=score)


def _sample(class_ids: np.ndarray) -> np.ndarray:
    """Indices of at most MAX_OBJECTS objects, evenly spread over every class."""
    order = np.argsort(class_ids, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(len(order), MAX_OBJECTS)).round().astype(int)]


class _Score:
    """How well a generator's anchors fit the objects. Remembers shapes: one setting changes only some of them."""

    def __init__(
        self, boxes: np.ndarray, class_ids: np.ndarray, grids: Sequence[AnchorGrid], image_shape: tuple[int, int], threshold: float
    ) -> None:
        self._image_shape, self._threshold = image_shape, threshold
        _, index, counts = np.unique(class_ids, return_inverse=True, return_counts=True)
        self.weights = 0.5 / len(class_ids) + 0.5 / len(counts) / counts[index]  # sum 1
        boxes = np.asarray(boxes, np.float64)
        distances = [center_distances(boxes, grid) for grid in grids]
        self._iou = functools.lru_cache(maxsize=1024)(lambda layer, height, width: shape_iou(boxes, distances[layer], (height, width)))

    def __call__(self, generator: Generator) -> float:
        # Shapes do not depend on the grid: one point a map is enough.
        grids = anchor_grids(generator, [(1, 1)] * len(generator.num_anchors_per_location), image_shape=self._image_shape)
        shapes = ((layer, height, width) for layer, grid in enumerate(grids) for height, width in grid.shapes.tolist())
        best = functools.reduce(np.maximum, (self._iou(*shape) for shape in shapes))
        return float(self.weights @ (best >= self._threshold)) + _IOU_WEIGHT * float(self.weights @ best)


def _descend(start: _Start, score: _Score) -> Generator:
    settings = list(start.settings)
    best = score(start.make(settings))
    for step in _STEPS:
        for _ in range(_ROUNDS):
            before = best
            for index in range(len(settings)):
                for change in (step, -step):
                    moved = [*settings[:index], settings[index] + change, *settings[index + 1 :]]
                    moved_score = score(start.make(moved))
                    if moved_score > best:
                        settings, best = moved, moved_score
                        break
            if best == before:
                break
    return start.make(settings)


def _with_number(generator: Generator, count: int | None) -> Generator:
    """The generator with `count` anchors at each location."""
    if count is None:
        return generator
    least = 2 if isinstance(generator, SsdAnchorGenerator) and generator.interpolated_scale_aspect_ratio > 0 else 1
    if count < least:
        raise ValueError(f"anchors_per_location must be >= {least}, got {count}")
    if isinstance(generator, MultiscaleAnchorGenerator):
        return replace(generator, aspect_ratios=_spread(count), scales_per_octave=1)
    num_ratios = count - (least - 1)
    return replace(generator, aspect_ratios=_spread(num_ratios), reduce_boxes_in_lowest_layer=False)


def _spread(count: int) -> tuple[float, ...]:
    """Aspect ratios between 1:3 and 3:1, evenly in their logarithm."""
    return tuple(np.exp(np.linspace(-math.log(3), math.log(3), count)).tolist()) if count > 1 else (1.0,)


class _Objects(NamedTuple):
    """What the generators are laid out over."""

    sides: np.ndarray  # [N] square roots of the areas, pixels
    ratios: np.ndarray  # [N] width / height
    weights: np.ndarray  # [N], sum 1
    shorter_side: int  # of the network's input, pixels

    def sides_at(self, *shares: float) -> list[float]:
        """The sides below which these shares of all weight lie."""
        return _quantiles(self.sides, self.weights, shares)

    def ratios_of(self, count: int) -> list[float]:
        """The middles of `count` equal shares of the aspect ratios."""
        return [_ratio(value) for value in _quantiles(self.ratios, self.weights, _middles(count))]


def _objects(boxes: np.ndarray, image_shape: tuple[int, int], weights: np.ndarray) -> _Objects:
    pixels = (boxes[:, 2:] - boxes[:, :2]) * np.asarray(image_shape)  # [N, 2]
    return _Objects(np.sqrt(pixels.prod(axis=1)), pixels[:, 1] / pixels[:, 0], weights, min(image_shape))


def _starts(generator: Generator, objects: _Objects) -> list[_Start]:
    if isinstance(generator, SsdAnchorGenerator):
        return _ssd_starts(generator, objects)
    return _multiscale_starts(generator, objects)


def _ssd_starts(generator: SsdAnchorGenerator, objects: _Objects) -> list[_Start]:
    """Settings: scales, aspect ratios, then that of the interpolated anchor and the base size where they matter."""
    num_layers, num_ratios = generator.num_layers, len(generator.aspect_ratios)
    has_extra = generator.interpolated_scale_aspect_ratio > 0
    unit = math.sqrt(math.prod(generator.base_anchor_size))

    def make(settings: Sequence[float]) -> SsdAnchorGenerator:
        values = np.exp(settings).tolist()
        rest = values[num_layers + num_ratios :]
        factor = rest[-1] if generator.reduce_boxes_in_lowest_layer else 1.0
        return replace(
            generator,
            scales=tuple(sorted(_rounded(_limit(scale, _SMALLEST_SCALE, _LARGEST_SCALE)) for scale in values[:num_layers])),
            aspect_ratios=tuple(_ratio(ratio) for ratio in values[num_layers : num_layers + num_ratios]),
            interpolated_scale_aspect_ratio=_ratio(rest[0]) if has_extra else 0.0,
            base_anchor_size=tuple(_rounded(side * factor) for side in generator.base_anchor_size),
        )

    def settings(scales: Sequence[float], aspect_ratios: Sequence[float], extra: float) -> tuple[float, ...]:
        rest = [extra] * has_extra + [1.0] * generator.reduce_boxes_in_lowest_layer
        return tuple(np.log([*scales, *aspect_ratios, *rest]))

    step = (generator.max_scale - generator.min_scale) / max(num_layers - 1, 1)
    scales = generator.scales or tuple(generator.min_scale + step * layer for layer in range(num_layers))
    laid_out = [side / objects.shorter_side / unit for side in objects.sides_at(*_middles(num_layers))]
    as_it_is = settings(scales, generator.aspect_ratios, generator.interpolated_scale_aspect_ratio or 1.0)
    return [_Start(as_it_is, make), _Start(settings(laid_out, objects.ratios_of(num_ratios), objects.ratios_of(1)[0]), make)]


def _multiscale_starts(generator: MultiscaleAnchorGenerator, objects: _Objects) -> list[_Start]:
    """Settings: anchor_scale, then the aspect ratios; one start for each way to share the anchors between ratios and scales."""
    count = len(generator.aspect_ratios) * generator.scales_per_octave

    def start(num_scales: int, scale: float, aspect_ratios: Sequence[float]) -> _Start:
        def make(settings: Sequence[float]) -> MultiscaleAnchorGenerator:
            values = np.exp(settings).tolist()
            shapes = tuple(_ratio(ratio) for ratio in values[1:])
            return replace(generator, anchor_scale=_rounded(values[0]), aspect_ratios=shapes, scales_per_octave=num_scales)

        return _Start(tuple(np.log([scale, *aspect_ratios])), make)

    smallest = objects.sides_at(0.02)[0] / 2**generator.min_level
    starts = [start(generator.scales_per_octave, generator.anchor_scale, generator.aspect_ratios)]
    for num_scales in (number for number in range(1, min(count, 4) + 1) if count % number == 0):
        for scale in dict.fromkeys((generator.anchor_scale, _limit(smallest, 0.5, 16.0))):
            starts.append(start(num_scales, scale, objects.ratios_of(count // num_scales)))
    return starts


def _middles(count: int) -> list[float]:
    return [(index + 0.5) / count for index in range(count)]


def _quantiles(values: np.ndarray, weights: np.ndarray, shares: Sequence[float]) -> list[float]:
    order = np.argsort(values)
    below = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(shares, below, values[order]).tolist()


def _ratio(value: float) -> float:
    return _rounded(_limit(value, 1 / _LARGEST_RATIO, _LARGEST_RATIO))


def _limit(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _rounded(value: float) -> float:
    """Three significant digits: what the patch says is what was measured."""
    return float(f"{value:.3g}")
