"""Multiply-adds by hand, and what counts as 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.multiply_adds import Int8Share, int8_share, layer_costs
from export.quiet import native_output_hidden


@pytest.fixture(scope="module")
def network() -> tf_keras.Model:
    layers = tf_keras.layers
    image = tf_keras.Input((8, 6, 3), batch_size=1)
    x = layers.Conv2D(4, 3, 2, "same")(image)  # 4 x 3 positions, 4 kernels of 3 x 3 x 3
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # 4 x 3 x 4 outputs of 3 x 3
    x = layers.Conv2DTranspose(2, 2, 2)(x)  # 4 x 3 x 4 inputs, each times 2 x 2 x 2
    return tf_keras.Model(image, layers.Dense(5)(layers.Flatten()(x)))  # 8 x 6 x 2 inputs, 5 outputs


def convert(network: tf_keras.Model, *, is_calibrated: bool, optimizations: list) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = optimizations
    if is_calibrated:
        converter.representative_dataset = lambda: iter([[np.ones((1, 8, 6, 3), np.float32)]])
    with native_output_hidden():
        return converter.convert()


BY_HAND = [12 * 4 * 27, 48 * 9, 48 * 8, 96 * 5]


def test_by_hand(network: tf_keras.Model) -> None:
    costs = layer_costs(convert(network, is_calibrated=False, optimizations=[]))
    assert [cost.multiply_adds for cost in costs] == BY_HAND
    assert not any(cost.is_int8 for cost in costs)


def test_weights_and_activations_in_8_bits_count(network: tf_keras.Model) -> None:
    found = int8_share(convert(network, is_calibrated=True, optimizations=[tf.lite.Optimize.DEFAULT]))
    assert (found.share, found.multiply_adds, found.others) == (1.0, sum(BY_HAND), ())


def test_activations_quantised_on_the_fly_do_not_count(network: tf_keras.Model) -> None:
    found = int8_share(convert(network, is_calibrated=False, optimizations=[tf.lite.Optimize.DEFAULT]))
    assert found.share == 0.0
    assert len(found.others) == 4


def test_too_small_a_share_is_a_warning_that_names_the_most_expensive_layers() -> None:
    others = tuple(f"layer_{number}" for number in range(7))
    assert str(Int8Share(0.9754, 1_500_000, others)) == (
        "warning: only 97.5% of 1.5 million multiply-adds in 8 bits, 98% is the aim; "
        "not in 8 bits: layer_0, layer_1, layer_2, layer_3, layer_4 and 2 more"
    )
    assert str(Int8Share(0.98, 1_500_000, others)) == "98.0% of 1.5 million multiply-adds in 8 bits"
