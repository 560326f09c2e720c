"""int8 files of networks with fake quantisation: they compute what training computed, and training makes up for the rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.input_type import InputType, with_input_type
from export.quantization.fidelity import decibels, run_outputs
from export.quantization.trained import quantized_body
from export.tflite_file import operator_names
from object_detection_ext.models.quantization_state import is_quantization_state
from object_detection_ext.models.quantized_network import FakeQuantization

layers = tf_keras.layers
HEADS = ["detector/boxes/per_anchor/Reshape", "detector/scores/per_anchor/Reshape"]
NUM_STEPS = 300


def random_weights(network: tf_keras.Model) -> None:
    random = np.random.default_rng(7)
    for variable in network.weights:
        name, shape = variable.name.rpartition("/")[2], variable.shape
        if name.startswith(("gamma", "moving_variance")):
            variable.assign(random.uniform(0.5, 2.0, shape))
        else:
            fan_in = 9 if name.startswith("depthwise_kernel") else max(np.prod(shape[:-1]), 1)
            variable.assign(random.normal(size=shape) / np.sqrt(fan_in) if "kernel" in name else random.normal(size=shape) * 0.2)


def detector_network() -> tf_keras.Model:
    """Residual block, padding, upsampling, a sum across scales, heads that share their kernels over two maps; uneven sizes."""

    def activated(x, convolution):
        return layers.ReLU(6.0, name=f"{convolution.name}_relu")(layers.BatchNormalization(name=f"{convolution.name}_bn")(convolution(x)))

    image = tf_keras.Input((14, 18, 3), name="image")
    x = activated(image, layers.Conv2D(8, 3, 2, "same", use_bias=False, name="stem"))  # 7 x 9
    y = activated(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise"))
    fine = layers.Add(name="add")([x, layers.BatchNormalization(name="project_bn")(layers.Conv2D(8, 1, name="project")(y))])
    coarse = activated(layers.ZeroPadding2D(1, name="pad")(fine), layers.Conv2D(8, 3, 2, name="coarse"))  # 4 x 5
    up = layers.Cropping2D(((0, 1), (0, 1)), name="crop")(layers.UpSampling2D(name="up")(coarse))
    fine = layers.Add(name="top_down")([fine, up])
    outputs = []
    for name, size in (("boxes", 4), ("scores", 2)):
        head = layers.Conv2D(size, 1, name=name)
        rows = [layers.Reshape((-1, size), name=f"{name}/per_anchor_{level}")(head(x)) for level, x in enumerate((fine, coarse))]
        outputs.append(layers.Concatenate(axis=1, name=f"{name}_joined")(rows))
    return tf_keras.Model(image, tuple(outputs), name="detector")


def fake_quantized(float_network: tf_keras.Model, images: np.ndarray) -> tf_keras.Model:
    """With the same weights and the ranges of one batch."""
    network = FakeQuantization()(float_network, input_range=(-1.0, 1.0))
    values = {variable.name: variable.numpy() for variable in float_network.weights}

    def set_weights() -> None:
        for variable in network.weights:
            if not is_quantization_state(variable.name.removesuffix(":0")):
                variable.assign(values[variable.name])

    set_weights()
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    for norm in norms:
        norm.trainable = False  # moving statistics in training, too
    network(images, training=True)
    return network


def inputs(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(np.float32)


@pytest.fixture(scope="module")
def float_network() -> tf_keras.Model:
    network = detector_network()
    random_weights(network)
    return network


@pytest.fixture(scope="module")
def network(float_network: tf_keras.Model) -> tf_keras.Model:
    return fake_quantized(float_network, inputs(32, 14, 18, 3))


SHARED_HEADS = [f"detector/{name}/per_anchor_{level}/Reshape" for name in ("boxes", "scores") for level in (0, 1)]


def test_the_file_computes_what_the_network_computes_to_a_step(network: tf_keras.Model, float_network: tf_keras.Model):
    body = quantized_body(network, SHARED_HEADS)
    images = inputs(8, 14, 18, 3, seed=1)
    found = run_outputs(body, list(images))
    rounded, exact = ([np.split(joined, [63], axis=1) for joined in each(images, training=False)] for each in (network, float_network))
    for index in range(4):
        output = np.stack([outputs[index][0] for outputs in found])  # [8, anchors, size]
        head, level = divmod(index, 2)
        step = np.diff(np.unique(output)).min()
        steps_off = np.abs(output - rounded[head][level]) / step
        assert np.mean(steps_off < 0.01) > 0.8, index  # the same multiple of the step
        assert np.mean(steps_off < 1.01) > 0.99, index
        # A network that does not round is further away than that: nothing but fake quantisation gives the multiples.
        assert np.mean(np.abs(output - exact[head][level]) / step < 0.01) < 0.2, index


def test_the_file_is_all_int8_but_for_its_ends(network: tf_keras.Model):
    found = list(operator_names(quantized_body(network, SHARED_HEADS)))
    assert found[0] == ("QUANTIZE", True)  # uint8 to int8
    assert {name for name, is_quantized in found if not is_quantized} == {"DEQUANTIZE"}
    assert [name for name, _ in found].count("DEQUANTIZE") == len(SHARED_HEADS)


def test_outputs_are_in_the_order_of_the_heads(network: tf_keras.Model):
    image = inputs(1, 14, 18, 3)
    forward, backward = (run_outputs(quantized_body(network, heads), list(image))[0] for heads in (SHARED_HEADS, SHARED_HEADS[::-1]))
    for one, other in zip(forward, backward[::-1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("input_type", ["int8", "float32"])
def test_other_inputs_give_the_same(network: tf_keras.Model, input_type: InputType):
    images, body = list(inputs(3, 14, 18, 3)), quantized_body(network, SHARED_HEADS)
    expected, found = run_outputs(body, images), run_outputs(with_input_type(body, input_type, (-1.0, 1.0)), images)
    for one, other in zip(expected, found, strict=True):
        for tensor, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(tensor, same)


def test_a_head_that_the_network_lacks_is_an_error(network: tf_keras.Model):
    with pytest.raises(RuntimeError, match="found 0"):
        quantized_body(network, ["detector/other/Reshape"])


def lopsided_network() -> tf_keras.Model:
    """Sixteen channels of equal weight behind one ReLU6, one of them 300 times as large as the others, of which 8 bits leave little."""
    random = np.random.default_rng(1)
    sizes = np.array([3.0] + [0.01] * 15)
    image = tf_keras.Input((8, 8, 3), name="image")
    hidden = layers.ReLU(6.0, name="relu")(layers.Conv2D(16, 3, padding="same", name="spread")(image))
    outputs = layers.Reshape((-1, 2), name="boxes/per_anchor")(layers.Conv2D(2, 1, name="boxes")(hidden))
    network = tf_keras.Model(image, outputs, name="detector")
    network.get_layer("spread").set_weights([random.normal(size=(3, 3, 3, 16)) * 0.4 * sizes, random.normal(size=16) * 0.3 * sizes])
    network.get_layer("boxes").set_weights([(random.normal(size=(16, 2)) * 0.3 / sizes[:, np.newaxis]).reshape(1, 1, 16, 2), np.zeros(2)])
    return network


def signal_to_noise(network: tf_keras.Model, reference: tf_keras.Model, images: np.ndarray) -> float:
    """Of the int8 file."""
    expected = reference(images, training=False).numpy()
    found = np.stack([outputs[0][0] for outputs in run_outputs(quantized_body(network, HEADS[:1]), list(images))])
    return decibels(float(np.square(expected).sum()), float(np.square(expected - found).sum()))


def trainer(network: tf_keras.Model, reference: tf_keras.Model, images: np.ndarray) -> Callable[[], None]:
    optimizer = tf_keras.optimizers.legacy.Adam(tf_keras.optimizers.schedules.CosineDecay(0.02, NUM_STEPS))
    batch, wanted = tf.constant(images), reference(images, training=False)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(batch, training=True) - wanted))
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    return step


def test_training_recovers_a_file_that_quantisation_alone_destroys():
    reference = lopsided_network()
    network = fake_quantized(reference, inputs(64, 8, 8, 3))
    images = inputs(16, 8, 8, 3, seed=5)
    before = signal_to_noise(network, reference, images)
    step = trainer(network, reference, inputs(64, 8, 8, 3))
    for _ in range(NUM_STEPS):
        step()
    after = signal_to_noise(network, reference, images)
    assert before < 3.0  # decibels: half of it is noise
    assert after > before + 4.0
