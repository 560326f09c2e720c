"""Hard example mining: only the anchors with the highest losses count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from object_detection_ext.targets.matcher import UNMATCHED

RankingLoss = Literal["both", "classification", "localization"]


@dataclass(frozen=True)
class HardExampleMiner:
    """Selects anchors by greedy non-maximum suppression with the loss as score, then limits the negatives.

    Per image: the anchor with the highest loss is taken, those whose predicted box overlaps it by IoU > `iou_threshold` fall away, and so
    on, up to `num_hard_examples` (None: no limit) (Shrivastava et al., CVPR 2016). With `max_negatives_per_positive`, all matched anchors
    among them stay and, in order of loss, at most `max(min_negatives_per_image, max_negatives_per_positive * positives)` unmatched ones
    (Liu et al., SSD, section 2.2). `loss_type` is the loss that ranks; "both" ranks by the sum weighted by the two weights.
    """

    num_hard_examples: int | None = 64
    iou_threshold: float = 0.7
    loss_type: RankingLoss = "both"
    classification_weight: float = 1.0
    localization_weight: float = 1.0
    max_negatives_per_positive: float | None = None
    min_negatives_per_image: int = 0

    def __post_init__(self) -> None:
        if self.num_hard_examples is not None and self.num_hard_examples < 1:
            raise ValueError(f"num_hard_examples must be >= 1 or None, got {self.num_hard_examples}")
        if not 0.0 <= self.iou_threshold <= 1.0:
            raise ValueError(f"iou_threshold must be in [0, 1], got {self.iou_threshold}")
        if self.min_negatives_per_image < 0:
            raise ValueError(f"min_negatives_per_image must be >= 0, got {self.min_negatives_per_image}")

    def __call__(
        self, classification_losses: tf.Tensor, localization_losses: tf.Tensor, *, decoded_boxes: tf.Tensor, matches: tf.Tensor
    ) -> tf.Tensor:
        """Chooses the hard examples of a batch.

        Args:
            classification_losses: [B, A] float32, summed over classes.
            localization_losses: [B, A] float32.
            decoded_boxes: [B, A, 4] float32, the predicted boxes.
            matches: [B, A] int32 as in `Targets`.

        Returns:
            [B, A] float32, 1 for the anchors that count, else 0; no gradient flows through the choice.
        """
        scores = tf.stop_gradient(self._scores(classification_losses, localization_losses))
        images = (tf.stop_gradient(decoded_boxes), scores, matches)
        return tf.map_fn(self._select, images, fn_output_signature=tf.TensorSpec([None], tf.float32))

    def _scores(self, classification_losses: tf.Tensor, localization_losses: tf.Tensor) -> tf.Tensor:
        if self.loss_type == "classification":
            return classification_losses
        if self.loss_type == "localization":
            return localization_losses
        return classification_losses * self.classification_weight + localization_losses * self.localization_weight

    def _select(self, image: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """One image: `[A, 4], [A], [A] -> [A]`."""
        boxes, scores, matches = image
        num_anchors = tf.shape(scores)[0]
        limit = num_anchors if self.num_hard_examples is None else tf.minimum(self.num_hard_examples, num_anchors)
        selected = tf.image.non_max_suppression(boxes, scores, limit, self.iou_threshold)  # [S], hardest first
        if self.max_negatives_per_positive is not None:
            selected = self._limit_negatives(selected, tf.gather(matches, selected))
        return tf.tensor_scatter_nd_update(tf.zeros([num_anchors]), selected[:, tf.newaxis], tf.ones_like(selected, tf.float32))

    def _limit_negatives(self, selected: tf.Tensor, matches: tf.Tensor) -> tf.Tensor:
        """Drops the negatives past the limit; `[S], [S] -> [S']`. Ignored anchors go with the negatives before them, as in the API."""
        positive = matches >= 0
        num_positives = tf.reduce_sum(tf.cast(positive, tf.float32))
        limit = tf.maximum(self.min_negatives_per_image, tf.cast(self.max_negatives_per_positive * num_positives, tf.int32))
        rank = tf.cumsum(tf.cast(matches == UNMATCHED, tf.int32))
        return tf.boolean_mask(selected, positive | (rank <= limit))
