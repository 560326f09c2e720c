"""From raw predictions to detections: score conversion, non-maximum suppression, clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from object_detection_ext import boxes as box_ops
from object_detection_ext.types import Detections

ScoreConverter = Literal["identity", "sigmoid", "softmax"]

_WHOLE_INPUT = (0.0, 0.0, 1.0, 1.0)
_INVALID = -1.0  # score of what must never come out; scores below 0 do not exist for the API


@dataclass(frozen=True)
class PostProcessing:
    """Converts logits to scores and keeps the best boxes that do not overlap.

    Greedy non-maximum suppression runs on the unclipped boxes, per class or, `class_agnostic`, once on the best class of each anchor:
    a box falls away when its IoU with a better one is > `iou_threshold`; scores must be > `score_threshold`. `soft_nms_sigma` > 0 lowers
    the scores of overlapping boxes instead (Bodla et al., ICCV 2017). Then boxes are clipped to the window, empty ones dropped, and the
    `max_total_detections` best of all classes kept; equal scores keep the order of (class, anchor).
    `has_background`: column 0 of the logits is background and takes part in the softmax but is never detected.
    """

    score_converter: ScoreConverter = "sigmoid"
    score_threshold: float = 0.0
    iou_threshold: float = 0.6
    max_detections_per_class: int = 100
    max_total_detections: int = 100
    logit_scale: float = 1.0
    soft_nms_sigma: float = 0.0
    class_agnostic: bool = False
    change_coordinate_frame: bool = False
    has_background: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.iou_threshold <= 1.0:
            raise ValueError(f"iou_threshold must be in [0, 1], got {self.iou_threshold}")
        if self.max_detections_per_class < 1:
            raise ValueError(f"max_detections_per_class must be >= 1, got {self.max_detections_per_class}")
        if self.max_detections_per_class > self.max_total_detections:
            raise ValueError(
                f"max_detections_per_class must be <= max_total_detections ({self.max_total_detections}), "
                f"got {self.max_detections_per_class}"
            )
        if not self.logit_scale > 0.0:
            raise ValueError(f"logit_scale must be > 0, got {self.logit_scale}")
        if self.soft_nms_sigma < 0.0:
            raise ValueError(f"soft_nms_sigma must be >= 0, got {self.soft_nms_sigma}")

    def __call__(self, boxes: tf.Tensor, class_logits: tf.Tensor, *, clip_window: tf.Tensor | None = None) -> Detections:
        """Detections of a batch.

        Args:
            boxes: [B, A, 4] float32, decoded, normalised to the (padded) network input.
            class_logits: [B, A, K + 1] float32 (K without background).
            clip_window: [B, 4] or [4] float32, what the image covers of the network input; all of it by default.

        Returns:
            Detections whose boxes are relative to the clip window with `change_coordinate_frame`, else to the network input.
        """
        return self.with_anchors(boxes, class_logits, clip_window=clip_window)[0]

    def with_anchors(
        self, boxes: tf.Tensor, class_logits: tf.Tensor, *, clip_window: tf.Tensor | None = None
    ) -> tuple[Detections, tf.Tensor]:
        """As a call, and [B, M] int32: the anchor each detection comes from (0 for padding)."""
        scores = self.convert_scores(class_logits)
        if self.has_background:
            scores = scores[..., 1:]
        classes = None
        limit = self.max_detections_per_class
        if self.class_agnostic:
            classes = tf.argmax(scores, axis=-1, output_type=tf.int32)  # [B, A]
            scores = tf.reduce_max(scores, axis=-1, keepdims=True)  # [B, A, 1]
            limit = self.max_total_detections
        anchors, kept_scores = self._suppress(boxes, scores, limit)  # both [B, C, P]

        batch_size, num_columns = tf.shape(scores)[0], tf.shape(scores)[2]
        anchors = tf.reshape(anchors, [batch_size, num_columns * limit])
        kept_scores = tf.reshape(kept_scores, [batch_size, num_columns * limit])
        if classes is None:
            kept_classes = tf.broadcast_to(tf.repeat(tf.range(num_columns), limit), tf.shape(anchors))
        else:
            kept_classes = tf.gather(classes, anchors, batch_dims=1)
        window = tf.constant(_WHOLE_INPUT) if clip_window is None else tf.cast(clip_window, tf.float32)
        return self._select(boxes, anchors, kept_scores, kept_classes, window)

    def convert_scores(self, class_logits: tf.Tensor) -> tf.Tensor:
        """Scores of all columns, background included: `[B, A, C] -> [B, A, C]`."""
        logits = tf.cast(class_logits, tf.float32) * (1.0 / self.logit_scale)
        return {"identity": tf.identity, "sigmoid": tf.sigmoid, "softmax": tf.nn.softmax}[self.score_converter](logits)

    def _suppress(self, boxes: tf.Tensor, scores: tf.Tensor, limit: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Non-maximum suppression of each image and class: `[B, A, 4], [B, A, C] ->` anchors `[B, C, P]`, scores `[B, C, P]`, best first.

        One kernel call per image and class, in parallel: the batched kernel of TensorFlow orders equal scores arbitrarily.
        """
        batch_size, num_anchors, num_columns = tf.unstack(tf.shape(scores))
        columns = tf.reshape(tf.transpose(scores, [0, 2, 1]), [batch_size * num_columns, num_anchors])

        def suppress(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            anchors, kept_scores, count = tf.raw_ops.NonMaxSuppressionV5(
                boxes=boxes[index // num_columns],
                scores=columns[index],
                max_output_size=limit,
                iou_threshold=self.iou_threshold,
                score_threshold=self.score_threshold,
                soft_nms_sigma=self.soft_nms_sigma,
                pad_to_max_output_size=True,
            )
            return anchors, tf.where(tf.range(limit) < count, kept_scores, _INVALID)

        signature = (tf.TensorSpec([limit], tf.int32), tf.TensorSpec([limit], tf.float32))
        anchors, kept_scores = tf.map_fn(suppress, tf.range(batch_size * num_columns), fn_output_signature=signature)
        shape = tf.stack([batch_size, num_columns, limit])
        return tf.reshape(anchors, shape), tf.reshape(kept_scores, shape)

    def _select(
        self, boxes: tf.Tensor, anchors: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, window: tf.Tensor
    ) -> tuple[Detections, tf.Tensor]:
        """Clips, drops what is empty, keeps the best: anchors, scores, classes `[B, C * P]`."""
        window = window[..., tf.newaxis, :]  # [B, 1, 4] or [1, 4]
        clipped = box_ops.clip(tf.gather(boxes, anchors, batch_dims=1), window)
        scores = tf.where(box_ops.area(clipped) > 0.0, scores, _INVALID)
        missing = tf.maximum(self.max_total_detections - tf.shape(scores)[1], 0)
        scores, order = tf.math.top_k(tf.pad(scores, [[0, 0], [0, missing]], constant_values=_INVALID), self.max_total_detections)
        valid = scores >= 0.0  # [B, M]

        def pick(rows: tf.Tensor) -> tf.Tensor:
            picked = tf.gather(rows, tf.minimum(order, tf.shape(rows)[1] - 1), batch_dims=1)
            return tf.where(valid if len(rows.shape) == 2 else valid[..., tf.newaxis], picked, tf.zeros_like(picked))

        if self.change_coordinate_frame:
            clipped = box_ops.change_coordinate_frame(clipped, window)
        detections = Detections(
            boxes=pick(clipped),
            scores=tf.where(valid, scores, 0.0),
            classes=pick(classes),
            num_detections=tf.reduce_sum(tf.cast(valid, tf.int32), axis=1),
        )
        return detections, pick(anchors)
