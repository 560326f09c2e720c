"""What names and shapes tell of a network, in every scheme."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.weights.describe import Row, describe
from object_detection_ext.weights.source import WeightSource

SSD_HEADS = {
    "BoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor/bias": (12,),
    "BoxPredictor/ConvolutionalClassHead_0/ClassPredictor/bias": (273,),
}
SHARED = "WeightSharedConvolutionalBoxPredictor"


def source_of(scheme, shapes):
    return WeightSource("ckpt-7", "a checkpoint", scheme, shapes, np.zeros)


@pytest.mark.parametrize(
    ("scheme", "shapes", "network", "class_scores"),
    [
        ("ours", {"block_16_project/kernel": (1, 1, 960, 320)}, "MobileNetV2 without detection heads, depth multiplier 1", None),
        ("api", {"block_16_project/kernel": (1, 1, 336, 112), **SSD_HEADS}, "SSD MobileNetV2, depth multiplier 0.35", 91),
        (
            "api",
            {
                "block_16_project/kernel": (1, 1, 1, 448),
                "BoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor_depthwise/depthwise_kernel": (3, 3, 1, 1),
                **SSD_HEADS,
            },
            "SSDLite MobileNetV2, depth multiplier 1.4",
            91,
        ),
        # The API's TF 2 network multiplies MobileNet V1's channels twice: 1024 * 0.5 * 0.5.
        (
            "api",
            {"conv_dw_1/depthwise_kernel": (3, 3, 32, 1), "conv_pw_13/kernel": (1, 1, 256, 256)},
            *("MobileNet V1 without detection heads, depth multiplier 0.5", None),
        ),
        (
            "keras",
            {"conv_dw_1/depthwise_kernel": (3, 3, 32, 1), "conv_pw_13/kernel": (1, 1, 512, 512)},
            *("MobileNet V1 without detection heads, depth multiplier 0.5", None),
        ),
        (
            "api",
            {
                "conv4_block6_1_conv/kernel": (1, 1, 1, 1),
                "conv5_block3_3_conv/kernel": (1, 1, 512, 2048),
                "FeatureMaps/top_down/projection_3/kernel": (1, 1, 1, 1),
                f"{SHARED}/PredictionTower/conv2d_0/kernel": (3, 3, 256, 256),
                f"{SHARED}/WeightSharedConvolutionalBoxHead/BoxPredictor/bias": (24,),
                f"{SHARED}/WeightSharedConvolutionalClassHead/ClassPredictor/bias": (546,),
            },
            "SSD ResNet-50 V1 FPN, depth multiplier 1",
            91,
        ),
        (
            "ours",
            {
                "block_16_project/kernel": (1, 1, 1, 320),
                "FeatureMaps/top_down/projection_3/kernel": (1, 1, 1, 1),
                f"{SHARED}/PredictionTower/conv2d_0/depthwise/depthwise_kernel": (3, 3, 1, 1),
                f"{SHARED}/WeightSharedConvolutionalBoxHead/BoxPredictor/pointwise/bias": (24,),
                f"{SHARED}/WeightSharedConvolutionalClassHead/ClassPredictor/pointwise/bias": (24,),
            },
            "SSD MobileNetV2 FPNLite, depth multiplier 1",
            4,
        ),
        (
            "tf1",
            {
                "FeatureExtractor/MobilenetV2/expanded_conv_16/project/weights": (1, 1, 1, 240),
                "BoxPredictor_0/BoxEncodingPredictor_depthwise/depthwise_weights": (3, 3, 1, 1),
                "BoxPredictor_0/BoxEncodingPredictor/biases": (12,),
                "BoxPredictor_0/ClassPredictor/biases": (6,),
            },
            "SSDLite MobileNetV2, depth multiplier 0.75",
            2,
        ),
        ("slim", {"MobilenetV3/expanded_conv_14/project/weights": (1, 1, 1, 160)}, "MobileNetV3 large without detection heads", None),
        (
            "torchvision",
            {"features.17.conv.2.weight": (320, 960, 1, 1), "features.18.0.weight": (1280, 320, 1, 1)},
            "MobileNetV2 without detection heads, depth multiplier 1",
            None,
        ),
        ("keras", {"dense/kernel": (2, 3)}, "unknown backbone without detection heads", None),
    ],
)
def test_network_and_classes(scheme, shapes, network, class_scores):
    found = describe(source_of(scheme, shapes))
    assert (found.network, found.class_scores) == (network, class_scores)


def test_scopes():
    shapes = {
        "Conv1/kernel": (3, 3, 3, 8),
        "bn_Conv1/gamma": (8,),
        "FeatureMaps/layer_19_1_Conv2d_2_1x1_4_conv/kernel": (1, 1, 8, 4),
        **SSD_HEADS,
    }
    found = describe(source_of("ours", shapes))
    assert found.rows == (
        Row("backbone", 2, 224),
        Row("FeatureMaps", 1, 32),
        Row("BoxPredictor/ConvolutionalBoxHead_0", 1, 12),
        Row("BoxPredictor/ConvolutionalClassHead_0", 1, 273),
    )
    assert (found.variables, found.parameters) == (5, 541)


def test_scopes_of_tf1():
    shapes = {"FeatureExtractor/MobilenetV2/Conv/weights": (3, 3, 3, 8), "BoxPredictor_0/ClassPredictor/biases": (6,)}
    assert describe(source_of("tf1", shapes)).rows == (Row("FeatureExtractor/MobilenetV2", 1, 216), Row("BoxPredictor_0", 1, 6))
