"""MobileNetV3, MobileNet EdgeTPU and MobileDet against the original, which has them in TF 1 only (golden/make_tf1_phone_golden.py)."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from google.protobuf import text_format

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.builders.feature_extractor import build_feature_extractor
from object_detection_ext.models.backbones.mobilenet_v3 import SMALL, MobileNetV3
from object_detection_ext.protos import ssd_pb2
from object_detection_ext.weights.tf1_names import slim_names, tf1_names

LAYERS = {
    *("Activation", "Add", "BatchNormalization", "Conv2D", "DepthwiseConv2D", "GlobalAveragePooling2D", "InputLayer", "Multiply", "ReLU"),
    "ZeroPadding2D",
}
CASES = (
    "v3_small_explicit",
    "v3_large",
    "edgetpu",
    "mobiledet_dsp",
    "mobiledet_edgetpu",
    "mobiledet_gpu",
)


@pytest.fixture(scope="module")
def stored(golden: Callable[[str], Path]) -> Mapping[str, np.ndarray]:
    with np.load(golden("tf1_phone.npz")) as arrays:
        return dict(arrays)


def _value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """What the original was given for this variable of TF 1."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "biases", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(math.prod(shape[:2] if name.endswith("depthwise_weights") else shape[:-1])), shape)


def _image(shape: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def _load(variables: list, names: Mapping[str, str], shapes: Mapping[str, list[int]]) -> None:
    """Gives our variables the original's values; the two have the same variables, one for one."""
    ours = {variable.name.removesuffix(":0"): variable for variable in variables}
    assert sorted(ours) == sorted(names)
    assert sorted(names.values()) == sorted(shapes)
    for name, variable in ours.items():
        assert variable.shape.as_list() == shapes[names[name]], name
        variable.assign(_value(names[name], variable.shape))


def _names(variables: list) -> dict[str, str]:
    return {name: found.name for name, found in tf1_names([v.name.removesuffix(":0") for v in variables]).items()}


def _config(stored: Mapping[str, np.ndarray], case: str) -> ssd_pb2.Ssd:
    return text_format.Parse(str(stored[f"{case}/config"]), ssd_pb2.Ssd())


def _model(config: ssd_pb2.Ssd, shape: tuple[int, ...]) -> tf_keras.Model:
    image = tf_keras.Input(shape)
    return tf_keras.Model(image, build_feature_extractor(config.feature_extractor)(image))


def _restored(stored: Mapping[str, np.ndarray], case: str) -> tf_keras.Model:
    model = _model(_config(stored, case), tuple(stored[f"{case}/image_shape"][1:]))
    shapes = json.loads(str(stored[f"{case}/variables"]))
    _load(model.variables, _names(model.variables), {name: shape for name, shape in shapes.items() if "BoxPredictor" not in name})
    return model


def _compare(stored: Mapping[str, np.ndarray], case: str, feature_maps: list) -> None:
    for index, feature_map in enumerate(feature_maps):
        expected = stored[f"{case}/feature_map_{index}"]
        step = 3 if feature_map.shape[1] > 12 else 1
        np.testing.assert_allclose(feature_map[:1, ::step, ::step, ::3], expected, atol=1e-4, err_msg=f"feature map {index}")


def _compare_regularisation(stored: Mapping[str, np.ndarray], case: str, model: tf_keras.Model) -> None:
    assert len(model.losses) == stored[f"{case}/num_regularized"]
    np.testing.assert_allclose(sum(model.losses), stored[f"{case}/regularization"], rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_feature_maps_and_regularisation(stored: Mapping[str, np.ndarray], case: str):
    model = _restored(stored, case)
    feature_maps = model(_image(stored[f"{case}/image_shape"]))
    assert len(feature_maps) == 6
    assert {type(layer).__name__ for layer in model.layers} <= LAYERS  # neither Lambda nor operations: quantisation takes no such layer
    _compare(stored, case, feature_maps)
    _compare_regularisation(stored, case, model)


@pytest.mark.parametrize("case", ["v3_small_train", "mobiledet_cpu_train"])
def test_batch_statistics(stored: Mapping[str, np.ndarray], case: str):
    """Of the backbone: behind it, maps of one cell have the variance of two numbers, which rounding alone moves."""
    model = _restored(stored, case)
    _compare_regularisation(stored, case, model)
    _compare(stored, case, model(_image(stored[f"{case}/image_shape"]), training=True)[:2])
    names = _names(model.variables)
    moving = [variable for variable in model.variables if "/moving_" in variable.name and not variable.name.startswith("FeatureMaps/")]
    assert len(moving) > 60
    for variable in moving:
        expected = stored[f"{case}/after/{names[variable.name.removesuffix(':0')]}"]
        np.testing.assert_allclose(variable[::3], expected, rtol=1e-4, atol=1e-5, err_msg=variable.name)


def test_with_heads(stored: Mapping[str, np.ndarray]):
    case = "v3_small_with_heads"
    network = build_detector(_config(stored, case)).network
    shapes = json.loads(str(stored[f"{case}/variables"]))
    _load(network.variables, _names(network.variables), shapes)
    encodings, logits = network(_image(stored[f"{case}/image_shape"]))
    np.testing.assert_allclose(encodings, stored[f"{case}/box_encodings"], atol=1e-4)
    np.testing.assert_allclose(logits, stored[f"{case}/class_logits"], atol=1e-4)


@pytest.mark.parametrize("kind", ["ssd_mobilenet_v3_large", "ssd_mobiledet_cpu", "ssd_mobiledet_edgetpu"])  # the others: published configs
def test_full_size(stored: Mapping[str, np.ndarray], kind: str):
    config = ssd_pb2.Ssd()
    text_format.Parse(
        f"feature_extractor {{ type: '{kind}' use_depthwise: true conv_hyperparams {{ batch_norm {{ scale: true }} }} }}", config
    )
    model = _model(config, (320, 320, 3))
    expected = json.loads(str(stored["full_size"]))[kind]
    assert model.count_params() == expected["parameters"]
    assert sum(math.prod(variable.shape) for variable in model.trainable_variables) == expected["trainable_parameters"]
    assert [list(shape[1:]) for shape in model.output_shape] == expected["feature_map_shapes"]


def test_output_stride(stored: Mapping[str, np.ndarray]):
    """slim's rule for dilated convolutions, which the API's SSDs do not use."""
    image = tf_keras.Input((64, 64, 3))
    model = tf_keras.Model(image, MobileNetV3(SMALL, depth_multiplier=0.35, output_stride=8)(image)["layer_13"])
    names = slim_names([variable.name.removesuffix(":0") for variable in model.variables])
    for variable in model.variables:
        name = f"FeatureExtractor/{names[variable.name.removesuffix(':0')].name}"
        variable.assign(_value(name, variable.shape))
    features = model(_image(np.array([2, 64, 64, 3])))
    np.testing.assert_allclose(features[:1, ..., ::3], stored["output_stride/8"], atol=1e-4)
