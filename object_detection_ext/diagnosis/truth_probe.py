"""Ground truth sent through the stages of a detector as if it were predicted: what no network could do better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from object_detection_ext.diagnosis.image_scores import batch_spec
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.postprocess import PostProcessing
from object_detection_ext.targets.assigner import TargetAssigner
from object_detection_ext.types import Batch, Detections, GroundTruth, Predictions, Targets

_SURE = 50.0  # logit whose sigmoid is 1 in float32; negated, far below any score threshold


class ProbedBatch(NamedTuple):
    """What became of the ground truth of a batch; numpy arrays."""

    num_positives: np.ndarray  # [B] int, matched anchors
    is_carried: np.ndarray  # [B, N] bool: some anchor was matched to the box
    survives_nms: np.ndarray  # [B, N] bool: of the boxes alone, crowds left out
    after_nms: Detections  # the boxes themselves, through post-processing
    decoded: np.ndarray  # [B, N, 4] float32: the code of the box's first anchor, decoded; 0 where it has none
    all_together: Detections  # perfect predictions on all matched anchors, through decoding and post-processing


@dataclass(frozen=True)
class TruthProbe:
    """A detector and its target assigner, used backwards."""

    detector: SsdDetector
    assigner: TargetAssigner
    _graphs: list[Callable[..., tuple[Any, ...]]] = field(default_factory=list, init=False, repr=False)  # the one that is traced first

    def __call__(self, batch: Batch) -> ProbedBatch:
        """Probes with the ground truth of one batch of tensors."""
        if not self._graphs:
            spec = batch_spec(batch)
            signature = [spec.ground_truth, spec.true_shapes]
            self._graphs.append(tf.function(self._probe, input_signature=signature, autograph=False))
        outputs = self._graphs[0](batch.ground_truth, batch.true_shapes)
        raw = _Raw(*tf.nest.map_structure(lambda tensor: tensor.numpy(), outputs))
        decoded, is_carried = _first_of_each(raw, batch.ground_truth.classes.shape)
        return ProbedBatch(
            num_positives=(raw.matches >= 0).sum(axis=1),
            is_carried=is_carried,
            survives_nms=_survivors(raw, batch.ground_truth.classes.shape),
            after_nms=raw.after_nms,
            decoded=decoded,
            all_together=raw.all_together,
        )

    def _probe(self, truth: GroundTruth, true_shapes: tf.Tensor) -> tuple[Any, ...]:
        """The fields of `_Raw`."""
        detector, post = self.detector, self.detector.postprocessing
        is_box = tf.sequence_mask(truth.num_boxes, tf.shape(truth.boxes)[1])  # [B, N]
        one_hot = tf.one_hot(tf.where(is_box & ~truth.is_crowd, truth.classes, -1), detector.num_classes)
        window = detector.clip_window(true_shapes)
        after_nms, rows = post.with_anchors(truth.boxes, sure_logits(one_hot, post), clip_window=window)
        targets = self.assigner(truth, tf.constant(detector.anchors), num_classes=detector.num_classes)
        predictions = self._perfect(targets)
        return targets.matches, after_nms, rows, detector.decode(predictions.box_encodings), detector.postprocess(predictions, true_shapes)

    def _perfect(self, targets: Targets) -> Predictions:
        first_class = 1 if self.detector.postprocessing.has_background else 0
        encodings = targets.box_targets
        if self.detector.box_encodings_clip_range is not None:
            encodings = tf.clip_by_value(encodings, *self.detector.box_encodings_clip_range)
        return Predictions(encodings, sure_logits(targets.class_targets[..., first_class:], self.detector.postprocessing))


def sure_logits(one_hot: tf.Tensor, postprocessing: PostProcessing) -> tf.Tensor:
    """Logits that post-processing turns into scores of 1 for the class and 0 for the rest: `[..., K]` of 0 and 1 -> `[..., K + 1]`.

    The inverse of `PostProcessing.convert_scores`. Rows of zeros are background; without a background column the result is `[..., K]`.
    """
    is_nothing = 1.0 - tf.reduce_max(one_hot, axis=-1, keepdims=True)
    columns = tf.concat([is_nothing, one_hot], axis=-1) if postprocessing.has_background else one_hot
    if postprocessing.score_converter == "identity":
        return columns * postprocessing.logit_scale
    return (columns * 2.0 - 1.0) * _SURE * postprocessing.logit_scale


class _Raw(NamedTuple):
    """What the graph gives; numpy arrays."""

    matches: np.ndarray  # [B, A] int32, as `Targets.matches`
    after_nms: Detections
    rows: np.ndarray  # [B, M] int32, the box that each of `after_nms` is
    boxes: np.ndarray  # [B, A, 4] float32, decoded
    all_together: Detections


def _first_of_each(raw: _Raw, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The decoded box of each object's first anchor, `[B, N, 4]`, and whether it has one, `[B, N]`."""
    decoded, is_carried = np.zeros((*shape, 4), np.float32), np.zeros(shape, bool)
    for image, matches in enumerate(raw.matches):
        rows, anchors = np.unique(matches, return_index=True)
        rows, anchors = rows[rows >= 0], anchors[rows >= 0]
        decoded[image, rows], is_carried[image, rows] = raw.boxes[image, anchors], True
    return decoded, is_carried


def _survivors(raw: _Raw, shape: tuple[int, int]) -> np.ndarray:
    survives = np.zeros(shape, bool)
    for image, count in enumerate(raw.after_nms.num_detections):
        is_certain = raw.after_nms.scores[image, :count] > 0.5
        survives[image, raw.rows[image, :count][is_certain]] = True
    return survives
