"""Target assignment: what the network should have predicted at every anchor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from object_detection_ext.targets.box_coder import BoxCoder
from object_detection_ext.targets.matcher import IGNORED, UNMATCHED, ArgMaxMatcher
from object_detection_ext.targets.similarity import Similarity
from object_detection_ext.types import GroundTruth, Targets

# Where padded boxes are put: less similar to any anchor than every real box, for each similarity (IoU 0, squared distance 1e18).
_FAR_AWAY = 1e9


@dataclass(frozen=True)
class TargetAssigner:
    """Matches anchors to ground truth and encodes the result; a whole batch at once.

    A matched anchor gets its box's class, code and weight; an unmatched one the background and `negative_class_weight`; an ignored one
    weight 0. `background` says how the class targets show it: "zeros" leaves all K + 1 columns 0, "class" puts a 1 into column 0, and
    "none" has no background column (K columns, unmatched anchors all 0).
    """

    similarity: Similarity
    matcher: ArgMaxMatcher
    box_coder: BoxCoder
    negative_class_weight: float = 1.0
    background: Literal["zeros", "class", "none"] = "zeros"

    def __post_init__(self) -> None:
        if self.negative_class_weight < 0.0:
            raise ValueError(f"negative_class_weight must be >= 0, got {self.negative_class_weight}")

    def __call__(self, ground_truth: GroundTruth, anchors: tf.Tensor, *, num_classes: int) -> Targets:
        """Assigns targets; `anchors` is [A, 4] float32 in the frame of the boxes. Nothing here has a gradient."""
        anchors = tf.convert_to_tensor(anchors, tf.float32)
        truth = _trim(ground_truth)
        real = _is_real(truth)
        matches = self.matcher(
            self.similarity(truth.boxes, anchors),
            has_boxes=truth.num_boxes > 0,
            forced=real & (truth.weights > 0.0),
        )
        matched = matches >= 0
        row = tf.maximum(matches, 0)
        weights = tf.gather(truth.weights, row, batch_dims=1)  # [B, A]
        codes = self.box_coder.encode(tf.gather(truth.boxes, row, batch_dims=1), anchors)
        class_weights = tf.where(matched, weights, tf.where(matches == IGNORED, 0.0, self.negative_class_weight))
        class_targets = self._class_targets(tf.where(matched, tf.gather(truth.classes, row, batch_dims=1), UNMATCHED), num_classes)
        return Targets(
            class_targets=class_targets,
            class_weights=tf.broadcast_to(class_weights[..., tf.newaxis], tf.shape(class_targets)),
            box_targets=tf.where(matched[..., tf.newaxis], codes, 0.0),
            box_weights=tf.where(matched, weights, 0.0),
            matches=matches,
        )

    def _class_targets(self, classes: tf.Tensor, num_classes: int) -> tf.Tensor:
        """`[B, A]` 0-based classes, -1 for background -> one-hot `[B, A, K + 1]` (or K)."""
        if self.background == "none":
            return tf.one_hot(classes, num_classes)
        if self.background == "zeros":
            classes = tf.where(classes == UNMATCHED, UNMATCHED - 1, classes)
        return tf.one_hot(classes + 1, num_classes + 1)


def _is_real(truth: GroundTruth) -> tf.Tensor:
    """`[B, N]` bool: which rows are boxes and not padding."""
    return tf.range(tf.shape(truth.boxes)[1])[tf.newaxis] < truth.num_boxes[:, tf.newaxis]


def _trim(truth: GroundTruth) -> GroundTruth:
    """Cuts the padding down to the fullest image of the batch (at least one row), puts what is left of it far away."""
    width = tf.maximum(tf.reduce_max(truth.num_boxes), 1)

    def cut(rows: tf.Tensor) -> tf.Tensor:
        rows = rows[:, :width]
        if rows.shape[1] != 0 and truth.boxes.shape[1] not in (None, 0):
            return rows
        missing = width - tf.shape(rows)[1]
        return tf.pad(rows, [[0, 0], [0, missing]] + [[0, 0]] * (len(rows.shape) - 2))

    truth = truth._replace(boxes=cut(truth.boxes), classes=cut(truth.classes), weights=cut(truth.weights))
    return truth._replace(boxes=tf.where(_is_real(truth)[..., tf.newaxis], truth.boxes, _FAR_AWAY))
