from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.quiet import native_output_hidden


def build_network() -> tf_keras.Model:
    """A stem, two residual blocks of MobileNetV2's kind, and two heads; odd sizes and strides, so that padding is uneven."""
    layers, seed = tf_keras.layers, iter(range(100))

    def weights(scale):
        return tf_keras.initializers.RandomNormal(stddev=scale, seed=next(seed))

    image = tf_keras.Input((13, 10, 3), batch_size=1)
    x = layers.ReLU(6.0)(layers.Conv2D(8, 3, 2, "same", kernel_initializer=weights(0.5), bias_initializer=weights(0.3))(image))
    x = layers.DepthwiseConv2D(3, 2, "same", depthwise_initializer=weights(0.5), bias_initializer=weights(0.3))(x)
    x = layers.Conv2D(6, 1, kernel_initializer=weights(0.5), bias_initializer=weights(0.3))(layers.ReLU(6.0)(x))
    y = layers.ReLU(6.0)(layers.Conv2D(12, 1, kernel_initializer=weights(0.7), bias_initializer=weights(0.3))(x))
    y = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, 1, "same", depthwise_initializer=weights(0.5), bias_initializer=weights(0.3))(y))
    x = layers.Add()([x, layers.Conv2D(6, 1, kernel_initializer=weights(0.5), bias_initializer=weights(0.3))(y)])
    boxes = layers.Conv2D(4, 1, kernel_initializer=weights(0.4), bias_initializer=weights(0.1))(x)
    scores = layers.Conv2D(3, 1, kernel_initializer=weights(0.4), bias_initializer=weights(0.1))(x)
    return tf_keras.Model(image, [layers.Reshape((-1, 4))(boxes), layers.Reshape((-1, 3))(scores)])


def convert(network: tf_keras.Model) -> bytes:
    with native_output_hidden():
        return tf.lite.TFLiteConverter.from_keras_model(network).convert()


@pytest.fixture(scope="session")
def content() -> bytes:
    return convert(build_network())


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.uniform(-1.0, 1.0, (13, 10, 3)).astype(np.float32) for _ in range(20)]
