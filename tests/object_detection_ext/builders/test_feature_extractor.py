from __future__ import annotations

import pytest
from google.protobuf import text_format

from object_detection_ext.builders import feature_extractor as builder
from object_detection_ext.errors import InputError
from object_detection_ext.models.backbones.mobilenet_v2 import MobileNetV2
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.models.feature_maps import Level, SsdFeatureMaps
from object_detection_ext.models.layers import BACKBONE_DEFAULTS, BatchNorm, ConvHyperparams
from object_detection_ext.protos import ssd_pb2


def _config(text: str, name: str = "ssd_mobilenet_v2_keras") -> ssd_pb2.SsdFeatureExtractor:
    return text_format.Parse(f"type: '{name}' {text}", ssd_pb2.SsdFeatureExtractor())


def _build(text: str, name: str = "ssd_mobilenet_v2_keras", **settings):
    return builder.build_feature_extractor(_config(text, name), **settings)


def test_everything():
    built = _build(
        """
        depth_multiplier: 0.5 min_depth: 8 pad_to_multiple: 32 use_explicit_padding: true use_depthwise: true num_layers: 3
        output_stride: 16
        override_base_feature_extractor_hyperparams: true conv_hyperparams { activation: RELU_6 batch_norm { decay: 0.5 epsilon: 0.25 } }
        """
    )
    hyperparams = ConvHyperparams(activation="relu6", batch_norm=BatchNorm(decay=0.5, epsilon=0.25))
    assert built == PyramidFeatureExtractor(
        backbone=MobileNetV2(0.5, min_depth=8, output_stride=16, use_explicit_padding=True, hyperparams=hyperparams),
        feature_maps=SsdFeatureMaps(
            levels=(Level("layer_15/expansion_output"), Level("layer_19"), Level(depth=512)),
            hyperparams=hyperparams,
            depth_multiplier=0.5,
            min_depth=8,
            use_depthwise=True,
            use_explicit_padding=True,
        ),
        pad_to_multiple=32,
    )


def test_the_api_defaults():
    built = _build("")
    assert built.backbone == MobileNetV2(1.0, min_depth=16, output_stride=None, hyperparams=BACKBONE_DEFAULTS)
    assert [level.depth for level in built.feature_maps.levels] == [None, None, 512, 256, 256, 128]


def test_frozen_batch_norm_reaches_the_backbone():
    assert _build("", freeze_batchnorm=True).backbone.hyperparams.batch_norm.frozen
    built = _build("conv_hyperparams { batch_norm {} } override_base_feature_extractor_hyperparams: true", freeze_batchnorm=True)
    assert built.backbone.hyperparams.batch_norm.frozen and built.feature_maps.hyperparams.batch_norm.frozen


def test_the_name_of_tf1_gives_the_same():
    assert _build("depth_multiplier: 0.5", "ssd_mobilenet_v2") == _build("depth_multiplier: 0.5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth_multiplier: -1", "depth_multiplier must be > 0, got -1"),
        ("output_stride: 5", "output_stride must be 1 or an even number, got 5"),
        ("min_depth: -8", "min_depth must be >= 0, got -8"),
        ("pad_to_multiple: 0", "pad_to_multiple must be >= 1, got 0"),
        ("num_layers: 0", "num_layers must be between 1 and 6, got 0"),
        ("num_layers: 7", "num_layers must be between 1 and 6, got 7"),
        ("fpn { min_level: 3 }", "fpn has no meaning for ssd_mobilenet_v2_keras"),
        ("bifpn {}", "bifpn has no meaning"),
        ("spaghettinet_arch_name: 'x'", "spaghettinet_arch_name has no meaning"),
        ("replace_preprocessor_with_placeholder: true", "replace_preprocessor_with_placeholder has no meaning"),
        ("conv_hyperparams { group_norm {} }", "conv_hyperparams.group_norm is not supported"),
    ],
)
def test_errors_name_the_field(text: str, message: str):
    with pytest.raises(InputError, match=f"^model.ssd.feature_extractor.{message}"):
        _build(text)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "must be set; there are ssd_efficientnet-b0_bifpn_keras, "),
        ("ssd_mobilenet_v2_kears", "'ssd_mobilenet_v2_kears' is unknown, did you mean ssd_mobilenet_v2_keras"),
        ("yolo", "'yolo' is unknown; there are"),
    ],
)
def test_other_types(name: str, message: str):
    with pytest.raises(InputError, match=f"^model.ssd.feature_extractor.type {message}"):
        _build("", name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("embedded_ssd_mobilenet_v1", "ssd_mobilenet_v1_keras"),
        ("ssd_mobilenet_v1_ppn", "ssd_mobilenet_v1_fpn_keras"),
        ("ssd_mobilenet_v2_mnasfpn", "ssd_mobilenet_v2_fpn_keras"),
        ("ssd_spaghettinet", "ssd_mobiledet_edgetpu"),
        ("ssd_inception_v2", "ssd_mobilenet_v2_keras"),
        ("ssd_inception_v3", "ssd_mobilenet_v2_keras"),
        ("ssd_pnasnet", "ssd_efficientnet-b4_bifpn_keras"),
        ("ssd_resnet50_v1_ppn", "ssd_resnet50_v1_fpn_keras"),
        ("ssd_resnet101_v1_ppn", "ssd_resnet101_v1_fpn_keras"),
        ("ssd_resnet152_v1_ppn", "ssd_resnet152_v1_fpn_keras"),
    ],
)
def test_the_other_types_of_the_api_are_refused_with_the_nearest(name: str, nearest: str):
    with pytest.raises(InputError) as caught:
        _build("", name)
    assert f"type {name} of the TF Object Detection API is not supported, the nearest is {nearest}" in str(caught.value)
    assert nearest in builder.FEATURE_EXTRACTORS


class TestRegister:
    @pytest.fixture(autouse=True)
    def _restored(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(builder, "FEATURE_EXTRACTORS", dict(builder.FEATURE_EXTRACTORS))

    def test_the_factory_gets_the_config(self):
        calls = []

        def factory(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool):
            calls.append((config.depth_multiplier, freeze_batchnorm))
            return _build("")

        builder.register_feature_extractor("mine", factory)
        assert isinstance(_build("depth_multiplier: 0.25", "mine", freeze_batchnorm=True), PyramidFeatureExtractor)
        assert calls == [(0.25, True)]

    def test_its_errors_name_the_field(self):
        def factory(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool):
            raise ValueError("num_layers must be even, got 3")

        builder.register_feature_extractor("mine", factory)
        with pytest.raises(InputError, match=r"^model\.ssd\.feature_extractor\.num_layers must be even, got 3$"):
            _build("", "mine")

    def test_a_name_is_taken_once(self):
        with pytest.raises(ValueError, match="'ssd_mobilenet_v2' exists already"):
            builder.register_feature_extractor("ssd_mobilenet_v2", builder.FEATURE_EXTRACTORS["ssd_mobilenet_v2"])
