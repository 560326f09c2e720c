"""MobileNet V1 with the feature maps of an SSD, or with a feature pyramid network."""

from __future__ import annotations

from object_detection_ext.builders.feature_extractors.common import FeatureExtractorFactory, backbone_hyperparams, check_unused
from object_detection_ext.builders.feature_extractors.fpn import build_fpn
from object_detection_ext.builders.feature_extractors.ssd_feature_maps import build_ssd_feature_maps
from object_detection_ext.models.backbones.mobilenet_v1 import MobileNetV1
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.protos import ssd_pb2

SSD_ENDPOINTS = ("Conv2d_11_pointwise", "Conv2d_13_pointwise")
FPN_ENDPOINTS = ("Conv2d_3_pointwise", "Conv2d_5_pointwise", "Conv2d_11_pointwise", "Conv2d_13_pointwise")
FPNLITE_LAST_DEPTHS = (512, 256)  # half and a quarter of the channels, where depthwise convolutions make the pyramid cheap


def ssd_mobilenet_v1(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool) -> PyramidFeatureExtractor:
    return PyramidFeatureExtractor(
        backbone=_backbone(config, freeze_batchnorm, output_stride=config.output_stride or None),
        feature_maps=build_ssd_feature_maps(config, freeze_batchnorm, endpoints=SSD_ENDPOINTS),
        pad_to_multiple=config.pad_to_multiple,
    )


def ssd_mobilenet_v1_fpn(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool) -> PyramidFeatureExtractor:
    check_unused(config, "bifpn", "spaghettinet_arch_name", "replace_preprocessor_with_placeholder", "num_layers", "output_stride")
    return PyramidFeatureExtractor(
        backbone=_backbone(config, freeze_batchnorm, last_depths=FPNLITE_LAST_DEPTHS if config.use_depthwise else ()),
        feature_maps=build_fpn(
            config,
            freeze_batchnorm,
            endpoints=FPN_ENDPOINTS,
            bottom_up=lambda level: f"bottom_up_Conv2d_{level + 8}",  # level 5 is layer 13
            use_depthwise=config.use_depthwise,
            use_explicit_padding=config.use_explicit_padding,
        ),
        pad_to_multiple=config.pad_to_multiple,
    )


def _backbone(
    config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool, *, output_stride: int | None = None, last_depths: tuple[int, ...] = ()
) -> MobileNetV1:
    return MobileNetV1(
        depth_multiplier=config.depth_multiplier,
        min_depth=config.min_depth,
        output_stride=output_stride,
        use_explicit_padding=config.use_explicit_padding,
        last_depths=last_depths,
        hyperparams=backbone_hyperparams(config, freeze_batchnorm),
    )


# The API's TF 1 names give the networks of TF 2.
FACTORIES: dict[str, FeatureExtractorFactory] = {
    "ssd_mobilenet_v1_keras": ssd_mobilenet_v1,
    "ssd_mobilenet_v1": ssd_mobilenet_v1,
    "ssd_mobilenet_v1_fpn_keras": ssd_mobilenet_v1_fpn,
    "ssd_mobilenet_v1_fpn": ssd_mobilenet_v1_fpn,
}
