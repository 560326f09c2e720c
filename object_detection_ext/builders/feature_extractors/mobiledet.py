"""MobileDet with the feature maps of an SSD."""

from __future__ import annotations

from functools import partial

from object_detection_ext.builders.feature_extractors.common import FeatureExtractorFactory, check_unused
from object_detection_ext.builders.feature_extractors.ssd_feature_maps import build_ssd_feature_maps
from object_detection_ext.builders.hyperparams import frozen
from object_detection_ext.models.backbones.mobiledet import MOBILEDET_DEFAULTS, MobileDet
from object_detection_ext.models.backbones.mobiledet_architectures import CPU, DSP, EDGETPU, GPU, Architecture
from object_detection_ext.models.feature_extractor import PyramidFeatureExtractor
from object_detection_ext.protos import ssd_pb2


def ssd_mobiledet(config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool, *, architecture: Architecture) -> PyramidFeatureExtractor:
    """An SSD on a MobileDet, whose settings are its own whatever `conv_hyperparams` say. Raises `ValueError`, which names the field."""
    check_unused(config, "override_base_feature_extractor_hyperparams", "use_explicit_padding", "output_stride")
    return PyramidFeatureExtractor(
        backbone=MobileDet(
            architecture,
            depth_multiplier=config.depth_multiplier,
            hyperparams=frozen(MOBILEDET_DEFAULTS) if freeze_batchnorm else MOBILEDET_DEFAULTS,
        ),
        feature_maps=build_ssd_feature_maps(config, freeze_batchnorm, endpoints=("C4", "C5"), depthwise_as_configured=True),
        pad_to_multiple=config.pad_to_multiple,
    )


FACTORIES: dict[str, FeatureExtractorFactory] = {
    "ssd_mobiledet_cpu": partial(ssd_mobiledet, architecture=CPU),
    "ssd_mobiledet_dsp": partial(ssd_mobiledet, architecture=DSP),
    "ssd_mobiledet_edgetpu": partial(ssd_mobiledet, architecture=EDGETPU),
    "ssd_mobiledet_gpu": partial(ssd_mobiledet, architecture=GPU),
}
