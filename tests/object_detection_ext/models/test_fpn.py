from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import tf_keras

from object_detection_ext.models.fpn import FpnFeatureMaps
from object_detection_ext.models.initializers import TruncatedNormal
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams, Regularizer

HYPERPARAMS = ConvHyperparams(activation="relu6", batch_norm=BatchNorm(scale=True), regularizer=Regularizer("l2", 0.5))
LINEAR = ConvHyperparams(activation="none")


def _pyramid(feature_maps: FpnFeatureMaps, shapes: Mapping[str, tuple[int, int, int]]) -> tf_keras.Model:
    endpoints = {name: tf_keras.Input(shape) for name, shape in shapes.items()}
    return tf_keras.Model(list(endpoints.values()), feature_maps(endpoints))


def _pass_through(model: tf_keras.Model) -> None:
    """Every kernel copies its first channel, every bias is 0."""
    for variable in model.variables:
        values = np.zeros(variable.shape, np.float32)
        if "kernel" in variable.name:
            values[variable.shape[0] // 2, variable.shape[1] // 2, 0, 0] = 1.0
        variable.assign(values)


def test_names_and_shapes():
    feature_maps = FpnFeatureMaps(("fine", "coarse"), 8, HYPERPARAMS, bottom_up=("bottom_up_a", "bottom_up_b"))
    model = _pyramid(feature_maps, {"fine": (10, 6, 3), "coarse": (5, 3, 4)})
    assert [shape[1:] for shape in model.output_shape] == [(10, 6, 8), (5, 3, 8), (3, 2, 8), (2, 1, 8)]
    assert {layer.name for layer in model.layers if layer.weights} == {
        "FeatureMaps/top_down/projection_1",
        "FeatureMaps/top_down/projection_2",
        "FeatureMaps/top_down/smoothing_1_conv",
        "FeatureMaps/top_down/smoothing_1_batchnorm",
        "bottom_up_a_conv",
        "bottom_up_a_batchnorm",
        "bottom_up_b_conv",
        "bottom_up_b_batchnorm",
    }
    projection, smoothing = (model.get_layer(f"FeatureMaps/top_down/{name}") for name in ("projection_1", "smoothing_1_conv"))
    assert projection.use_bias and not smoothing.use_bias


def test_coarse_maps_reach_the_fine_ones():
    """Nearest neighbour: each coarse value is added to four fine ones. What lies beyond the fine map is cut off."""
    model = _pyramid(FpnFeatureMaps(("fine", "coarse"), 1, LINEAR), {"fine": (3, 4, 1), "coarse": (2, 2, 1)})
    _pass_through(model)
    fine = np.arange(12, dtype=np.float32).reshape((1, 3, 4, 1))
    coarse = np.float32([[100, 200], [300, 400]])[None, :, :, None]
    finest, coarsest = model([fine, coarse])
    np.testing.assert_array_equal(finest[0, :, :, 0], [[100, 101, 202, 203], [104, 105, 206, 207], [308, 309, 410, 411]])
    np.testing.assert_array_equal(coarsest, coarse)


@pytest.mark.parametrize(("explicit", "expected"), [(False, [[5, 7], [13, 15]]), (True, [[0, 2], [8, 10]])])
def test_bottom_up_maps_start_from_the_coarsest_projection(explicit: bool, expected: list):
    """Of two rows the middle of the kernel meets the second with "same" padding, which comes behind, and the first with padding around."""
    feature_maps = FpnFeatureMaps(("map",), 1, LINEAR, bottom_up=("bottom_up",), use_explicit_padding=explicit)
    model = _pyramid(feature_maps, {"map": (4, 4, 1)})
    _pass_through(model)
    _, coarser = model(np.arange(16, dtype=np.float32).reshape((1, 4, 4, 1)))
    np.testing.assert_array_equal(coarser[0, :, :, 0], expected)


def test_fpnlite_is_separable():
    """Initialiser and regulariser reach depthwise kernels, not the 1x1 kernels behind them."""
    hyperparams = ConvHyperparams(TruncatedNormal(stddev=0.25), Regularizer("l2", 0.5), "relu6", BatchNorm())
    model = _pyramid(
        FpnFeatureMaps(("fine", "coarse"), 8, hyperparams, ("bottom_up",), use_depthwise=True), {"fine": (4, 4, 3), "coarse": (2, 2, 4)}
    )
    for name in ("FeatureMaps/top_down/smoothing_1_depthwise_conv", "bottom_up_depthwise_conv"):
        depthwise, pointwise = model.get_layer(f"{name}/depthwise"), model.get_layer(f"{name}/pointwise")
        assert depthwise.depthwise_initializer.stddev == 0.25 and depthwise.depthwise_regularizer.l2 == 0.25
        assert isinstance(pointwise.kernel_initializer, tf_keras.initializers.GlorotUniform) and pointwise.kernel_regularizer is None
        assert not depthwise.use_bias and not pointwise.use_bias


@pytest.mark.parametrize(
    ("settings", "message"), [({"endpoints": ()}, "endpoints must name at least one"), ({"depth": 0}, "depth must be >= 1, got 0")]
)
def test_impossible(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        FpnFeatureMaps(**{"endpoints": ("map",), "depth": 8, "hyperparams": LINEAR} | settings)
