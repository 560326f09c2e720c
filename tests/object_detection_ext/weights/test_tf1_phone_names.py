"""The names are checked against all variables of the original in ../builders/feature_extractors/test_tf1_phones.py; here, each rule."""

from __future__ import annotations

import pytest

from object_detection_ext.weights.tf1_phone_names import tf1_phone_names

NAMES = {
    "MobilenetV3/Conv/kernel": "FeatureExtractor/MobilenetV3/Conv/weights",
    "MobilenetV3/Conv/BatchNorm/moving_mean": "FeatureExtractor/MobilenetV3/Conv/BatchNorm/moving_mean",
    "MobilenetV3/expanded_conv_3/depthwise/depthwise_kernel": "FeatureExtractor/MobilenetV3/expanded_conv_3/depthwise/depthwise_weights",
    "MobilenetV3/expanded_conv_3/squeeze_excite/Conv/bias": "FeatureExtractor/MobilenetV3/expanded_conv_3/squeeze_excite/Conv/biases",
}
FEATURE_MAPS = {
    "FeatureMaps/layer_17_1_Conv2d_2_1x1_256_conv/kernel": "FeatureExtractor/MobilenetV3/layer_17_1_Conv2d_2_1x1_256/weights",
    "FeatureMaps/layer_17_1_Conv2d_2_1x1_256_batchnorm/gamma": "FeatureExtractor/MobilenetV3/layer_17_1_Conv2d_2_1x1_256/BatchNorm/gamma",
    "FeatureMaps/layer_17_2_Conv2d_2_3x3_s2_512_depthwise_conv/depthwise_kernel": (
        "FeatureExtractor/MobilenetV3/layer_17_2_Conv2d_2_3x3_s2_512_depthwise/depthwise_weights"
    ),
    "FeatureMaps/layer_17_2_Conv2d_2_3x3_s2_512_depthwise_batchnorm/beta": (
        "FeatureExtractor/MobilenetV3/layer_17_2_Conv2d_2_3x3_s2_512_depthwise/BatchNorm/beta"
    ),
    "FeatureMaps/layer_17_2_Conv2d_2_3x3_s2_512_conv/bias": "FeatureExtractor/MobilenetV3/layer_17_2_Conv2d_2_3x3_s2_512/biases",
}
HEAD = "BoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor/kernel"


def test_detectors():
    found = tf1_phone_names([*NAMES, *FEATURE_MAPS, HEAD])
    assert {variable: stored.name for variable, stored in found.items()} == NAMES | FEATURE_MAPS


@pytest.mark.parametrize("variables", [[], ["Conv1/kernel", "FeatureMaps/layer_19_1_Conv2d_2_1x1_256_conv/kernel", HEAD]])
def test_other_families(variables: list[str]):
    assert tf1_phone_names(variables) == {}


def test_the_backbone_gives_the_scope_of_feature_maps():
    feature_map = "FeatureMaps/C5_1_Conv2d_2_1x1_256_conv/kernel"
    found = tf1_phone_names([HEAD, feature_map, "MobileDetCPU/IBN/Conv/kernel"])
    assert found[feature_map].name == "FeatureExtractor/MobileDetCPU/C5_1_Conv2d_2_1x1_256/weights"
