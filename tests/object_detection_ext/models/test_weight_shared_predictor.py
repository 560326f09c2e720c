from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tf_keras

from object_detection_ext.models.initializers import RandomNormal
from object_detection_ext.models.layers import BatchNorm, ConvHyperparams, Regularizer
from object_detection_ext.models.network import NetworkShapeError
from object_detection_ext.models.weight_shared_predictor import BOX_HEAD, CLASS_HEAD, SCOPE, WeightSharedConvolutionalBoxPredictor

HYPERPARAMS = ConvHyperparams(RandomNormal(stddev=0.25), Regularizer("l2", 0.5), "relu6", BatchNorm(scale=True))
TWO_MAPS = ((4, 6, 8), (2, 3, 8))


def _predict(
    predictor: WeightSharedConvolutionalBoxPredictor, shapes: Sequence[tuple[int, int, int]] = TWO_MAPS, num_anchors: Sequence[int] = (3, 3)
) -> tf_keras.Model:
    maps = [tf_keras.Input(shape) for shape in shapes]
    return tf_keras.Model(maps, predictor(maps, num_anchors_per_location=num_anchors, num_class_slots=5))


def _with_weights(model: tf_keras.Model) -> set[str]:
    return {layer.name.removeprefix(f"{SCOPE}/") for layer in model.layers if layer.weights}


def test_convolutions_are_shared_and_batch_norm_is_not():
    predictor = WeightSharedConvolutionalBoxPredictor(HYPERPARAMS, depth=16, num_layers_before_predictor=2)
    model = _predict(predictor)
    assert list(model.output_shape) == [(None, (24 + 6) * 3, 4), (None, 90, 5)]
    assert _with_weights(model) == {
        *(f"{tower}/conv2d_{index}" for tower in ("BoxPredictionTower", "ClassPredictionTower") for index in (0, 1)),
        *(
            f"{tower}/conv2d_{index}/BatchNorm/feature_{level}"
            for tower in ("BoxPredictionTower", "ClassPredictionTower")
            for index in (0, 1)
            for level in (0, 1)
        ),
        "WeightSharedConvolutionalBoxHead/BoxPredictor",
        "WeightSharedConvolutionalClassHead/ClassPredictor",
    }
    convolutions = 2 * (3 * 3 * 8 * 16 + 3 * 3 * 16 * 16)  # two towers without biases
    heads = 3 * 3 * 16 * (12 + 15) + 12 + 15
    assert model.count_params() == convolutions + heads + 2 * 2 * 2 * 4 * 16
    assert len(model.losses) == 2 * 2 + 2


def test_one_tower_for_both():
    predictor = WeightSharedConvolutionalBoxPredictor(HYPERPARAMS, depth=16, num_layers_before_predictor=1, share_prediction_tower=True)
    names = _with_weights(_predict(predictor))
    assert {name for name in names if "Tower" in name} == {
        "PredictionTower/conv2d_0",
        "PredictionTower/conv2d_0/BatchNorm/feature_0",
        "PredictionTower/conv2d_0/BatchNorm/feature_1",
    }


def test_the_same_features_give_the_same_predictions_on_every_map():
    model = _predict(
        WeightSharedConvolutionalBoxPredictor(ConvHyperparams(), depth=4, num_layers_before_predictor=1), ((2, 2, 3), (2, 2, 3))
    )
    features = np.random.default_rng(0).normal(size=(1, 2, 2, 3)).astype(np.float32)
    for outputs in model([features, features]):
        np.testing.assert_array_equal(outputs[0, :12], outputs[0, 12:])


def test_order_of_anchors():
    """Map by map, row by row, with the anchors of a location side by side: logits that say where they come from."""
    model = _predict(WeightSharedConvolutionalBoxPredictor(ConvHyperparams(), kernel_size=1), ((1, 2, 1), (1, 1, 1)), (2, 2))
    kernel = np.zeros((1, 1, 1, 10), np.float32)
    kernel[..., 0] = kernel[..., 5] = 1.0  # the first logit of either anchor is the input
    model.get_layer(f"{CLASS_HEAD}/ClassPredictor").set_weights([kernel, np.float32([0] * 5 + [0.5] + [0] * 4)])
    _, logits = model([np.float32([[[[1.0], [2.0]]]]), np.float32([[[[3.0]]]])])
    np.testing.assert_allclose(logits[0, :, 0], [1, 1.5, 2, 2.5, 3, 3.5])


