"""Target assignment: what the network should have predicted at every anchor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import tensorflow as tf

from object_detection_ext.targets.box_coder import BoxCoder
from object_detection_ext.targets.matcher import IGNORED, ArgMaxMatcher
from object_detection_ext.targets.similarity import Similarity
from object_detection_ext.types import GroundTruth, Targets


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
        batch_size = tf.shape(ground_truth.num_boxes)[0]
        rows = _real_rows(ground_truth)
        row = self.matcher(self.similarity(rows.boxes, anchors), rows.images, num_images=batch_size, forced=rows.weights > 0.0)  # [B, A]

        # The meanings of -2 and -1 stand in front of those of the rows: one look-up serves all anchors.
        entry = row - IGNORED
        targets = tf.concat([self._one_hot([-1, -1], num_classes), self._one_hot(rows.classes, num_classes)], axis=0)  # [2 + R, C]
        class_weights = tf.concat([[0.0, self.negative_class_weight], rows.weights], axis=0)
        box_weights = tf.concat([[0.0, 0.0], rows.weights], axis=0)
        first_row = tf.cumsum(ground_truth.num_boxes, exclusive=True)[:, tf.newaxis]
        return Targets(
            class_targets=tf.gather(targets, entry),
            class_weights=tf.gather(tf.broadcast_to(class_weights[:, tf.newaxis], tf.shape(targets)), entry),
            box_targets=self._encode(rows.boxes, anchors, row),
            box_weights=tf.gather(box_weights, entry),
            matches=tf.where(row >= 0, row - first_row, row),
        )

    def _one_hot(self, classes: tf.Tensor | list[int], num_classes: int) -> tf.Tensor:
        """`[R]` 0-based classes, -1 for background -> `[R, K + 1]` (or `[R, K]`)."""
        if self.background == "class":
            return tf.one_hot(tf.convert_to_tensor(classes) + 1, num_classes + 1)
        one_hot = tf.one_hot(classes, num_classes)
        return tf.pad(one_hot, [[0, 0], [1, 0]]) if self.background == "zeros" else one_hot

    def _encode(self, boxes: tf.Tensor, anchors: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
        """`[R, 4], [A, 4], [B, A] -> [B, A, code size]`, 0 where nothing is matched: few anchors are, so only those are encoded."""
        positives = tf.where(row >= 0)  # [P, 2]: image, anchor
        codes = self.box_coder.encode(tf.gather(boxes, tf.gather_nd(row, positives)), tf.gather(anchors, positives[:, 1]))
        shape = tf.concat([tf.shape(row, tf.int64), [self.box_coder.code_size]], axis=0)
        return tf.scatter_nd(positives, codes, shape)


class _Rows(NamedTuple):
    """The boxes of all images, without padding."""

    boxes: tf.Tensor  # [R, 4] float32
    classes: tf.Tensor  # [R] int32
    weights: tf.Tensor  # [R] float32
    images: tf.Tensor  # [R] int32, ascending


def _real_rows(truth: GroundTruth) -> _Rows:
    is_real = tf.sequence_mask(truth.num_boxes, tf.shape(truth.boxes)[1])  # [B, N]
    places = tf.where(is_real)  # [R, 2]
    return _Rows(
        boxes=tf.gather_nd(truth.boxes, places),
        classes=tf.gather_nd(truth.classes, places),
        weights=tf.gather_nd(truth.weights, places),
        images=tf.cast(places[:, 0], tf.int32),
    )
