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

    def __call__(self, similarity: tf.Tensor, images: tf.Tensor, *, num_images: tf.Tensor | int, forced: tf.Tensor) -> tf.Tensor:
        """Matches a batch.

        Args:
            similarity: [R, A] float32, a row for each box of all images.
            images: [R] int32, the image of each row, ascending.
            num_images: B.
            forced: [R] bool, the rows that may claim an anchor under `force_match_for_each_row`.

        Returns:
            [B, A] int32: -2 ignored, -1 unmatched, else the row.
        """
        num_rows = tf.shape(similarity)[0]
        best = _max_per_image(similarity, images, num_images)  # [B, A]
        matches = self._apply_thresholds(_first_best(similarity, best, images, num_images), best)
        if not self.force_match_for_each_row:
            return matches
        best_anchor = tf.argmax(similarity, axis=1, output_type=tf.int32)  # [R]
        claims = tf.tensor_scatter_nd_min(
            tf.fill(tf.shape(matches), num_rows),
            tf.stack([images, best_anchor], axis=1),
            tf.where(forced, tf.range(num_rows), num_rows),
        )
        return tf.where(claims < num_rows, claims, matches)

    def _apply_thresholds(self, matches: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
        is_unmatched = matches == UNMATCHED  # an image without boxes
        if self.matched_threshold is None:
            return matches
        unmatched_threshold = self.matched_threshold if self.unmatched_threshold is None else self.unmatched_threshold
        below, between = (UNMATCHED, IGNORED) if self.negatives_lower_than_unmatched else (IGNORED, UNMATCHED)
        if unmatched_threshold != self.matched_threshold:
            matches = _fill_where(best < self.matched_threshold, between, matches)
        matches = _fill_where(best < unmatched_threshold, below, matches)
        return _fill_where(is_unmatched, UNMATCHED, matches)


def _first_best(similarity: tf.Tensor, best: tf.Tensor, images: tf.Tensor, num_images: tf.Tensor | int) -> tf.Tensor:
    """`[R, A], [B, A], [R] -> [B, A]` int32: the first row that reaches its image's best; -1 in an image without rows.

    An argmax per image out of passes that TensorFlow vectorises: the first row has the highest rank.
    """
    num_rows = tf.shape(similarity)[0]
    ranks = tf.cast(tf.range(num_rows, 0, -1), tf.float32)[:, tf.newaxis]  # R, ..., 1
    is_best = tf.cast(tf.equal(similarity, tf.gather(best, images)), tf.float32)
    first = num_rows - tf.cast(_max_per_image(is_best * ranks, images, num_images), tf.int32)
    return _fill_where(first == num_rows, UNMATCHED, first)


def _max_per_image(values: tf.Tensor, images: tf.Tensor, num_images: tf.Tensor | int) -> tf.Tensor:
    """`[R, A], [R] -> [B, A]`, 0 for images without rows; the segment op ends at the last image that has any."""
    maxima = tf.math.segment_max(values, images)
    return tf.pad(maxima, [[0, num_images - tf.shape(maxima)[0]], [0, 0]])


def _fill_where(condition: tf.Tensor, value: int, otherwise: tf.Tensor) -> tf.Tensor:
    # A select that broadcasts a scalar is ten times slower than filling a tensor first.
    return tf.where(condition, tf.fill(tf.shape(otherwise), value), otherwise)
