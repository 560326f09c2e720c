"""The shape of a ResNet V1; its numbers are compared with the original's in ../../builders/feature_extractors/test_resnet.py."""

from __future__ import annotations

import pytest
import tf_keras

from object_detection_ext.models.backbones.resnet_v1 import ResNetV1


def _model(backbone: ResNetV1, height: int = 64, width: int = 64) -> tf_keras.Model:
    image = tf_keras.Input((height, width, 3))
    return tf_keras.Model(image, backbone(image))


def test_endpoints_of_a_non_square_image():
    shapes = _model(ResNetV1(50, depth_multiplier=0.25), 96, 65).output_shape
    assert shapes == {
        "block1": (None, 24, 17, 64),
        "block2": (None, 12, 9, 128),
        "block3": (None, 6, 5, 256),
        "block4": (None, 3, 3, 512),
    }


def test_min_depth_and_rounding_down():
    """By hand: 0.1 * (64, 128, 256, 512) = 6, 12, 25, 51 inside, at least 16; 0.1 * (256, ..., 2048) = 25, 51, 102, 204 outside."""
    model = _model(ResNetV1(50, depth_multiplier=0.1, min_depth=16))
    assert [model.get_layer(f"conv{stack}_block1_2_conv").filters for stack in range(2, 6)] == [16, 16, 25, 51]
    assert [model.output_shape[f"block{stack}"][-1] for stack in range(1, 5)] == [25, 51, 102, 204]


def test_strides_are_on_the_first_convolution_of_a_stack():
    model = _model(ResNetV1(50, depth_multiplier=0.125))
    strides = {layer.name: layer.strides[0] for layer in model.layers if isinstance(layer, tf_keras.layers.Conv2D)}
    strided = {f"conv{stack}_block1_{branch}_conv" for stack in (3, 4, 5) for branch in (0, 1)} | {"conv1_conv"}
    assert {name for name, stride in strides.items() if stride == 2} == strided


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": 18}, "num_layers must be one of 50, 101, 152, got 18"),
        ({"depth_multiplier": 0}, "depth_multiplier must be > 0, got 0"),
        ({"min_depth": -1}, "min_depth must be >= 0, got -1"),
    ],
)
def test_impossible(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ResNetV1(**settings)
