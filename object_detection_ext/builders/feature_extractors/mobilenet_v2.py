"""MobileNetV2 with the feature maps of an SSD, or with a feature pyramid network."""

from __future__ import annotations

from object_detection_ext.builders.feature_extractors.common import FeatureExtractorFactory, backbone_hyperparams, check_unused
from object_detection_ext.builders.feature_extractors.fpn import build_fpn
from object_detection_ext.builders.feature_extractors.ssd_feature_maps import build_ssd_feature_maps
from object_detection_ext.models.backbones.mobilenet_v2 import MobileNetV2
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.protos import ssd_pb2

SSD_ENDPOINTS = ("layer_15/expansion_output", "layer_19")
FPN_ENDPOINTS = ("layer_4", "layer_7", "layer_14", "layer_19")


def ssd_mobilenet_v2(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool) -> PyramidFeatureExtractor:
    return PyramidFeatureExtractor(
        backbone=_backbone(config, freeze_batchnorm, output_stride=config.output_stride or None),
        feature_maps=build_ssd_feature_maps(config, freeze_batchnorm, endpoints=SSD_ENDPOINTS),
        pad_to_multiple=config.pad_to_multiple,
    )


def ssd_mobilenet_v2_fpn(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool) -> PyramidFeatureExtractor:
    check_unused(config, "bifpn", "spaghettinet_arch_name", "replace_preprocessor_with_placeholder", "num_layers", "output_stride")
    return PyramidFeatureExtractor(
        backbone=_backbone(config, freeze_batchnorm),
        feature_maps=build_fpn(
            config,
            freeze_batchnorm,
            endpoints=FPN_ENDPOINTS,
            bottom_up=lambda level: f"bottom_up_Conv2d_{level + 14}",  # level 5 is layer 19
            use_depthwise=config.use_depthwise,
            use_explicit_padding=config.use_explicit_padding,
        ),
        pad_to_multiple=config.pad_to_multiple,
    )


def _backbone(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool, *, output_stride: int | None = None) -> MobileNetV2:
    return MobileNetV2(
        depth_multiplier=config.depth_multiplier,
        min_depth=config.min_depth,
        output_stride=output_stride,
        use_explicit_padding=config.use_explicit_padding,
        hyperparams=backbone_hyperparams(config, freeze_batchnorm),
    )


# The API's TF 1 names give the networks of TF 2.
FACTORIES: dict[str, FeatureExtractorFactory] = {
    "ssd_mobilenet_v2_keras": ssd_mobilenet_v2,
    "ssd_mobilenet_v2": ssd_mobilenet_v2,
    "ssd_mobilenet_v2_fpn_keras": ssd_mobilenet_v2_fpn,
    "ssd_mobilenet_v2_fpn": ssd_mobilenet_v2_fpn,
}
