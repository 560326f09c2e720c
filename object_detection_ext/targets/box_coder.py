"""Box coders: boxes relative to anchors, and back. Boxes are corners, codes are what the network predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

from object_detection_ext import boxes as box_ops

# Added to heights and widths before division and logarithm, as the API does: a degenerate box gets a finite code.
EPSILON = 1e-8


class BoxCoder(Protocol):
    """`encode`: `[..., 4]` boxes and `[..., 4]` anchors (broadcasting) -> `[..., code_size]`; `decode` is its inverse."""

    @property
    def code_size(self) -> int: ...

    def encode(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor: ...

    def decode(self, codes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor: ...


@dataclass(frozen=True)
class FasterRcnnBoxCoder:
    """Scaled offsets of centre and logarithmic size (Ren et al., Faster R-CNN, section 3.1.2).

    `t_y = y_scale (y - y_a) / h_a`, `t_x = x_scale (x - x_a) / w_a`, `t_h = height_scale log(h / h_a)`, `t_w = width_scale log(w / w_a)`;
    `decode(encode(b, a), a) == b` up to rounding for boxes with area.
    """

    y_scale: float = 10.0
    x_scale: float = 10.0
    height_scale: float = 5.0
    width_scale: float = 5.0

    def __post_init__(self) -> None:
        _check_positive(self, "y_scale", "x_scale", "height_scale", "width_scale")

    @property
    def code_size(self) -> int:
        return 4

    def encode(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        centers, anchor_centers = box_ops.corners_to_centers(boxes), box_ops.corners_to_centers(anchors)
        anchor_size = anchor_centers[..., 2:] + EPSILON
        offset = (centers[..., :2] - anchor_centers[..., :2]) / anchor_size
        log_size = tf.math.log((centers[..., 2:] + EPSILON) / anchor_size)
        return tf.concat([offset, log_size], axis=-1) * self._scales()

    def decode(self, codes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        codes = codes / self._scales()
        anchor_centers = box_ops.corners_to_centers(anchors)
        size = tf.exp(codes[..., 2:]) * anchor_centers[..., 2:]
        center = codes[..., :2] * anchor_centers[..., 2:] + anchor_centers[..., :2]
        return tf.concat([center - size / 2.0, center + size / 2.0], axis=-1)

    def _scales(self) -> tf.Tensor:
        return tf.constant([self.y_scale, self.x_scale, self.height_scale, self.width_scale])


@dataclass(frozen=True)
class MeanStddevBoxCoder:
    """Difference of the corners in units of one standard deviation: `(box - anchor) / stddev`."""

    stddev: float = 0.01

    def __post_init__(self) -> None:
        _check_positive(self, "stddev")

    @property
    def code_size(self) -> int:
        return 4

    def encode(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        return (boxes - anchors) / self.stddev

    def decode(self, codes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        return codes * self.stddev + anchors


@dataclass(frozen=True)
class SquareBoxCoder:
    """Centre and side of the square with the box's area, three numbers a box; decoding gives squares."""

    y_scale: float = 10.0
    x_scale: float = 10.0
    length_scale: float = 5.0

    def __post_init__(self) -> None:
        _check_positive(self, "y_scale", "x_scale", "length_scale")

    @property
    def code_size(self) -> int:
        return 3

    def encode(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        centers, anchor_centers = box_ops.corners_to_centers(boxes), box_ops.corners_to_centers(anchors)
        length = _square_side(centers) + EPSILON
        anchor_length = _square_side(anchor_centers) + EPSILON
        offset = (centers[..., :2] - anchor_centers[..., :2]) / anchor_length
        return tf.concat([offset, tf.math.log(length / anchor_length)], axis=-1) * self._scales()

    def decode(self, codes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        codes = codes / self._scales()
        anchor_centers = box_ops.corners_to_centers(anchors)
        anchor_length = _square_side(anchor_centers)
        length = tf.exp(codes[..., 2:]) * anchor_length
        center = codes[..., :2] * anchor_length + anchor_centers[..., :2]
        return tf.concat([center - length / 2.0, center + length / 2.0], axis=-1)

    def _scales(self) -> tf.Tensor:
        return tf.constant([self.y_scale, self.x_scale, self.length_scale])


def _square_side(centers: tf.Tensor) -> tf.Tensor:
    """`[..., 4]` centre form -> `[..., 1]` side of the square of equal area."""
    return tf.sqrt(centers[..., 2:3] * centers[..., 3:4])


def _check_positive(coder: object, *names: str) -> None:
    for name in names:
        if not getattr(coder, name) > 0.0:
            raise ValueError(f"{name} must be > 0, got {getattr(coder, name)}")