class TestDepthwise:
    def test_where_initializer_and_regularizer_go(self):
        predictor = WeightSharedConvolutionalBoxPredictor(HYPERPARAMS, depth=16, num_layers_before_predictor=1, use_depthwise=True)
        assert self._reached(predictor) == {"BoxPredictionTower/conv2d_0/depthwise", "ClassPredictionTower/conv2d_0/depthwise"}

    @pytest.mark.parametrize(
        ("settings", "more"),
        [
            ({"apply_conv_hyperparams_pointwise": True}, {"ClassPredictionTower/conv2d_0/pointwise"}),
            (
                {"apply_conv_hyperparams_to_heads": True},
                {f"{head}/{half}" for head in ("Box", "Class") for half in ("depthwise", "pointwise")},
            ),
        ],
    )
    def test_where_else_they_may_go(self, settings: dict, more: set[str]):
        predictor = WeightSharedConvolutionalBoxPredictor(
            HYPERPARAMS, depth=16, num_layers_before_predictor=1, share_prediction_tower=True, use_depthwise=True, **settings
        )
        heads = {"Box": "WeightSharedConvolutionalBoxHead/BoxPredictor", "Class": "WeightSharedConvolutionalClassHead/ClassPredictor"}
        expected = {f"{heads.get(name.partition('/')[0], 'PredictionTower/conv2d_0')}/{name.rpartition('/')[2]}" for name in more}
        assert self._reached(predictor) == {"PredictionTower/conv2d_0/depthwise"} | expected

    def test_biases(self):
        predictor = WeightSharedConvolutionalBoxPredictor(HYPERPARAMS, depth=16, num_layers_before_predictor=1, use_depthwise=True)
        model = _predict(predictor)
        with_bias = {layer.name for layer in model.layers if getattr(layer, "use_bias", False)}
        assert with_bias == {f"{BOX_HEAD}/BoxPredictor/pointwise", f"{CLASS_HEAD}/ClassPredictor/pointwise"}

    @staticmethod
    def _reached(predictor: WeightSharedConvolutionalBoxPredictor) -> set[str]:
        """Layers with the regulariser, which must be those with the initialiser."""
        found = {}
        for layer in _predict(predictor).layers:
            half = "depthwise" if isinstance(layer, tf_keras.layers.DepthwiseConv2D) else "kernel"
            if hasattr(layer, f"{half}_initializer"):
                initialized = isinstance(getattr(layer, f"{half}_initializer"), tf_keras.initializers.RandomNormal)
                regularized = getattr(layer, f"{half}_regularizer") is not None
                assert initialized == regularized, layer.name
                found[layer.name.removeprefix(f"{SCOPE}/")] = regularized
        return {name for name, regularized in found.items() if regularized}


@pytest.mark.parametrize(
    ("hyperparams", "expected"),
    [
        (ConvHyperparams(), True),
        (ConvHyperparams(batch_norm=BatchNorm()), False),
        (ConvHyperparams(batch_norm=BatchNorm(center=False)), False),
        (ConvHyperparams(batch_norm=BatchNorm(), force_use_bias=True), True),
    ],
    ids=["alone", "batch norm", "batch norm without beta", "forced"],
)
def test_bias_of_the_tower_as_in_the_api(hyperparams: ConvHyperparams, expected: bool):
    model = _predict(WeightSharedConvolutionalBoxPredictor(hyperparams, depth=16, num_layers_before_predictor=1))
    assert model.get_layer(f"{SCOPE}/BoxPredictionTower/conv2d_0").use_bias == expected


class TestProjections:
    @pytest.mark.parametrize(
        ("depths", "expected"),
        [((8, 8), None), ((8, 4, 4), 4), ((8, 8, 4), 8), ((4, 8), 8), ((512, 1024, 512, 256, 256, 128), 512)],
        ids=["same", "most", "most", "tie", "V1"],
    )
    def test_depth(self, depths: Sequence[int], expected: int | None):
        model = _predict(WeightSharedConvolutionalBoxPredictor(HYPERPARAMS), [(2, 2, depth) for depth in depths], [3] * len(depths))
        names = [name for name in _with_weights(model) if "Projection" in name]
        if expected is None:
            assert not names
            return
        levels = range(len(depths))
        assert set(names) == {f"ProjectionLayer/conv2d_{level}{norm}" for level in levels for norm in ("", "/BatchNorm")}
        assert {model.get_layer(f"{SCOPE}/ProjectionLayer/conv2d_{level}").filters for level in levels} == {expected}


@pytest.mark.parametrize("use_depthwise", [False, True])
def test_class_bias(use_depthwise: bool):
    model = _predict(WeightSharedConvolutionalBoxPredictor(HYPERPARAMS, use_depthwise=use_depthwise, class_prediction_bias_init=-4.6))
    end = "/pointwise" if use_depthwise else ""
    np.testing.assert_allclose(model.get_layer(f"{CLASS_HEAD}/ClassPredictor{end}").bias, -4.6)
    np.testing.assert_allclose(model.get_layer(f"{BOX_HEAD}/BoxPredictor{end}").bias, 0.0)


def test_dropout_only_before_classes():
    predictor = WeightSharedConvolutionalBoxPredictor(HYPERPARAMS, dropout_keep_probability=0.3)
    model = _predict(predictor, ((8, 8, 4),), (3,))
    assert model.get_layer(f"{CLASS_HEAD}/dropout").rate == pytest.approx(0.7)
    features = np.ones((1, 8, 8, 4), np.float32)
    once, again = model(features, training=True), model(features, training=True)
    np.testing.assert_array_equal(once[0], again[0])
    assert np.abs(once[1] - again[1]).max() > 0


def test_anchors_must_be_as_many_on_each_map():
    with pytest.raises(
        NetworkShapeError, match=r"^anchor_generator must have as many anchors per location on each feature map, .* got 3, 6$"
    ):
        _predict(WeightSharedConvolutionalBoxPredictor(HYPERPARAMS), num_anchors=(3, 6))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers_before_predictor": -1}, "num_layers_before_predictor must be >= 0, got -1"),
        ({"num_layers_before_predictor": 1}, "depth must be >= 1 with num_layers_before_predictor > 0, got 0"),
        ({"kernel_size": 0}, "kernel_size must be >= 1, got 0"),
        ({"use_depthwise": True, "kernel_size": 1}, "kernel_size must be > 1 with use_depthwise"),
        ({"dropout_keep_probability": 1.5}, r"dropout_keep_probability must be in \(0, 1\], got 1.5"),
        ({"box_code_size": 0}, "box_code_size must be >= 1, got 0"),
    ],
)
def test_impossible(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        WeightSharedConvolutionalBoxPredictor(HYPERPARAMS, **settings)
