"""EfficientNet-B0 to B7 with a bidirectional feature pyramid: EfficientDet (Tan et al. 2020, https://arxiv.org/abs/1911.09070)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from object_detection_ext.builders.feature_extractors.common import FIELD, FeatureExtractorFactory, check_unused, feature_map_hyperparams
from object_detection_ext.builders.fields import errors_at
from object_detection_ext.builders.hyperparams import frozen
from object_detection_ext.models.backbones.efficientnet import EFFICIENTNET_DEFAULTS, EfficientNet
from object_detection_ext.models.bifpn import BiFpn, CombineMethod
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.models.layers import ConvHyperparams
from object_detection_ext.models.normalization import PixelScaling
from object_detection_ext.protos import ssd_pb2

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB, of pixels in [0, 1]
BY_IMAGENET_STATISTICS = PixelScaling(
    tuple(1 / (255 * deviation) for deviation in _DEVIATION),
    tuple(-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)),
)
# The API's, for all variants: in the larger ones neither level 2 nor level 5 is the last block of its stack.
LEVEL_ENDPOINTS = {1: "stack_0/block_0", 2: "stack_1/block_1", 3: "stack_2/block_1", 4: "stack_4/block_2", 5: "stack_6/block_0"}
MIN_IMAGE_SIZE = 129  # the API's limit


class Pyramid(NamedTuple):
    """What the paper's table 1 and section 5.1 give a detector."""

    num_filters: int
    num_iterations: int
    combine_method: CombineMethod = "fast_attention"


# By the backbone's variant, where the config has no `bifpn`.
PYRAMIDS = (
    Pyramid(64, 3),
    Pyramid(88, 4),
    Pyramid(112, 5),
    Pyramid(160, 6),
    Pyramid(224, 7),
    Pyramid(288, 7),
    Pyramid(384, 8, "sum"),
    Pyramid(384, 8, "sum"),
)


def ssd_efficientnet_bifpn(variant: int, config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool) -> PyramidFeatureExtractor:
    check_unused(config, "fpn", "num_layers", "output_stride", "use_explicit_padding", "use_depthwise")
    check_unused(config, "spaghettinet_arch_name", "replace_preprocessor_with_placeholder")
    if config.depth_multiplier != 1.0:
        raise ValueError(
            f"depth_multiplier must be 1 for {config.type}, got {config.depth_multiplier:g}; choose another size of EfficientNet"
        )
    feature_maps = _feature_maps(variant, config, feature_map_hyperparams(config, freeze_batchnorm))
    return PyramidFeatureExtractor(
        backbone=EfficientNet(variant, last_block=feature_maps.endpoints[-1], hyperparams=_backbone_hyperparams(config, freeze_batchnorm)),
        feature_maps=feature_maps,
        pad_to_multiple=config.pad_to_multiple,
        normalize=BY_IMAGENET_STATISTICS,
        min_image_size=MIN_IMAGE_SIZE,
    )


def _backbone_hyperparams(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool) -> ConvHyperparams:
    """Its own, and of the config's, where they are to override them, the regulariser only, as in the API."""
    hyperparams = frozen(EFFICIENTNET_DEFAULTS) if freeze_batchnorm else EFFICIENTNET_DEFAULTS
    if config.override_base_feature_extractor_hyperparams:
        return replace(hyperparams, regularizer=feature_map_hyperparams(config, freeze_batchnorm).regularizer)
    return hyperparams


def _feature_maps(variant: int, config: ssd_pb2.SsdFeatureExtractor, hyperparams: ConvHyperparams) -> BiFpn:
    bifpn = config.bifpn
    combine_method: Any = bifpn.combine_method  # BiFpn checks it
    configured = Pyramid(bifpn.num_filters, bifpn.num_iterations, combine_method)
    pyramid = configured if config.HasField("bifpn") else PYRAMIDS[variant]
    with errors_at(f"{FIELD}.bifpn"):
        if bifpn.min_level not in LEVEL_ENDPOINTS:
            raise ValueError(f"min_level must be between {min(LEVEL_ENDPOINTS)} and {max(LEVEL_ENDPOINTS)}, got {bifpn.min_level}")
        return BiFpn(
            endpoints=tuple(name for level, name in LEVEL_ENDPOINTS.items() if bifpn.min_level <= level <= bifpn.max_level),
            min_level=bifpn.min_level,
            max_level=bifpn.max_level,
            num_iterations=pyramid.num_iterations,
            num_filters=max(pyramid.num_filters, config.min_depth) if pyramid.num_filters > 0 else pyramid.num_filters,
            hyperparams=hyperparams,
            combine_method=pyramid.combine_method,
        )


FACTORIES: dict[str, FeatureExtractorFactory] = {
    f"ssd_efficientnet-b{variant}_bifpn_keras": partial(ssd_efficientnet_bifpn, variant) for variant in range(len(PYRAMIDS))
}
