"""MobileNetV3 with the feature maps of an SSD."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from object_detection_ext.builders.feature_extractors.common import FeatureExtractorFactory, backbone_hyperparams
from object_detection_ext.builders.feature_extractors.ssd_feature_maps import build_ssd_feature_maps
from object_detection_ext.builders.hyperparams import frozen
from object_detection_ext.models.backbones.mobilenet_v3 import LARGE, SMALL, Architecture, MobileNetV3
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.models.layers import BACKBONE_DEFAULTS, ConvHyperparams
from object_detection_ext.protos import ssd_pb2


def ssd_mobilenet_v3(
    config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool, *, architecture: Architecture, endpoints: tuple[str, str]
) -> PyramidFeatureExtractor:
    """An SSD on a network of MobileNetV3's blocks.

    Args:
        endpoints: the backbone's feature maps, with strides 16 and 32.

    Raises:
        ValueError: names the field that is wrong.
    """
    return PyramidFeatureExtractor(
        backbone=MobileNetV3(
            architecture,
            depth_multiplier=config.depth_multiplier,
            min_depth=config.min_depth,
            output_stride=config.output_stride or None,
            use_explicit_padding=config.use_explicit_padding,
            hyperparams=_hyperparams(config, freeze_batchnorm),
        ),
        feature_maps=build_ssd_feature_maps(config, freeze_batchnorm, endpoints=endpoints, depthwise_as_configured=True),
        pad_to_multiple=config.pad_to_multiple,
    )


def _hyperparams(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool) -> ConvHyperparams:
    """slim's own, or the config's where it overrides them; the network keeps its activations, and batch norm with beta and gamma."""
    hyperparams = backbone_hyperparams(config, freeze_batchnorm)
    if not config.override_base_feature_extractor_hyperparams:
        return hyperparams
    defaults = frozen(BACKBONE_DEFAULTS) if freeze_batchnorm else BACKBONE_DEFAULTS
    batch_norm = hyperparams.batch_norm or defaults.batch_norm
    assert batch_norm is not None
    # Only an override regularises depthwise kernels: slim does not.
    return replace(hyperparams, batch_norm=replace(batch_norm, center=True, scale=True), regularize_depthwise=True)


FACTORIES: dict[str, FeatureExtractorFactory] = {
    "ssd_mobilenet_v3_large": partial(ssd_mobilenet_v3, architecture=LARGE, endpoints=("layer_14/expansion_output", "layer_17")),
    "ssd_mobilenet_v3_small": partial(ssd_mobilenet_v3, architecture=SMALL, endpoints=("layer_10/expansion_output", "layer_13")),
}
