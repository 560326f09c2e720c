from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.models.initializers import NamedInitializer, RandomNormal, TruncatedNormal, VarianceScaling
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams, Regularizer, conv2d, depthwise_conv2d, zero_pad


def _layers(features, image) -> dict[str, tf_keras.layers.Layer]:
    return {layer.name: layer for layer in tf_keras.Model(image, features).layers}


class TestRegularizer:
    @pytest.mark.parametrize(("norm", "loss"), [("l2", 0.1 * 0.5 * (1 + 4 + 9)), ("l1", 0.1 * (1 + 2 + 3))])
    def test_formula(self, norm: str, loss: float):
        assert float(Regularizer(norm, 0.1)()(tf.constant([1.0, -2.0, 3.0]))) == pytest.approx(loss)

    def test_negative_weight(self):
        with pytest.raises(ValueError, match="weight must be >= 0, got -1"):
            Regularizer("l2", -1)


class TestInitializers:
    @pytest.mark.parametrize(
        ("initializer", "mean", "stddev", "largest"),
        [
            (TruncatedNormal(1.0, 0.1), 1.0, 0.1 * 0.8796, 0.2),  # 0.8796: stddev of the normal distribution cut off at 2 sigma
            (RandomNormal(-1.0, 0.1), -1.0, 0.1, 1.0),
            (VarianceScaling(2.0, "fan_in", "truncated_normal"), 0.0, (2 / 300) ** 0.5, 2 / 0.8796 * (2 / 300) ** 0.5),
            (VarianceScaling(1.0, "fan_out", "uniform"), 0.0, (1 / 200) ** 0.5, (3 / 200) ** 0.5),
            (VarianceScaling(1.0, "fan_avg", "uniform"), 0.0, (1 / 250) ** 0.5, (3 / 250) ** 0.5),
            (NamedInitializer("glorot_uniform"), 0.0, (1 / 250) ** 0.5, (3 / 250) ** 0.5),
        ],
        ids=["truncated", "normal", "fan_in", "fan_out", "fan_avg", "named"],
    )
    def test_distribution(self, initializer, mean: float, stddev: float, largest: float):
        tf_keras.utils.set_random_seed(0)
        values = initializer()((1, 1, 300, 200)).numpy()
        assert values.mean() == pytest.approx(mean, abs=0.01 * stddev * 5)
        assert values.std() == pytest.approx(stddev, rel=0.02)
        assert np.abs(values - mean).max() <= largest * 1.001

    def test_unknown_name(self):
        with pytest.raises(ValueError, match=r"keras_initializer_by_name must name an initialiser of tf_keras.*got 'glorot'"):
            NamedInitializer("glorot")


