"""The values that flow between the stages. Layer 0: knows nothing of the rest.

Symbols: B images in a batch, H W height and width, N (padded) ground-truth boxes, A anchors, K classes without background,
M detections. Boxes are `[y_min, x_min, y_max, x_max]` float32, normalised to [0, 1] of the (padded) network input.
Class indices are 0-based: label-map id minus 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # TensorFlow takes seconds to import; data tools and `--help` must not pay for a name
    import tensorflow as tf


class Example(NamedTuple):
    """One decoded image with its ground truth, before batching."""

    image: tf.Tensor  # [H, W, 3] uint8 or float32, both in [0, 255]
    boxes: tf.Tensor  # [N, 4] float32, normalised to the image
    classes: tf.Tensor  # [N] int32, 0-based
    weights: tf.Tensor  # [N] float32
    is_crowd: tf.Tensor  # [N] bool
    difficult: tf.Tensor  # [N] bool
    area: tf.Tensor  # [N] float32, pixels of the stored image
    original_shape: tf.Tensor  # [2] int32, height and width of the stored image
    source_id: tf.Tensor  # [] string
    masks: tf.Tensor | None = None  # [N, H, W] uint8
    keypoints: tf.Tensor | None = None  # [N, P, 2] float32, normalised (y, x); NaN for a point that is not labelled
    keypoint_visibilities: tf.Tensor | None = None  # [N, P] bool; not without keypoints
    multiclass_scores: tf.Tensor | None = None  # [N, K + 1] float32, logits or probabilities, column 0 is background


class GroundTruth(NamedTuple):
    """The ground truth of a batch, padded to N boxes; a padded box has weight 0 and index >= num_boxes."""

    boxes: tf.Tensor  # [B, N, 4] float32, normalised to the (padded) network input
    classes: tf.Tensor  # [B, N] int32, 0-based
    weights: tf.Tensor  # [B, N] float32
    is_crowd: tf.Tensor  # [B, N] bool
    difficult: tf.Tensor  # [B, N] bool
    area: tf.Tensor  # [B, N] float32, pixels of the stored image
    num_boxes: tf.Tensor  # [B] int32


class Batch(NamedTuple):
    """What the input pipeline yields."""

    images: tf.Tensor  # [B, H, W, 3] float32, preprocessed network input
    true_shapes: tf.Tensor  # [B, 2] int32, height and width of the content inside the padded input
    ground_truth: GroundTruth
    original_shapes: tf.Tensor  # [B, 2] int32, height and width of the stored images
    source_ids: tf.Tensor  # [B] string


class Predictions(NamedTuple):
    """Raw network outputs."""

    box_encodings: tf.Tensor  # [B, A, 4] float32
    class_logits: tf.Tensor  # [B, A, K + 1] float32, column 0 is background


class Targets(NamedTuple):
    """What the network should have predicted, per anchor."""

    class_targets: tf.Tensor  # [B, A, K + 1] float32
    class_weights: tf.Tensor  # [B, A, K + 1] float32
    box_targets: tf.Tensor  # [B, A, 4] float32, encoded
    box_weights: tf.Tensor  # [B, A] float32
    matches: tf.Tensor  # [B, A] int32: -2 ignored, -1 unmatched, else ground-truth index


class Losses(NamedTuple):
    """Scalar losses of a batch, already weighted and normalised; regularisation is added by the training step."""

    classification_loss: tf.Tensor  # [] float32
    localization_loss: tf.Tensor  # [] float32


class Detections(NamedTuple):
    """Final detections, best first, padded with zeros to M."""

    boxes: tf.Tensor  # [B, M, 4] float32, normalised to the (padded) network input
    scores: tf.Tensor  # [B, M] float32
    classes: tf.Tensor  # [B, M] int32, 0-based
    num_detections: tf.Tensor  # [B] int32
