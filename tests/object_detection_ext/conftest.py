"""What tests of tensor code share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.types import GroundTruth


@pytest.fixture(params=["eager", "graph"])
def traced(request) -> Callable:
    """Calls a function on tensors eagerly, or inside tf.function with every dimension unknown but the last of boxes and logits."""

    def call(function: Callable, *tensors, **settings):
        tensors = tf.nest.map_structure(tf.convert_to_tensor, tensors)
        if request.param == "eager":
            return function(*tensors, **settings)
        unknown = tf.nest.map_structure(_unknown, tensors)
        return tf.function(lambda *args: function(*args, **settings), input_signature=unknown)(*tensors)

    return call


def _unknown(tensor: tf.Tensor) -> tf.TensorSpec:
    rank = len(tensor.shape)
    shape = [None] * rank
    if rank == 3 or (rank == 2 and tensor.shape[-1] == 4):
        shape[-1] = tensor.shape[-1]
    return tf.TensorSpec(shape, tensor.dtype)


@pytest.fixture
def make_ground_truth() -> Callable[..., GroundTruth]:
    """Pads the boxes, classes and weights of each image to `size` rows; padding is filled with nonsense that must have no effect."""

    def make(boxes: Sequence, classes: Sequence, weights: Sequence | None = None, *, size: int = 20) -> GroundTruth:
        count = np.array([len(rows) for rows in boxes], np.int32)
        padded_boxes = np.tile(np.float32([0.1, 0.1, 0.9, 0.9]), (len(boxes), size, 1))
        padded_classes = np.full((len(boxes), size), 1, np.int32)
        padded_weights = np.zeros((len(boxes), size), np.float32)
        for i, n in enumerate(count):
            padded_boxes[i, :n] = np.reshape(boxes[i], (n, 4))
            padded_classes[i, :n] = classes[i]
            padded_weights[i, :n] = 1.0 if weights is None else weights[i]
        flags = np.zeros((len(boxes), size), bool)
        fields = (padded_boxes, padded_classes, padded_weights, flags, flags, np.zeros((len(boxes), size), np.float32), count)
        return GroundTruth(*map(tf.constant, fields))

    return make
