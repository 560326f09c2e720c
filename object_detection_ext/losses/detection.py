"""The loss of an SSD: targets, classification, localisation, mining, normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.losses.classification import ClassificationLoss
from object_detection_ext.losses.hard_negatives import HardExampleMiner
from object_detection_ext.losses.localization import LocalizationLoss
from object_detection_ext.targets.assigner import TargetAssigner
from object_detection_ext.types import GroundTruth, Losses, Predictions, Targets


@dataclass(frozen=True)
class DetectionLoss:
    """Sums both losses over anchors and images and divides by the number of matches of the batch.

    `normalize_by_num_matches`: both are divided by the summed weights of matched anchors, at least 1.
    `normalize_localization_by_code_size`: the localisation loss is also divided by the numbers in a box code.
    """

    assigner: TargetAssigner
    classification: ClassificationLoss
    localization: LocalizationLoss
    hard_example_miner: HardExampleMiner | None = None
    classification_weight: float = 1.0
    localization_weight: float = 1.0
    normalize_by_num_matches: bool = True
    normalize_localization_by_code_size: bool = False

    def __post_init__(self) -> None:
        for name in ("classification_weight", "localization_weight"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")

    def __call__(self, predictions: Predictions, ground_truth: GroundTruth, anchors: tf.Tensor) -> Losses:
        """Losses of a batch; `anchors` is [A, 4] float32 in the frame of the ground-truth boxes."""
        anchors = tf.convert_to_tensor(anchors, tf.float32)
        encodings = tf.cast(predictions.box_encodings, tf.float32)
        logits = tf.cast(predictions.class_logits, tf.float32)
        num_columns = logits.shape[-1]
        num_classes = num_columns if self.assigner.background == "none" else num_columns - 1
        targets = self.assigner(ground_truth, anchors, num_classes=num_classes)

        classification = self.classification(logits, targets.class_targets, weights=targets.class_weights)  # [B, A, C or 1]
        localization = self._localization(encodings, targets, anchors)  # [B, A]
        if self.hard_example_miner is not None:
            classification = tf.reduce_sum(classification, axis=-1)
            decoded = self.assigner.box_coder.decode(encodings, anchors)
            selected = self.hard_example_miner(classification, localization, decoded_boxes=decoded, matches=targets.matches)
            classification, localization = _keep(classification, selected), _keep(localization, selected)
        return self._normalize(tf.reduce_sum(classification), tf.reduce_sum(localization), targets)

    def _localization(self, encodings: tf.Tensor, targets: Targets, anchors: tf.Tensor) -> tf.Tensor:
        if not self.localization.on_decoded_boxes:
            return self.localization(encodings, targets.box_targets, weights=targets.box_weights)
        decode = self.assigner.box_coder.decode
        return self.localization(decode(encodings, anchors), decode(targets.box_targets, anchors), weights=targets.box_weights)

    def _normalize(self, classification: tf.Tensor, localization: tf.Tensor, targets: Targets) -> Losses:
        normalizer = tf.maximum(tf.reduce_sum(targets.box_weights), 1.0) if self.normalize_by_num_matches else tf.constant(1.0)
        code_size = self.assigner.box_coder.code_size if self.normalize_localization_by_code_size else 1
        return Losses(
            classification_loss=self.classification_weight / normalizer * classification,
            localization_loss=self.localization_weight / (normalizer * code_size) * localization,
        )


def _keep(losses: tf.Tensor, selected: tf.Tensor) -> tf.Tensor:
    # Not a product: an infinite loss that was not selected must not turn into NaN.
    return tf.where(selected > 0.0, losses, 0.0)
