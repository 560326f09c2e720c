"""Boxes of given shapes around every point of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class BoxShape(NamedTuple):
    """Height is `scale / sqrt(aspect_ratio)`, width `scale * sqrt(aspect_ratio)`, both in base sizes."""

    scale: float
    aspect_ratio: float


def grid_anchors(
    grid: tuple[int, int], shapes: Sequence[BoxShape], *, base_size: np.ndarray, stride: np.ndarray, offset: np.ndarray
) -> np.ndarray:
    """Tiles boxes over a grid.

    Args:
        grid: number of rows and columns.
        shapes: the boxes at each point.
        base_size: [2] float32, (height, width) of a box with scale and aspect ratio 1.
        stride: [2] float32, (y, x) distance between points.
        offset: [2] float32, (y, x) of the first point.

    Returns:
        [rows * columns * shapes, 4] float32 in the unit of `stride`; the shape varies fastest, then the column.
    """
    scales, ratios = np.asarray(shapes, np.float32).T
    roots = np.sqrt(ratios)
    sizes = np.stack([scales / roots * base_size[0], scales * roots * base_size[1]], axis=-1)  # [shapes, 2]
    rows, columns = (np.arange(count, dtype=np.float32) * stride[axis] + offset[axis] for axis, count in enumerate(grid))
    centers = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)[:, :, np.newaxis]  # [rows, columns, 1, 2]
    half = np.float32(0.5) * sizes
    return np.concatenate([centers - half, centers + half], axis=-1).reshape(-1, 4).astype(np.float32)
