"""Anchors as what they are, a few box shapes repeated over grids: the best IoU of a box then needs one anchor a shape, not all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

_BLOCK = 1 << 16  # boxes looked at in one go


class AnchorGenerator(Protocol):
    """What the generators of `anchors/` have in common."""

    @property
    def num_anchors_per_location(self) -> list[int]: ...

    def __call__(self, feature_map_shapes: Sequence[tuple[int, int]], *, image_shape: tuple[int, int]) -> np.ndarray: ...


class AnchorGrid(NamedTuple):
    """The anchors of one feature map; all numbers normalised to the network's input."""

    row_centers: np.ndarray  # [rows] float64, ascending
    column_centers: np.ndarray  # [columns] float64, ascending
    shapes: np.ndarray  # [K, 2] float64, height and width of the anchors at each point


def anchor_grids(
    generator: AnchorGenerator, feature_map_shapes: Sequence[tuple[int, int]], *, image_shape: tuple[int, int]
) -> tuple[AnchorGrid, ...]:
    """The grids whose points and shapes together are the anchors of `generator`, one a feature map.

    Args:
        feature_map_shapes: height and width of each map, finest first.
        image_shape: height and width of the network's input in pixels.

    Raises:
        ValueError: the generator makes anchors for another number of feature maps.
    """
    anchors = generator(feature_map_shapes, image_shape=image_shape).astype(np.float64)
    grids, first = [], 0
    for (rows, columns), count in zip(feature_map_shapes, generator.num_anchors_per_location, strict=True):
        layer = anchors[first : first + rows * columns * count].reshape(rows, columns, count, 4)
        centers = (layer[..., :2] + layer[..., 2:]) / 2  # [rows, columns, count, 2]
        grids.append(AnchorGrid(centers[:, 0, 0, 0], centers[0, :, 0, 1], layer[0, 0, :, 2:] - layer[0, 0, :, :2]))
        first += rows * columns * count
    return tuple(grids)


def best_iou(boxes: np.ndarray, grids: Sequence[AnchorGrid]) -> np.ndarray:
    """The IoU of each box with its best anchor: `[N, 4]` boxes with area, normalised to the network's input, -> `[N]` float64 in [0, 1].

    For boxes of given sizes the overlap along an axis never grows with the distance of the centres, so of all anchors of one shape the one
    at the nearest row and the nearest column is the best: N x shapes comparisons, whatever the number of anchors.
    """
    best = np.zeros(len(boxes))
    for first in range(0, len(boxes), _BLOCK):
        block = np.asarray(boxes[first : first + _BLOCK], np.float64)
        for grid in grids:
            distances = center_distances(block, grid)
            for shape in grid.shapes:
                np.maximum(best[first : first + _BLOCK], shape_iou(block, distances, shape), out=best[first : first + _BLOCK])
    return best


def center_distances(boxes: np.ndarray, grid: AnchorGrid) -> np.ndarray:
    """`[N, 2]` float64: distances, along y and along x, from the centre of each box to the nearest row and column of the grid."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.stack([_distance(centers[:, 0], grid.row_centers), _distance(centers[:, 1], grid.column_centers)], axis=1)


def shape_iou(boxes: np.ndarray, distances: np.ndarray, shape: np.ndarray | tuple[float, float]) -> np.ndarray:
    """IoU of `[N, 4]` boxes with anchors of one height and width whose centres are `[N, 2]` away -> `[N]`."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    overlaps = np.minimum((sizes + shape) / 2 - distances, np.minimum(sizes, shape))
    overlap = np.maximum(overlaps, 0.0).prod(axis=1)
    return overlap / (sizes.prod(axis=1) + shape[0] * shape[1] - overlap)


def _distance(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance of each value to the nearest of the ascending points."""
    after = np.searchsorted(points, values).clip(0, len(points) - 1)
    return np.minimum(np.abs(values - points[after]), np.abs(values - points[(after - 1).clip(0)]))