class TestConvolutions:
    def test_bias_unless_batch_norm_brings_one(self):
        assert ConvHyperparams().use_bias
        assert not ConvHyperparams(batch_norm=BatchNorm()).use_bias
        assert ConvHyperparams(batch_norm=BatchNorm(center=False)).use_bias
        assert ConvHyperparams(batch_norm=BatchNorm(), force_use_bias=True).use_bias

    def test_depthwise_kernels_take_the_configs_settings_only_in_the_backbone(self):
        hyperparams = ConvHyperparams(TruncatedNormal(stddev=0.5), Regularizer("l2", 1.0))
        image = tf_keras.Input((8, 8, 4))
        features = depthwise_conv2d(image, 3, hyperparams=hyperparams, name="backbone", in_backbone=True)
        layers = _layers(depthwise_conv2d(features, 3, hyperparams=hyperparams, name="head"), image)
        assert isinstance(layers["backbone"].depthwise_initializer, tf_keras.initializers.TruncatedNormal)
        assert layers["backbone"].depthwise_regularizer is not None
        assert isinstance(layers["head"].depthwise_initializer, tf_keras.initializers.GlorotUniform)
        assert layers["head"].depthwise_regularizer is None
        asked = ConvHyperparams(regularizer=Regularizer("l2", 1.0), regularize_depthwise=True)
        layers = _layers(depthwise_conv2d(image, 3, hyperparams=asked, name="asked"), image)
        assert layers["asked"].depthwise_regularizer is not None

    @pytest.mark.parametrize(("size", "first"), [(8, 4.0), (7, 4.0)])
    def test_explicit_padding_does_not_depend_on_the_size(self, size: int, first: float):
        """A 3x3 kernel of ones, stride 2: with one zero row and column in front, the first window holds 2x2 ones."""
        image = tf_keras.Input((size, size, 1))
        model = tf_keras.Model(image, conv2d(image, 1, 3, stride=2, hyperparams=ConvHyperparams(), name="conv", use_explicit_padding=True))
        model.set_weights([np.ones((3, 3, 1, 1)), np.zeros(1)])
        output = model(np.ones((1, size, size, 1)))
        assert output.shape[1:3] == (4, 4)
        assert float(output[0, 0, 0, 0]) == first

    def test_same_padding_depends_on_the_size(self):
        image = tf_keras.Input((8, 8, 1))
        model = tf_keras.Model(image, conv2d(image, 1, 3, stride=2, hyperparams=ConvHyperparams(), name="conv"))
        model.set_weights([np.ones((3, 3, 1, 1)), np.zeros(1)])
        assert float(model(np.ones((1, 8, 8, 1)))[0, 0, 0, 0]) == 9.0  # even size: the padding is at the end

    def test_dilation_under_explicit_padding(self):
        image = tf_keras.Input((9, 9, 2))
        features = depthwise_conv2d(image, 3, dilation=4, hyperparams=ConvHyperparams(), name="wide", use_explicit_padding=True)
        assert features.shape == (None, 9, 9, 2)

    def test_pad_to_multiple(self):
        image = tf_keras.Input((30, 33, 1))
        model = tf_keras.Model(image, zero_pad(image, 32))
        output = model(np.ones((1, 30, 33, 1)))
        assert output.shape == (1, 32, 64, 1)
        assert float(tf.reduce_sum(output)) == 30 * 33 and float(output[0, 0, 0, 0]) == 1.0
        assert zero_pad(image, 3) is image


class TestBatchNorm:
    @pytest.mark.parametrize(("settings", "message"), [({"decay": 1.5}, "decay must be in"), ({"epsilon": 0.0}, "epsilon must be > 0")])
    def test_impossible(self, settings: dict, message: str):
        with pytest.raises(ValueError, match=message):
            BatchNorm(**settings)

    def test_one_update(self):
        """Moving mean and variance after one batch of 1, 3: mean 2; variance 1, unbiased 2; decay 0.9 from 0 and 1."""
        image = tf_keras.Input((1, 1, 1))
        model = tf_keras.Model(image, BatchNorm(decay=0.9, scale=True)(image, name="norm"))
        output = model(np.array([1.0, 3.0], np.float32).reshape(2, 1, 1, 1), training=True)
        np.testing.assert_allclose(np.ravel(output), np.array([-1, 1]) / np.sqrt(1.001), rtol=1e-5)
        gamma, beta, mean, variance = model.get_weights()
        assert (gamma, beta) == (1.0, 0.0)
        assert (float(mean[0]), float(variance[0])) == pytest.approx((0.2, 0.9 + 0.1 * 2.0))

    def test_synchronized(self):
        image = tf_keras.Input((2, 2, 1))
        assert _layers(BatchNorm(synchronized=True)(image, name="norm"), image)["norm"].synchronized


@pytest.mark.parametrize(
    ("activation", "values"),
    [("none", [-1, 3, 9]), ("relu", [0, 3, 9]), ("relu6", [0, 3, 6]), ("swish", [-0.268941, 2.857722, 8.998889])],
)
def test_activation(activation: str, values: list[float]):
    image = tf_keras.Input((1, 1, 1))
    model = tf_keras.Model(image, ConvHyperparams(activation=activation).activate(image, name="act"))
    np.testing.assert_allclose(np.ravel(model(np.reshape([-1.0, 3.0, 9.0], (3, 1, 1, 1)))), values, rtol=1e-5)
