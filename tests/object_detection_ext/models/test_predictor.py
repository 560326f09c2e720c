from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tf_keras

from object_detection_ext.models.layers import BatchNorm, ConvHyperparams
from object_detection_ext.models.predictor import ConvolutionalBoxPredictor

HYPERPARAMS = ConvHyperparams(activation="relu6", batch_norm=BatchNorm(scale=True))


def _predict(predictor: ConvolutionalBoxPredictor, shapes: Sequence[tuple[int, int, int]], num_anchors: Sequence[int]) -> tf_keras.Model:
    maps = [tf_keras.Input(shape) for shape in shapes]
    return tf_keras.Model(maps, predictor(maps, num_anchors_per_location=num_anchors, num_class_slots=3))


def test_shapes_and_names():
    model = _predict(ConvolutionalBoxPredictor(HYPERPARAMS, kernel_size=3, use_depthwise=True), [(4, 6, 8), (2, 3, 16)], [3, 6])
    assert list(model.output_shape) == [(None, 4 * 6 * 3 + 2 * 3 * 6, 4), (None, 108, 3)]
    kernel = model.get_layer("BoxPredictor/ConvolutionalClassHead_1/ClassPredictor").kernel
    assert kernel.name == "BoxPredictor/ConvolutionalClassHead_1/ClassPredictor/kernel:0"
    assert kernel.shape == (1, 1, 16, 18)


def test_order_of_anchors():
    """Location by location, row by row, with the anchors of a location side by side: logits that say where they come from."""
    model = _predict(ConvolutionalBoxPredictor(ConvHyperparams()), [(2, 2, 1)], [2])
    kernel = np.zeros((1, 1, 1, 6), np.float32)
    kernel[..., 0] = kernel[..., 3] = 1.0  # the first logit of either anchor is the input
    model.get_layer("BoxPredictor/ConvolutionalClassHead_0/ClassPredictor").set_weights([kernel, np.array([0, 0, 0, 0.5, 0, 0])])
    _, logits = model(np.array([[[1.0, 2.0], [3.0, 4.0]]], np.float32)[..., np.newaxis])
    np.testing.assert_allclose(logits[0, :, 0], [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5])


@pytest.mark.parametrize("use_depthwise", [False, True])
def test_class_bias(use_depthwise: bool):
    """The API leaves the bias of SSDLite heads at 0; here the setting counts for both kinds."""
    predictor = ConvolutionalBoxPredictor(HYPERPARAMS, kernel_size=3, use_depthwise=use_depthwise, class_prediction_bias_init=-4.6)
    model = _predict(predictor, [(4, 4, 8)], [3])
    np.testing.assert_allclose(model.get_layer("BoxPredictor/ConvolutionalClassHead_0/ClassPredictor").bias, -4.6)
    np.testing.assert_allclose(model.get_layer("BoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor").bias, 0.0)


@pytest.mark.parametrize(
    ("depths", "expected"), [((0, 0), None), ((0, 12), 8), ((0, 6), 6), ((10, 12), 10)], ids=["none", "map", "max", "min"]
)
def test_depth_of_shared_layers(depths: tuple[int, int], expected: int | None):
    predictor = ConvolutionalBoxPredictor(HYPERPARAMS, num_layers_before_predictor=2, min_depth=depths[0], max_depth=depths[1])
    names = {layer.name for layer in _predict(predictor, [(4, 4, 8)], [3]).layers}
    shared = {name for name in names if "SharedConvolutions" in name and not name.endswith(("_norm", "_activation"))}
    assert shared == ({f"BoxPredictor/SharedConvolutions_0/Conv2d_{index}_1x1_{expected}" for index in (0, 1)} if expected else set())


def test_dropout_only_before_classes():
    predictor = ConvolutionalBoxPredictor(HYPERPARAMS, dropout_keep_probability=0.3)
    model = _predict(predictor, [(8, 8, 4)], [3])
    assert model.get_layer("BoxPredictor/ConvolutionalClassHead_0/dropout").rate == pytest.approx(0.7)
    features = np.ones((1, 8, 8, 4), np.float32)
    once, again = model(features, training=True), model(features, training=True)
    np.testing.assert_array_equal(once[0], again[0])
    assert np.abs(once[1] - again[1]).max() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 0}, "kernel_size must be >= 1, got 0"),
        ({"use_depthwise": True}, "kernel_size must be > 1 with use_depthwise"),
        ({"num_layers_before_predictor": -1}, "num_layers_before_predictor"),
        ({"min_depth": 8, "max_depth": 4}, r"min_depth must be between 0 and max_depth \(4\), got 8"),
        ({"dropout_keep_probability": 0.0}, r"dropout_keep_probability must be in \(0, 1\], got 0"),
        ({"box_code_size": 0}, "box_code_size must be >= 1"),
    ],
)
def test_impossible(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ConvolutionalBoxPredictor(HYPERPARAMS, **settings)
