"""Feature extractors of resnet_efficientnet.npz, with the weights that the original had there."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tf_keras
from google.protobuf import text_format

from object_detection_ext.builders.feature_extractor import build_feature_extractor
from object_detection_ext.models.feature_extractor import FeatureExtractor
from object_detection_ext.protos import ssd_pb2


class Case(NamedTuple):
    extractor: FeatureExtractor
    network: tf_keras.Model  # image -> feature maps
    values: dict[str, np.ndarray]  # what the original gave

    @property
    def inputs(self) -> np.ndarray:
        return self.extractor.normalize(self.values["images"]).numpy()

    @property
    def feature_maps(self) -> list[np.ndarray]:
        """Of the first image."""
        return [self.values[f"feature_map_{index}"] for index in range(sum(key.startswith("feature_map_") for key in self.values))]


def forward_case(name: str, path: Path) -> Case:
    with np.load(path) as stored:
        values = {key.removeprefix(f"{name}/"): stored[key] for key in stored.files if key.startswith(f"{name}/")}
    size = tuple(int(length) for length in values["image_size"])
    values["images"] = np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, (2, *size, 3)).astype(np.float32)
    extractor = build(str(values["config"]))
    network = network_of(extractor, size)
    for variable in network.variables:
        variable.assign(_value(api_name(variable.name), variable.shape))
    return Case(extractor, network, values)


def build(text: str, **settings: bool) -> FeatureExtractor:
    return build_feature_extractor(text_format.Parse(text, ssd_pb2.SsdFeatureExtractor()), **settings)


def network_of(extractor: FeatureExtractor, size: tuple[int, int]) -> tf_keras.Model:
    image = tf_keras.Input((*size, 3))
    return tf_keras.Model(image, extractor(image))


def api_name(name: str) -> str:
    """The original's name of a variable: there a separable convolution is one layer."""
    name = name.removesuffix(":0")
    name = re.sub(r"/depthwise/depthwise_kernel$", "/depthwise_kernel", name)
    return re.sub(r"/pointwise/(kernel|bias)$", lambda match: "/pointwise_kernel" if match[1] == "kernel" else "/bias", name)


def regularized(network: tf_keras.Model) -> dict[str, float]:
    """The original's name -> f, where the loss is f * sum(w^2)."""
    found = {}
    for layer in network.layers:
        for attribute, variable in (("kernel", "kernel"), ("depthwise", "depthwise_kernel"), ("bias", "bias")):
            regularizer = getattr(layer, f"{attribute}_regularizer", None)
            if regularizer is not None and getattr(layer, variable, None) is not None:
                found[api_name(getattr(layer, variable).name)] = pytest.approx(float(regularizer.l2), rel=1e-5)
    assert len(found) == len(network.losses)
    return found


def settings_of_batch_norm(network: tf_keras.Model) -> list[list]:
    layers = [layer for layer in network.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    found = {(float(f"{layer.momentum:.6g}"), float(f"{layer.epsilon:.6g}"), layer.center, layer.scale) for layer in layers}
    return [list(settings) for settings in sorted(found)]


def _value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """As in make_resnet_efficientnet_golden.py."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("bifpn_combine_weights"):
        return rng.uniform(-0.3, 1, shape)
    if name == "conv1_bn/gamma":
        return rng.uniform(0.01, 0.03, shape)
    if name.endswith("_3_bn/gamma"):
        return rng.uniform(0.1, 0.5, shape)
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "bias", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(np.prod(shape[:2] if name.endswith("depthwise_kernel") else shape[:-1])), shape)
