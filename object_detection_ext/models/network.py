"""The network: image in, box encodings and class logits out, as one flat functional model.

Quantisation-aware training refuses models inside models, and pruning, profiling and checkpoints walk one list of layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tf_keras

from object_detection_ext.models.box_predictor import BoxPredictor
from object_detection_ext.models.feature_extractor import FeatureExtractor


class NetworkShapeError(ValueError):
    """The parts of a network do not fit together. The message begins with the part that is wrong."""


class Network(NamedTuple):
    """A model and the sizes that its anchors need."""

    model: tf_keras.Model  # [B, H, W, C] float32 -> (box encodings [B, A, 4], class logits [B, A, slots])
    feature_map_shapes: tuple[tuple[int, int], ...]  # height and width, finest first


def build_network(
    feature_extractor: FeatureExtractor,
    box_predictor: BoxPredictor,
    *,
    image_shape: tuple[int, int, int],
    num_anchors_per_location: Sequence[int],
    num_class_slots: int,
) -> Network:
    """Builds the network with fresh weights.

    Args:
        image_shape: height, width and channels of the input.
        num_anchors_per_location: one per feature map.
        num_class_slots: class logits per anchor, the background's included.

    Raises:
        NetworkShapeError: the image is too small, the feature maps are not as many as `num_anchors_per_location`, or `box_predictor` cannot
            serve such numbers.
    """
    height, width, _ = image_shape
    if min(height, width) < feature_extractor.min_image_size:
        least = feature_extractor.min_image_size
        raise NetworkShapeError(f"image_resizer must give at least {least}x{least} for this feature extractor, got {height}x{width}")
    image = tf_keras.Input(image_shape, name="image")
    feature_maps = feature_extractor(image)
    if len(feature_maps) != len(num_anchors_per_location):
        raise NetworkShapeError(
            f"anchor_generator must have as many layers as the feature extractor has feature maps ({len(feature_maps)}), "
            f"got {len(num_anchors_per_location)}"
        )
    outputs = box_predictor(feature_maps, num_anchors_per_location=num_anchors_per_location, num_class_slots=num_class_slots)
    shapes = tuple((features.shape[1], features.shape[2]) for features in feature_maps)
    return Network(tf_keras.Model(image, outputs, name="detector"), shapes)
