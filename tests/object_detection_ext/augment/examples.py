"""The example that the API's golden numbers were made with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from object_detection_ext.types import Example

FIELDS = {  # ours -> the API's
    "boxes": "groundtruth_boxes",
    "classes": "groundtruth_classes",
    "weights": "groundtruth_weights",
    "masks": "groundtruth_instance_masks",
    "keypoints": "groundtruth_keypoints",
    "keypoint_visibilities": "groundtruth_keypoint_visibilities",
    "multiclass_scores": "multiclass_scores",
}


def plain_example(golden: Callable[[str], Path]) -> Example:
    """Image [48, 64, 3] float32 and five boxes of classes 1 2 3 1 2 (1-based); weights 1 to 5 number them."""
    arrays = np.load(golden("augment.npz"))
    count = len(arrays["boxes"])
    return Example(
        image=tf.constant(arrays["image"]),
        boxes=tf.constant(arrays["boxes"]),
        classes=tf.constant([0, 1, 2, 0, 1], tf.int32),
        weights=tf.range(1.0, count + 1.0),
        is_crowd=tf.zeros([count], tf.bool),
        difficult=tf.zeros([count], tf.bool),
        area=tf.range(1.0, count + 1.0),
        original_shape=tf.constant([48, 64]),
        source_id=tf.constant("a"),
    )


def full_example(golden: Callable[[str], Path]) -> Example:
    """The same with random masks, three keypoints an object (one NaN), visibilities and scores of four classes."""
    arrays = np.load(golden("augment_objects.npz"))
    extras = {name: arrays[f"in/{FIELDS[name]}"] for name in ("masks", "keypoints", "keypoint_visibilities", "multiclass_scores")}
    extras["masks"] = extras["masks"].astype(np.uint8)
    return plain_example(golden)._replace(**{name: tf.constant(values) for name, values in extras.items()})


def unknown_shapes(example: Example) -> Example:
    """Tensor specs of the example: height, width and number of objects unknown."""

    def spec(name: str, value: tf.Tensor) -> tf.TensorSpec:
        known = {"image": [None, None, 3], "masks": [None, None, None], "original_shape": [2], "source_id": []}
        return tf.TensorSpec(known.get(name, [None, *value.shape[1:]]), value.dtype)

    return Example(*[None if value is None else spec(name, value) for name, value in example._asdict().items()])
