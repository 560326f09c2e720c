"""What rounds, by hand: steps, zero points, moving ranges, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.models.fake_quantization import FakeQuantize, TrainingSteps, round_depthwise_kernel, round_kernel


def test_a_kernel_has_a_scale_for_every_output_channel():
    kernel = tf.constant([[1.27, 12.7], [0.014, 0.14], [-0.016, -0.16], [-1.27, 0.04]])[tf.newaxis, tf.newaxis]  # [1, 1, 4, 2]
    expected = [[1.27, 12.7], [0.01, 0.1], [-0.02, -0.2], [-1.27, 0.0]]
    np.testing.assert_allclose(round_kernel(kernel)[0, 0], expected, atol=1e-6)


def test_a_depthwise_kernel_has_one_for_every_channel_too():
    kernel = tf.constant([[[[1.27], [127.0]], [[0.016], [1.6]]]])  # [1, 2, 2, 1]
    np.testing.assert_allclose(round_depthwise_kernel(kernel)[0, :, :, 0], [[1.27, 127.0], [0.02, 2.0]], atol=1e-5)


def test_a_channel_of_zeros_stays_zero():
    assert not np.any(round_kernel(tf.zeros([3, 3, 2, 4])))


def test_rounding_before_batch_norm_is_folded_gives_what_rounding_after_it_gives():
    random = np.random.default_rng(0)
    kernel = tf.constant(random.normal(size=(3, 3, 5, 7)).astype(np.float32))
    factors = random.uniform(-20.0, 20.0, 7).astype(np.float32)
    np.testing.assert_allclose(round_kernel(kernel) * factors, round_kernel(kernel * factors), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rounded", "shape"), [(round_kernel, (3, 3, 2, 4)), (round_depthwise_kernel, (3, 3, 4, 1))])
def test_gradients_pass_a_kernel_as_if_nothing_were_rounded(rounded: Any, shape: tuple[int, ...]):
    kernel = tf.Variable(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    weights = tf.constant(np.random.default_rng(1).normal(size=shape).astype(np.float32))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(rounded(kernel) * weights)
    np.testing.assert_array_equal(tape.gradient(value, kernel), weights)


def train(layer: FakeQuantize, values: Any, *, step: int) -> np.ndarray:
    return layer(tf.constant(values, tf.float32), steps=tf.constant(step, tf.int64), training=True).numpy()


def test_the_first_batch_sets_the_range_and_the_next_move_it():
    layer = FakeQuantize()
    np.testing.assert_allclose(train(layer, [-1.0, 0.503, 1.55], step=1), [-1.0, 0.5, 1.55], atol=1e-6)  # 255 steps of 0.01
    assert [float(layer.low), float(layer.high)] == pytest.approx([-1.0, 1.55])
    train(layer, [-3.0, 0.0], step=2)  # the mean of both batches
    assert [float(layer.low), float(layer.high)] == pytest.approx([-2.0, 0.775])
    train(layer, [-4.0, 10.0], step=1000)  # a moving average that keeps 0.99
    assert [float(layer.low), float(layer.high)] == pytest.approx([-2.02, 0.775 * 0.99 + 0.1])


def test_evaluation_rounds_to_the_stored_range_and_leaves_it():
    layer = FakeQuantize()
    train(layer, [0.0, 2.55], step=1)
    found = layer(tf.constant([-1.0, 0.014, 1.0, 9.0]), steps=tf.constant(1, tf.int64), training=False)
    np.testing.assert_allclose(found, [0.0, 0.01, 1.0, 2.55], atol=1e-6)
    assert float(layer.high) == pytest.approx(2.55)


@pytest.mark.parametrize(
    ("settings", "values", "expected"),
    [
        ({}, [0.5, 2.0], (0.0, 2.0)),
        ({}, [-2.0, -0.5], (-2.0, 0.0)),
        ({"symmetric": True}, [-3.0, 1.0], (-3.0, 3.0)),
        ({"symmetric": True, "non_negative": True}, [0.0, 6.0], (-6.0, 6.0)),
        ({"non_negative": True}, [0.0, 6.0], (0.0, 6.0)),
    ],
    ids=["zero-below", "zero-above", "symmetric", "symmetric-relu", "relu"],
)
def test_zero_belongs_to_every_range(settings: dict[str, bool], values: list[float], expected: tuple[float, float]):
    layer = FakeQuantize(**settings)
    train(layer, values, step=1)
    assert (float(layer.low), float(layer.high)) == expected


def test_what_saturates_has_no_gradient_and_the_range_passes_none():
    layer = FakeQuantize()
    train(layer, [0.0, 1.0], step=1)
    values = tf.Variable([0.2, 5.0])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(values, steps=tf.constant(1000, tf.int64), training=True))
    np.testing.assert_array_equal(tape.gradient(total, values), [1.0, 0.0])


def test_a_delay_follows_the_range_without_rounding():
    layer = FakeQuantize(delay=2)
    values = np.array([0.0, 0.014, 2.55], np.float32)
    np.testing.assert_array_equal(train(layer, values, step=1), values)
    assert float(layer.high) == pytest.approx(2.55)
    np.testing.assert_array_equal(train(layer, values, step=2), values)
    np.testing.assert_allclose(train(layer, values, step=3), [0.0, 0.01, 2.55], atol=1e-6)


def test_only_training_is_counted():
    steps = TrainingSteps()
    counts = [int(steps(tf.zeros([1]), training=training)) for training in (False, True, True, False)]
    assert counts == [0, 1, 2, 2]
