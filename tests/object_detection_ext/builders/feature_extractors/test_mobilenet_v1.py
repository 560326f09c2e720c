"""MobileNet V1, and the feature pyramids of V1 and V2: what the builders make of a config."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from object_detection_ext.builders.feature_extractor import build_feature_extractor
from object_detection_ext.errors import InputError
from object_detection_ext.models.backbones.mobilenet_v1 import MobileNetV1
from object_detection_ext.models.backbones.mobilenet_v2 import MobileNetV2
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.models.feature_maps import Level, SsdFeatureMaps
from object_detection_ext.models.fpn import FpnFeatureMaps
from object_detection_ext.models.layers import BACKBONE_DEFAULTS, BatchNorm, ConvHyperparams
from object_detection_ext.protos import ssd_pb2

HYPERPARAMS = ConvHyperparams(activation="relu6", batch_norm=BatchNorm(decay=0.5, epsilon=0.25))
OVERRIDE = """
override_base_feature_extractor_hyperparams: true conv_hyperparams { activation: RELU_6 batch_norm { decay: 0.5 epsilon: 0.25 } }
"""
FPNS = ("ssd_mobilenet_v1_fpn_keras", "ssd_mobilenet_v2_fpn_keras")


def _build(name: str, text: str = "", **settings) -> PyramidFeatureExtractor:
    return build_feature_extractor(text_format.Parse(f"type: '{name}' {text}", ssd_pb2.SsdFeatureExtractor()), **settings)


def test_everything_of_the_ssd():
    text = "depth_multiplier: 0.5 min_depth: 8 pad_to_multiple: 32 use_explicit_padding: true use_depthwise: true num_layers: 3"
    built = _build("ssd_mobilenet_v1_keras", f"{text} output_stride: 16 {OVERRIDE}")
    assert built == PyramidFeatureExtractor(
        backbone=MobileNetV1(0.5, min_depth=8, output_stride=16, use_explicit_padding=True, hyperparams=HYPERPARAMS),
        feature_maps=SsdFeatureMaps(
            levels=(Level("Conv2d_11_pointwise"), Level("Conv2d_13_pointwise"), Level(depth=512)),
            hyperparams=HYPERPARAMS,
            depth_multiplier=0.5,
            min_depth=8,
            use_depthwise=True,
            use_explicit_padding=True,
        ),
        pad_to_multiple=32,
    )


@pytest.mark.parametrize(
    ("name", "backbone", "endpoints", "bottom_up"),
    [
        (
            "ssd_mobilenet_v1_fpn_keras",
            MobileNetV1(0.5, min_depth=8, use_explicit_padding=True, last_depths=(512, 256), hyperparams=HYPERPARAMS),
            ("Conv2d_3_pointwise", "Conv2d_5_pointwise", "Conv2d_11_pointwise", "Conv2d_13_pointwise"),
            ("bottom_up_Conv2d_14",),
        ),
        (
            "ssd_mobilenet_v2_fpn_keras",
            MobileNetV2(0.5, min_depth=8, use_explicit_padding=True, hyperparams=HYPERPARAMS),
            ("layer_4", "layer_7", "layer_14", "layer_19"),
            ("bottom_up_Conv2d_20",),
        ),
    ],
)
def test_everything_of_a_pyramid(name: str, backbone: MobileNetV1 | MobileNetV2, endpoints: tuple[str, ...], bottom_up: tuple[str, ...]):
    text = "depth_multiplier: 0.5 min_depth: 8 pad_to_multiple: 32 use_explicit_padding: true use_depthwise: true"
    assert _build(name, f"{text} fpn {{ min_level: 2 max_level: 6 additional_layer_depth: 48 }} {OVERRIDE}") == PyramidFeatureExtractor(
        backbone=backbone,
        feature_maps=FpnFeatureMaps(endpoints, 24, HYPERPARAMS, bottom_up, use_depthwise=True, use_explicit_padding=True),
        pad_to_multiple=32,
    )


def test_the_api_defaults():
    built = _build("ssd_mobilenet_v1_keras")
    assert built.backbone == MobileNetV1(min_depth=16, hyperparams=BACKBONE_DEFAULTS) and built.min_image_size == 33
    assert [level.depth for level in built.feature_maps.levels] == [None, None, 512, 256, 256, 128]
    built = _build("ssd_mobilenet_v1_fpn_keras")
    assert built.backbone == MobileNetV1(min_depth=16, hyperparams=BACKBONE_DEFAULTS) and built.min_image_size == 33
    assert built.feature_maps == FpnFeatureMaps(
        ("Conv2d_5_pointwise", "Conv2d_11_pointwise", "Conv2d_13_pointwise"),
        256,
        ConvHyperparams(),
        bottom_up=("bottom_up_Conv2d_14", "bottom_up_Conv2d_15"),
    )


@pytest.mark.parametrize("name", ["ssd_mobilenet_v1", "ssd_mobilenet_v1_fpn", "ssd_mobilenet_v2_fpn"])
def test_names_of_tf1_give_the_same(name: str):
    assert _build(name, "depth_multiplier: 0.5") == _build(f"{name}_keras", "depth_multiplier: 0.5")


@pytest.mark.parametrize("name", ["ssd_mobilenet_v1_keras", *FPNS])
def test_frozen_batch_norm_reaches_everything(name: str):
    assert _build(name, freeze_batchnorm=True).backbone.hyperparams.batch_norm.frozen
    built = _build(name, OVERRIDE, freeze_batchnorm=True)
    assert built.backbone.hyperparams.batch_norm.frozen and built.feature_maps.hyperparams.batch_norm.frozen


@pytest.mark.parametrize("name", FPNS)
def test_a_pyramid_may_end_within_the_backbone(name: str):
    """The API takes the next coarser end points then, which do not fit the anchors of these levels."""
    feature_maps = _build(name, "fpn { min_level: 3 max_level: 4 }").feature_maps
    assert feature_maps.endpoints == _build(name).feature_maps.endpoints[:2] and feature_maps.bottom_up == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fpn { min_level: 1 }", "fpn.min_level must be between 2 and 5, got 1"),
        ("fpn { min_level: 6 }", "fpn.min_level must be between 2 and 5, got 6"),
        ("fpn { min_level: 4 max_level: 3 }", r"fpn.max_level must be >= min_level \(4\), got 3"),
        ("fpn { additional_layer_depth: 0 }", "fpn.additional_layer_depth must be >= 1, got 0"),
        ("depth_multiplier: 0", "depth_multiplier must be > 0, got 0"),
        ("num_layers: 6", "num_layers has no meaning for ssd_mobilenet_v"),
        ("output_stride: 16", "output_stride has no meaning"),
        ("bifpn {}", "bifpn has no meaning"),
        ("spaghettinet_arch_name: 'x'", "spaghettinet_arch_name has no meaning"),
        ("replace_preprocessor_with_placeholder: true", "replace_preprocessor_with_placeholder has no meaning"),
    ],
)
@pytest.mark.parametrize("name", FPNS)
def test_errors_of_pyramids_name_the_field(name: str, text: str, message: str):
    with pytest.raises(InputError, match=f"^model.ssd.feature_extractor.{message}"):
        _build(name, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fpn {}", "fpn has no meaning for ssd_mobilenet_v1_keras"),
        ("num_layers: 7", "num_layers must be between 1 and 6, got 7"),
        ("output_stride: 5", "output_stride must be 1 or an even number, got 5"),
    ],
)
def test_errors_of_the_ssd_name_the_field(text: str, message: str):
    with pytest.raises(InputError, match=f"^model.ssd.feature_extractor.{message}"):
        _build("ssd_mobilenet_v1_keras", text)
