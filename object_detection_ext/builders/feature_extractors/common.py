"""What the builders of all feature extractors share."""

from __future__ import annotations

from collections.abc import Callable

from object_detection_ext.builders.hyperparams import build_hyperparams, frozen
from object_detection_ext.models.feature_extractor import FeatureExtractor
from object_detection_ext.models.layers import BACKBONE_DEFAULTS, ConvHyperparams
from object_detection_ext.protos import ssd_pb2

FIELD = "model.ssd.feature_extractor"

# (config, freeze_batchnorm) -> feature extractor
FeatureExtractorFactory = Callable[[ssd_pb2.SsdFeatureExtractor, bool], FeatureExtractor]


def feature_map_hyperparams(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool) -> ConvHyperparams:
    """Of the layers behind the backbone: the config's `conv_hyperparams`. Raises `InputError`, which names the field."""
    return build_hyperparams(config.conv_hyperparams, freeze_batchnorm=freeze_batchnorm, field=f"{FIELD}.conv_hyperparams")


def backbone_hyperparams(
    config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool, defaults: ConvHyperparams = BACKBONE_DEFAULTS
) -> ConvHyperparams:
    """Of the backbone: its own `defaults`, unless `override_base_feature_extractor_hyperparams` asks for the config's."""
    if config.override_base_feature_extractor_hyperparams:
        return feature_map_hyperparams(config, freeze_batchnorm)
    return frozen(defaults) if freeze_batchnorm else defaults


def check_unused(config: ssd_pb2.SsdFeatureExtractor, *names: str) -> None:
    """Raises `ValueError` where a field is set that this feature extractor has no use for."""
    for name in names:
        if config.HasField(name) and getattr(config, name):
            raise ValueError(f"{name} has no meaning for {config.type}; leave it out")
