"""`SsdFeatureExtractor` -> a feature extractor, chosen by its type's name."""

from __future__ import annotations

import difflib

from object_detection_ext.builders.feature_extractors import mobilenet_v1, mobilenet_v2
from object_detection_ext.builders.feature_extractors.common import FIELD, FeatureExtractorFactory
from object_detection_ext.builders.fields import errors_at
from object_detection_ext.errors import InputError
from object_detection_ext.models.feature_extractor import FeatureExtractor
from object_detection_ext.protos import ssd_pb2

# By the names of the API, and those that users register.
FEATURE_EXTRACTORS: dict[str, FeatureExtractorFactory] = {**mobilenet_v1.FACTORIES, **mobilenet_v2.FACTORIES}

# What comes nearest to the API's other feature extractors, by the beginning of their names.
_NEAREST = {
    "ssd_mobilenet_v2_": "the plain SSD of the same backbone",
    "ssd_mobilenet_": "MobileNetV2",
    "ssd_mobiledet_": "MobileNetV2",
    "ssd_spaghettinet": "MobileNetV2",
    "embedded_ssd_mobilenet_v1": "MobileNetV2",
    "ssd_": "MobileNetV2 with depth_multiplier: 1.4",
}

# The API's types that are not here.
_NOT_SUPPORTED = (
    *("ssd_mobilenet_v1_ppn", "ssd_mobilenet_v2_mnasfpn", "embedded_ssd_mobilenet_v1"),
    *("ssd_mobilenet_v3_large", "ssd_mobilenet_v3_small", "ssd_mobilenet_edgetpu", "ssd_spaghettinet", "ssd_pnasnet"),
    *("ssd_inception_v2", "ssd_inception_v3", *(f"ssd_mobiledet_{device}" for device in ("cpu", "dsp", "edgetpu", "gpu"))),
    *(f"ssd_resnet{depth}_v1_{pyramid}" for depth in (50, 101, 152) for pyramid in ("fpn", "ppn", "fpn_keras")),
    *(f"ssd_efficientnet-b{size}_bifpn_keras" for size in range(8)),
)


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
    if name not in _NOT_SUPPORTED:
        close = difflib.get_close_matches(name, FEATURE_EXTRACTORS, n=1)
        return f"{name!r} is unknown" + (f", did you mean {close[0]}?" if close else "")
    nearest = next(nearest for prefix, nearest in _NEAREST.items() if name.startswith(prefix))
    return f"{name} of the TF Object Detection API is not supported, the nearest is {nearest}: ssd_mobilenet_v2_keras"
