"""ResNet-50, 101 and 152 V1 with a feature pyramid: RetinaNet (Lin et al. 2017, https://arxiv.org/abs/1708.02002)."""

from __future__ import annotations

from functools import partial

from object_detection_ext.builders.feature_extractors.common import FeatureExtractorFactory, backbone_hyperparams, check_unused
from object_detection_ext.builders.feature_extractors.fpn import build_fpn
from object_detection_ext.models.backbones.resnet_v1 import NUM_BLOCKS, RESNET_DEFAULTS, NumLayers, ResNetV1
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.models.normalization import PixelScaling
from object_detection_ext.protos import ssd_pb2

MINUS_IMAGENET_MEAN = PixelScaling(1.0, (-123.68, -116.779, -103.939))  # RGB, as VGG was trained with
FPN_ENDPOINTS = ("block1", "block2", "block3", "block4")
MIN_IMAGE_SIZE = 129  # the API's limit


def ssd_resnet_v1_fpn(num_layers: NumLayers, config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool) -> PyramidFeatureExtractor:
    check_unused(config, "bifpn", "num_layers", "output_stride", "use_explicit_padding", "use_depthwise")
    check_unused(config, "spaghettinet_arch_name", "replace_preprocessor_with_placeholder")
    return PyramidFeatureExtractor(
        backbone=ResNetV1(
            num_layers,
            depth_multiplier=config.depth_multiplier,
            min_depth=config.min_depth,
            hyperparams=backbone_hyperparams(config, freeze_batchnorm, RESNET_DEFAULTS),
        ),
        feature_maps=build_fpn(
            config,
            freeze_batchnorm,
            endpoints=FPN_ENDPOINTS,
            bottom_up=lambda level: f"bottom_up_block{level - 1}",  # level 5 is block 4
        ),
        pad_to_multiple=config.pad_to_multiple,
        normalize=MINUS_IMAGENET_MEAN,
        min_image_size=MIN_IMAGE_SIZE,
    )


# The API's TF 1 names (`ssd_resnet50_v1_fpn`) give the networks of TF 2.
FACTORIES: dict[str, FeatureExtractorFactory] = {
    f"ssd_resnet{num_layers}_v1_fpn{ending}": partial(ssd_resnet_v1_fpn, num_layers)
    for num_layers in NUM_BLOCKS
    for ending in ("_keras", "")
}
