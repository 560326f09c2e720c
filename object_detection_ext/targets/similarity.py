"""Region similarity: how well each ground-truth box fits each anchor. Higher is more similar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

from object_detection_ext import boxes as box_ops


class Similarity(Protocol):
    """`[..., N, 4], [..., A, 4] -> [..., N, A]`."""

    def __call__(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor: ...


@dataclass(frozen=True)
class IouSimilarity:
    """Intersection over union."""

    def __call__(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        return box_ops.iou(boxes, anchors)


@dataclass(frozen=True)
class IoaSimilarity:
    """Intersection over the area of the anchor."""

    def __call__(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        return box_ops.ioa(boxes, anchors)


@dataclass(frozen=True)
class NegSqDistSimilarity:
    """Negated squared distance of the corners."""

    def __call__(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        return -box_ops.squared_distance(boxes, anchors)


@dataclass(frozen=True)
class ThresholdedIouSimilarity:
    """The score of the ground-truth box where IoU > threshold, else 0.

    An SSD's ground truth is certain: without `scores` every box scores 1.
    """

    iou_threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.iou_threshold <= 1.0:
            raise ValueError(f"iou_threshold must be in [0, 1], got {self.iou_threshold}")

    def __call__(self, boxes: tf.Tensor, anchors: tf.Tensor, *, scores: tf.Tensor | None = None) -> tf.Tensor:
        similar = tf.cast(box_ops.iou(boxes, anchors) > self.iou_threshold, tf.float32)
        return similar if scores is None else similar * scores[..., tf.newaxis]
