"""Matching anchors to ground-truth boxes from their similarity."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

UNMATCHED = -1
IGNORED = -2


@dataclass(frozen=True)
class ArgMaxMatcher:
    """Each anchor goes to its most similar ground-truth box, if that is similar enough.

    Similarity >= `matched_threshold`: matched. Below `unmatched_threshold`: unmatched (background). Between the two: ignored; with
    `negatives_lower_than_unmatched=False` those two swap. `matched_threshold=None` matches every anchor of an image that has boxes.
    With `force_match_for_each_row` each ground-truth box also takes its most similar anchor, whatever the thresholds say; where several
    boxes want the same anchor, the first wins. Ties go to the first index throughout.
    """

    matched_threshold: float | None = 0.5
    unmatched_threshold: float | None = None
    negatives_lower_than_unmatched: bool = True
    force_match_for_each_row: bool = False

    def __post_init__(self) -> None:
        if self.matched_threshold is None:
            if self.unmatched_threshold is not None:
                raise ValueError("unmatched_threshold needs a matched_threshold")
            return
        if self.unmatched_threshold is not None and self.unmatched_threshold > self.matched_threshold:
            raise ValueError(f"unmatched_threshold must be <= matched_threshold ({self.matched_threshold}), got {self.unmatched_threshold}")
        if not self.negatives_lower_than_unmatched and self.unmatched_threshold in (None, self.matched_threshold):
            raise ValueError(
                "negatives_lower_than_unmatched: false takes the anchors between the two thresholds as negatives, so "
                f"unmatched_threshold must be < matched_threshold ({self.matched_threshold}), got {self.unmatched_threshold}"
            )

    def __call__(self, similarity: tf.Tensor, *, has_boxes: tf.Tensor, forced: tf.Tensor) -> tf.Tensor:
        """Matches a batch.

        Args:
            similarity: [B, N, A] float32, N >= 1; padded rows must be no more similar than any real row before them.
            has_boxes: [B] bool, whether the image has real rows.
            forced: [B, N] bool, the rows that may claim an anchor under `force_match_for_each_row`: real, weight > 0.

        Returns:
            [B, A] int32: -2 ignored, -1 unmatched, else the row.
        """
        matches = tf.argmax(similarity, axis=1, output_type=tf.int32)  # [B, A]
        if self.matched_threshold is not None:
            matches = self._apply_thresholds(matches, tf.reduce_max(similarity, axis=1))
        matches = tf.where(has_boxes[:, tf.newaxis], matches, UNMATCHED)
        return _force_matches(matches, similarity, forced) if self.force_match_for_each_row else matches

    def _apply_thresholds(self, matches: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
        unmatched_threshold = self.matched_threshold if self.unmatched_threshold is None else self.unmatched_threshold
        below, between = (UNMATCHED, IGNORED) if self.negatives_lower_than_unmatched else (IGNORED, UNMATCHED)
        if unmatched_threshold != self.matched_threshold:
            matches = tf.where(best < self.matched_threshold, between, matches)
        return tf.where(best < unmatched_threshold, below, matches)


def _force_matches(matches: tf.Tensor, similarity: tf.Tensor, forced: tf.Tensor) -> tf.Tensor:
    """Gives every forced row its best anchor; `[B, A], [B, N, A], [B, N] -> [B, A]`."""
    batch_size, num_rows = tf.unstack(tf.shape(forced))
    best_anchor = tf.argmax(similarity, axis=2, output_type=tf.int32)  # [B, N]
    image = tf.broadcast_to(tf.range(batch_size)[:, tf.newaxis], [batch_size, num_rows])
    row = tf.where(forced, tf.range(num_rows)[tf.newaxis], num_rows)  # a row that may not claim loses against all
    claims = tf.fill(tf.shape(matches), num_rows)
    claims = tf.tensor_scatter_nd_min(claims, tf.stack([image, best_anchor], axis=-1), row)
    return tf.where(claims < num_rows, claims, matches)
