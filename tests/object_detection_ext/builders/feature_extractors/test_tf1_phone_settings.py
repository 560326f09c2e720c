"""What a config says becomes the settings of MobileNetV3, MobileNet EdgeTPU and MobileDet; nothing is built."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from object_detection_ext.builders.feature_extractor import build_feature_extractor
from object_detection_ext.errors import InputError
from object_detection_ext.models.backbones import mobiledet_architectures, mobilenet_v3
from object_detection_ext.models.backbones.mobiledet import MOBILEDET_DEFAULTS, MobileDet
from object_detection_ext.models.backbones.mobilenet_edgetpu import EDGETPU
from object_detection_ext.models.backbones.mobilenet_v3 import MobileNetV3
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.models.feature_maps import Level, SsdFeatureMaps
from object_detection_ext.models.layers import BACKBONE_DEFAULTS, BatchNorm, ConvHyperparams, Regularizer
from object_detection_ext.protos import ssd_pb2

OVERRIDE = "override_base_feature_extractor_hyperparams: true"
NORM = "batch_norm { decay: 0.5 epsilon: 0.25 center: false scale: false }"
TYPES = {
    "ssd_mobilenet_v3_large": ("layer_14/expansion_output", "layer_17"),
    "ssd_mobilenet_v3_small": ("layer_10/expansion_output", "layer_13"),
    "ssd_mobilenet_edgetpu": ("layer_18/expansion_output", "layer_23"),
    **dict.fromkeys([f"ssd_mobiledet_{device}" for device in ("cpu", "dsp", "edgetpu", "gpu")], ("C4", "C5")),
}


def _build(text: str, name: str, **settings: bool) -> PyramidFeatureExtractor:
    built = build_feature_extractor(text_format.Parse(f"type: '{name}' {text}", ssd_pb2.SsdFeatureExtractor()), **settings)
    assert isinstance(built, PyramidFeatureExtractor)
    return built


def test_everything_of_v3():
    built = _build(
        f"""
        depth_multiplier: 0.5 min_depth: 8 pad_to_multiple: 32 use_explicit_padding: true use_depthwise: true num_layers: 3
        output_stride: 16 {OVERRIDE} conv_hyperparams {{ activation: RELU_6 {NORM} regularizer {{ l2_regularizer {{ weight: 0.5 }} }} }}
        """,
        "ssd_mobilenet_v3_small",
    )
    regularizer = Regularizer("l2", 0.5)
    assert built == PyramidFeatureExtractor(
        backbone=MobileNetV3(
            mobilenet_v3.SMALL,
            depth_multiplier=0.5,
            min_depth=8,
            output_stride=16,
            use_explicit_padding=True,
            hyperparams=ConvHyperparams(
                activation="relu6",
                regularizer=regularizer,
                batch_norm=BatchNorm(decay=0.5, epsilon=0.25, center=True, scale=True),
                regularize_depthwise=True,
            ),
        ),
        feature_maps=SsdFeatureMaps(
            levels=(Level("layer_10/expansion_output"), Level("layer_13"), Level(depth=512)),
            hyperparams=ConvHyperparams(
                activation="relu6", regularizer=regularizer, batch_norm=BatchNorm(decay=0.5, epsilon=0.25, center=False)
            ),
            depth_multiplier=0.5,
            min_depth=8,
            use_depthwise=True,
            use_explicit_padding=True,
            depthwise_as_configured=True,
        ),
        pad_to_multiple=32,
    )


@pytest.mark.parametrize("name", TYPES)
def test_the_api_defaults(name: str):
    built = _build("", name)
    assert [level.endpoint for level in built.feature_maps.levels] == [*TYPES[name], None, None, None, None]
    assert [level.depth for level in built.feature_maps.levels] == [None, None, 512, 256, 256, 128]
    assert (built.feature_maps.min_depth, built.pad_to_multiple, built.min_image_size) == (16, 1, 33)
    assert built.backbone.depth_multiplier == 1


def test_backbones():
    assert _build("", "ssd_mobilenet_v3_large").backbone == MobileNetV3(mobilenet_v3.LARGE, min_depth=16, hyperparams=BACKBONE_DEFAULTS)
    assert _build("", "ssd_mobilenet_edgetpu").backbone == MobileNetV3(EDGETPU, min_depth=16)
    assert _build("min_depth: 99", "ssd_mobiledet_cpu").backbone == MobileDet(mobiledet_architectures.CPU)
    gpu = MobileDet(mobiledet_architectures.GPU, depth_multiplier=0.5, hyperparams=MOBILEDET_DEFAULTS)
    assert _build("depth_multiplier: 0.5", "ssd_mobiledet_gpu").backbone == gpu


def test_an_override_without_batch_norm_keeps_the_backbones():
    assert _build(OVERRIDE, "ssd_mobilenet_v3_large").backbone.hyperparams.batch_norm == BACKBONE_DEFAULTS.batch_norm
    built = _build(OVERRIDE, "ssd_mobilenet_v3_large", freeze_batchnorm=True)
    assert built.backbone.hyperparams.batch_norm.frozen and built.feature_maps.hyperparams.batch_norm is None


@pytest.mark.parametrize("name", TYPES)
def test_frozen_batch_norm(name: str):
    built = _build(f"conv_hyperparams {{ {NORM} }}", name, freeze_batchnorm=True)
    assert built.backbone.hyperparams.batch_norm.frozen and built.feature_maps.hyperparams.batch_norm.frozen


_EVERY = ("ssd_mobilenet_v3_large", "ssd_mobilenet_edgetpu", "ssd_mobiledet_dsp")


@pytest.mark.parametrize(
    ("text", "message", "names"),
    [
        ("depth_multiplier: -1", "depth_multiplier must be > 0, got -1", _EVERY),
        ("pad_to_multiple: 0", "pad_to_multiple must be >= 1, got 0", _EVERY),
        ("num_layers: 0", "num_layers must be between 1 and 6, got 0", _EVERY),
        ("num_layers: 7", "num_layers must be between 1 and 6, got 7", _EVERY),
        ("fpn { min_level: 3 }", "fpn has no meaning for ", _EVERY),
        ("bifpn {}", "bifpn has no meaning for ", _EVERY),
        ("spaghettinet_arch_name: 'x'", "spaghettinet_arch_name has no meaning for ", _EVERY),
        ("replace_preprocessor_with_placeholder: true", "replace_preprocessor_with_placeholder has no meaning for ", _EVERY),
        ("conv_hyperparams { group_norm {} }", "conv_hyperparams.group_norm is not supported", _EVERY),
        ("min_depth: -8", "min_depth must be >= 0, got -8", ("ssd_mobilenet_v3_large", "ssd_mobilenet_edgetpu")),
        ("output_stride: 5", "output_stride must be 1 or an even number, got 5", ("ssd_mobilenet_v3_small",)),
        ("use_explicit_padding: true", "use_explicit_padding must be false for MobilenetEdgeTPU", ("ssd_mobilenet_edgetpu",)),
        ("output_stride: 16", "output_stride must not be set for MobilenetEdgeTPU, got 16", ("ssd_mobilenet_edgetpu",)),
        ("use_explicit_padding: true", "use_explicit_padding has no meaning for ssd_mobiledet_cpu", ("ssd_mobiledet_cpu",)),
        ("output_stride: 16", "output_stride has no meaning for ssd_mobiledet_gpu", ("ssd_mobiledet_gpu",)),
        (OVERRIDE, "override_base_feature_extractor_hyperparams has no meaning for ssd_mobiledet_dsp", ("ssd_mobiledet_dsp",)),
    ],
)
def test_errors_name_the_field(text: str, message: str, names: tuple[str, ...]):
    for name in names:
        with pytest.raises(InputError, match=f"^model.ssd.feature_extractor.{message}"):
            _build(text, name)
