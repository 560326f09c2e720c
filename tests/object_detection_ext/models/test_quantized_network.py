"""Where a network rounds, and what it keeps of the float network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.models.fake_quantization import FakeQuantize
from object_detection_ext.models.quantization_state import is_quantization_state
from object_detection_ext.models.quantized_network import FakeQuantization, NotQuantizableError

PIXELS = (-1.0, 1.0)
layers = tf_keras.layers

SHARED = """
image_resizer { fixed_shape_resizer { height: 65 width: 65 } }
feature_extractor { type: "ssd_mobilenet_v1_fpn_keras" fpn { min_level: 4 max_level: 6 } }
anchor_generator { multiscale_anchor_generator { min_level: 4 max_level: 6 } }
box_predictor { weight_shared_convolutional_box_predictor { num_layers_before_predictor: 1 } }
"""


def ranges(network: tf_keras.Model) -> list[str]:
    return [layer.name for layer in network.layers if isinstance(layer, FakeQuantize)]


def names(network: tf_keras.Model) -> list[str]:
    return [variable.name.removesuffix(":0") for variable in network.weights]


def residual_network() -> tf_keras.Model:
    """An inverted residual block behind a stem, and a padded convolution that reads it."""
    image = tf_keras.Input((8, 8, 3), name="image")
    stem = layers.ReLU(6.0, name="stem_relu")(layers.BatchNormalization(name="stem_bn")(layers.Conv2D(4, 1, name="stem")(image)))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(stem)
    x = layers.ReLU(6.0, name="depthwise_relu")(layers.BatchNormalization(name="depthwise_bn")(x))
    x = layers.BatchNormalization(name="project_bn")(layers.Conv2D(4, 1, use_bias=False, name="project")(x))
    x = layers.Add(name="add")([stem, x])
    x = layers.Conv2D(2, 3, strides=2, name="head")(layers.ZeroPadding2D(1, name="pad")(x))
    return tf_keras.Model(image, layers.Reshape((-1, 2), name="rows")(x), name="detector")


def test_rounded_is_what_the_runtime_computes_in_one_operation():
    network = FakeQuantization()(residual_network(), input_range=PIXELS)
    assert ranges(network) == [
        "stem_relu/quantized",
        "depthwise_relu/quantized",
        "project_bn/quantized",
        "add/quantized",
        "head/quantized",
    ]


def test_a_sum_with_relu_is_one_operation_and_a_map_with_two_readers_is_not_fused():
    image = tf_keras.Input((4, 4, 3), name="image")
    first = layers.Conv2D(3, 1, name="first")(image)
    summed = layers.ReLU(name="relu")(layers.Add(name="add")([image, first]))
    network = tf_keras.Model(image, [layers.Conv2D(1, 1, name="second")(summed), layers.ReLU(name="also")(first)])
    assert sorted(ranges(FakeQuantization()(network, input_range=PIXELS))) == [
        "also/quantized",
        "first/quantized",
        "relu/quantized",
        "second/quantized",
    ]


@pytest.fixture(scope="module")
def shared(ssd_config: Callable) -> tuple[tf_keras.Model, tf_keras.Model]:
    """A feature pyramid with heads that share weights, float and with fake quantisation."""
    network = build_detector(ssd_config("fpnlite_v2_dm0.35_320", SHARED)).network
    return network, FakeQuantization()(network, input_range=PIXELS)


def test_weights_keep_their_names_shapes_and_order(shared: tuple[tf_keras.Model, tf_keras.Model]):
    float_network, network = shared
    assert [name for name in names(network) if not is_quantization_state(name)] == names(float_network)
    assert network.output_shape == float_network.output_shape
    assert network.output_names == float_network.output_names


def test_shared_heads_have_a_range_for_each_feature_map(shared: tuple[tf_keras.Model, tf_keras.Model]):
    found = [name for name in ranges(shared[1]) if "/BoxPredictor/pointwise/" in name]
    assert [name.rpartition("/")[2] for name in found] == ["quantized_0", "quantized_1", "quantized_2"]


@pytest.mark.parametrize("is_frozen", [True, False])
def test_frozen_batch_norm_stays_frozen(is_frozen: bool):
    image = tf_keras.Input((4, 4, 3))
    norm = layers.BatchNormalization(name="norm")
    x = layers.Conv2D(2, 1)(image)
    network = FakeQuantization()(tf_keras.Model(image, norm(x, training=False) if is_frozen else norm(x)), input_range=PIXELS)
    network(np.ones((2, 4, 4, 3), np.float32), training=True)
    assert (np.abs(network.get_layer("norm").moving_mean).max() == 0.0) == is_frozen


def _activation(image: tf.Tensor) -> tf.Tensor:
    return layers.Activation("swish", name="block/swish")(image)


@pytest.mark.parametrize(
    ("add", "named"),
    [
        (_activation, r"block/swish \(Activation swish\)"),
        (lambda image: layers.Multiply(name="scaled")([image, image]), r"scaled \(Multiply\)"),
        (lambda image: layers.BatchNormalization(name="alone")(image), r"alone \(BatchNormalization\)"),
        (lambda image: layers.UpSampling2D(interpolation="bilinear", name="up")(image), r"up \(UpSampling2D\)"),
        (lambda image: layers.Conv2D(1, 1)(layers.Concatenate(name="within")([image, image])), r"within \(Concatenate\)"),
    ],
    ids=["activation", "product", "batch-norm-alone", "bilinear", "concatenation"],
)
def test_what_has_no_8_bit_rule_is_refused_by_name(add: Callable, named: str):
    image = tf_keras.Input((4, 4, 3))
    with pytest.raises(NotQuantizableError, match=named):
        FakeQuantization()(tf_keras.Model(image, add(image)), input_range=PIXELS)


def test_a_delay_computes_in_float_first():
    float_network = residual_network()
    network = FakeQuantization(delay=1)(float_network, input_range=PIXELS)
    weights = iter(float_network.get_weights())
    for variable in network.weights:
        if not is_quantization_state(variable.name.removesuffix(":0")):
            variable.assign(next(weights))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    expected = float_network(images, training=True).numpy()
    np.testing.assert_allclose(network(images, training=True), expected, atol=1e-6)
    assert np.abs(network(images, training=True) - expected).max() > 1e-4
