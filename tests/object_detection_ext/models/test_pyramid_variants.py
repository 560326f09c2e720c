"""Feature pyramids, MobileNet V1 and the weight-shared predictor with the options that the golden networks leave out.

Against make_pyramid_variants_golden.py, 1e-4 absolute: encodings and logits have standard deviations of 0.3 to 3.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.protos import ssd_pb2

VARIANTS = {
    "two_plain_towers": "full convolutions in pyramid and heads, a tower each for boxes and classes, levels 3 to 6",
    "v1_lite_with_explicit_padding_of_an_odd_size": "cropped maps, levels 2 to 7, backbone defaults, frozen batch norm",
    "projections_and_hyperparams_everywhere": "maps of two depths, equally often; 5x5, dropout, clipping, swish, forced bias",
    "no_batch_norm": "biases instead, activations RELU and NONE, depth 256 of the pyramid scaled",
}


class Variant(NamedTuple):
    detector: SsdDetector
    inputs: tf.Tensor
    values: Mapping[str, np.ndarray]  # of the reference


@pytest.fixture
def load(golden: Callable[[str], Path], api_name: Callable[[str], str]) -> Callable[[str], Variant]:
    def load(name: str) -> Variant:
        with np.load(golden("pyramid_variants.npz")) as stored:
            images = stored["images"]
            values = {key.partition("/")[2]: stored[key] for key in stored.files if key.startswith(f"{name}/")}
        detector = build_detector(text_format.Parse(str(values["ssd"]), ssd_pb2.Ssd()))
        for variable in detector.network.variables:
            variable.assign(_value(api_name(variable.name), variable.shape))
        return Variant(detector, detector.preprocess(images)[0], values)

    return load


@pytest.mark.parametrize("name", VARIANTS)
def test_inference(load: Callable[[str], Variant], name: str):
    detector, inputs, values = load(name)
    predictions = detector.predict(inputs)
    assert detector.network.count_params() == values["num_parameters"]
    np.testing.assert_allclose(detector.anchors, values["anchors"], atol=1e-6)
    np.testing.assert_allclose(predictions.box_encodings, values["box_encodings"], atol=1e-4)
    np.testing.assert_allclose(predictions.class_logits, values["class_logits"], atol=1e-4)
    np.testing.assert_allclose(np.sort(detector.network.losses), np.sort(values["regularization"]), rtol=1e-5)


def test_training(load: Callable[[str], Variant], api_name: Callable[[str], str]):
    """Each feature map has batch statistics of its own, and updates moving statistics of its own."""
    detector, inputs, values = load("two_plain_towers")
    predictions = detector.predict(inputs, training=True)
    np.testing.assert_allclose(predictions.box_encodings, values["training/box_encodings"], atol=1e-3)
    moving = [variable for variable in detector.network.variables if "BatchNorm/feature_" in variable.name and "moving_" in variable.name]
    assert len(moving) == 2 * 2 * 4 * 2  # towers, layers, feature maps, mean and variance
    for variable in moving:
        np.testing.assert_allclose(variable, values[f"training/{api_name(variable.name)}"], atol=1e-5, err_msg=variable.name)


def _value(name: str, shape: tf.TensorShape) -> np.ndarray:
    """As in make_pyramid_variants_golden.py."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "bias", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(9 if name.endswith("depthwise_kernel") else np.prod(shape[:-1])), shape)
