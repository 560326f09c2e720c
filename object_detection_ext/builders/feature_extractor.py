"""`SsdFeatureExtractor` -> a feature extractor, chosen by its type's name."""

from __future__ import annotations

import difflib

from object_detection_ext.builders.feature_extractors import (
    efficientnet,
    mobiledet,
    mobilenet_edgetpu,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    resnet,
)
from object_detection_ext.builders.feature_extractors.common import FIELD, FeatureExtractorFactory
from object_detection_ext.builders.fields import errors_at
from object_detection_ext.errors import InputError
from object_detection_ext.models.feature_extractor import FeatureExtractor
from object_detection_ext.protos import ssd_pb2

# By the names of the API, and those that users register.
FEATURE_EXTRACTORS: dict[str, FeatureExtractorFactory] = {
    **mobilenet_v1.FACTORIES,
    **mobilenet_v2.FACTORIES,
    **mobilenet_v3.FACTORIES,
    **mobilenet_edgetpu.FACTORIES,
    **mobiledet.FACTORIES,
    **resnet.FACTORIES,
    **efficientnet.FACTORIES,
}

# The API's types that are not here, and what comes nearest: of the same backbone, or of the same kind and size.
_NEAREST: dict[str, str] = {
    "embedded_ssd_mobilenet_v1": "ssd_mobilenet_v1_keras",
    "ssd_mobilenet_v1_ppn": "ssd_mobilenet_v1_fpn_keras",
    "ssd_mobilenet_v2_mnasfpn": "ssd_mobilenet_v2_fpn_keras with use_depthwise: true",
    "ssd_spaghettinet": "ssd_mobiledet_edgetpu",
    "ssd_inception_v2": "ssd_mobilenet_v2_keras with depth_multiplier: 1.4",
    "ssd_inception_v3": "ssd_mobilenet_v2_keras with depth_multiplier: 1.4",
    "ssd_pnasnet": "ssd_efficientnet-b4_bifpn_keras",
    **{f"ssd_resnet{depth}_v1_ppn": f"ssd_resnet{depth}_v1_fpn_keras" for depth in (50, 101, 152)},
}


def build_feature_extractor(config: ssd_pb2.SsdFeatureExtractor, *, freeze_batchnorm: bool = False) -> FeatureExtractor:
    """The feature extractor that `config` describes.

    Raises:
        InputError: names the field; for an unknown type, the types there are.
    """
    factory = FEATURE_EXTRACTORS.get(config.type)
    if factory is None:
        raise InputError(f"{FIELD}.type {_refusal(config.type)}; there are {', '.join(sorted(FEATURE_EXTRACTORS))}")
    with errors_at(FIELD):
        return factory(config, freeze_batchnorm)


def register_feature_extractor(name: str, factory: FeatureExtractorFactory) -> None:
    """Makes `factory` the feature extractor that configs call `name`.

    Args:
        factory: called with the `feature_extractor` message and `ssd.freeze_batchnorm`. A `ValueError("depth must be ...")` from it
            becomes an error about `model.ssd.feature_extractor.depth`.

    Raises:
        ValueError: the name is taken.
    """
    if name in FEATURE_EXTRACTORS:
        raise ValueError(f"feature extractor {name!r} exists already")
    FEATURE_EXTRACTORS[name] = factory


def _refusal(name: str) -> str:
    if not name:
        return "must be set"
    if name not in _NEAREST:
        close = difflib.get_close_matches(name, FEATURE_EXTRACTORS, n=1)
        return f"{name!r} is unknown" + (f", did you mean {close[0]}?" if close else "")
    return f"{name} of the TF Object Detection API is not supported, the nearest is {_NEAREST[name]}"
