from __future__ import annotations

import pytest
import tf_keras

from object_detection_ext.models.backbones.mobilenet_edgetpu import EDGETPU
from object_detection_ext.models.backbones.mobilenet_v3 import SMALL, Architecture, Block, MobileNetV3


def _endpoints(backbone: MobileNetV3, *size: int) -> dict:
    return backbone(tf_keras.Input((*size, 3)))


def test_end_points():
    """The paper's table 2 at 224 px, its last stage halved; block 1 does not expand."""
    endpoints = _endpoints(MobileNetV3(SMALL), 224, 224)
    depths = [16, 16, 24, 24, 40, 40, 40, 48, 48, 48, 48, 48, 288]
    sizes = [112, 56, 28, 28, 14, 14, 14, 14, 14, 7, 7, 7, 7]
    assert [endpoints[f"layer_{layer}"].shape[1:] for layer in range(1, 14)] == [
        (size, size, depth) for size, depth in zip(sizes, depths, strict=True)
    ]
    expanded = {name: feature.shape[-1] for name, feature in endpoints.items() if name.endswith("/expansion_output")}
    assert expanded == {
        f"layer_{layer}/expansion_output": depth
        for layer, depth in zip(range(3, 13), [72, 88, 96, 240, 240, 120, 144, 288, 288, 288], strict=True)
    }


def test_edgetpu_starts_with_full_convolutions():
    image = tf_keras.Input((96, 128, 3))
    endpoints = MobileNetV3(EDGETPU)(image)
    model = tf_keras.Model(image, endpoints)
    blocks = [f"expanded_conv_{block}" for block in range(1, 22)]
    kinds = [
        type(model.get_layer(f"MobilenetEdgeTPU/{block}/{'expand' if index < 8 else 'depthwise'}")) for index, block in enumerate(blocks)
    ]
    assert kinds == [tf_keras.layers.Conv2D] * 8 + [tf_keras.layers.DepthwiseConv2D] * 13
    assert endpoints["layer_18/expansion_output"].shape[1:] == (6, 8, 384)
    assert endpoints["layer_23"].shape[1:] == (3, 4, 192)
    assert "layer_24" not in endpoints


@pytest.mark.parametrize(
    ("residual", "depth", "stride", "added"), [(True, 16, 1, True), (False, 16, 1, False), (True, 24, 1, False), (True, 16, 2, False)]
)
def test_shortcuts(residual: bool, depth: int, stride: int, added: bool):
    architecture = Architecture("Mine", stem_depth=16, blocks=(Block(4, depth, stride=stride, residual=residual),), activation="relu")
    image = tf_keras.Input((16, 16, 3))
    model = tf_keras.Model(image, MobileNetV3(architecture)(image)["layer_2"])
    assert ("Mine/expanded_conv/add" in {layer.name for layer in model.layers}) == added


@pytest.mark.parametrize(
    ("multiplier", "min_depth", "depths"), [(0.35, 8, [8, 16, 168]), (0.35, 20, [20, 20, 168]), (1.4, 8, [24, 56, 672])]
)
def test_depths(multiplier: float, min_depth: int, depths: list[int]):
    """By hand: 16, 40 and 480 times the multiplier, to the nearest multiple of 8 that is not a tenth below."""
    architecture = Architecture("Mine", stem_depth=16, blocks=(Block(4, 40),), activation="relu", head_depth=480)
    endpoints = _endpoints(MobileNetV3(architecture, multiplier, min_depth=min_depth), 16, 16)
    assert [endpoints[f"layer_{layer}"].shape[-1] for layer in (1, 2, 3)] == depths


def test_explicit_padding_grows_as_in_slim():
    """By hand at 32 px: 16; padded by 2, stride 2: 9; padded by 2, stride 2: 6; padded by 2: 8."""
    beginning = SMALL._replace(blocks=SMALL.blocks[:3])
    endpoints = _endpoints(MobileNetV3(beginning, use_explicit_padding=True), 32, 32)
    assert [endpoints[f"layer_{layer}"].shape[1] for layer in range(1, 5)] == [16, 9, 6, 8]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth_multiplier": 0}, "depth_multiplier must be > 0, got 0"),
        ({"min_depth": -1}, "min_depth must be >= 0, got -1"),
        ({"output_stride": 3}, "output_stride must be 1 or an even number, got 3"),
        ({"architecture": EDGETPU, "use_explicit_padding": True}, "use_explicit_padding must be false for MobilenetEdgeTPU, got true"),
        ({"architecture": EDGETPU, "output_stride": 8}, "output_stride must not be set for MobilenetEdgeTPU, got 8"),
    ],
)
def test_impossible(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MobileNetV3(**settings)
