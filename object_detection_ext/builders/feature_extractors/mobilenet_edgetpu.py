"""MobileNet EdgeTPU with the feature maps of an SSD."""

from __future__ import annotations

from functools import partial

from object_detection_ext.builders.feature_extractors.common import FeatureExtractorFactory
from object_detection_ext.builders.feature_extractors.mobilenet_v3 import ssd_mobilenet_v3
from object_detection_ext.models.backbones.mobilenet_edgetpu import EDGETPU

FACTORIES: dict[str, FeatureExtractorFactory] = {
    "ssd_mobilenet_edgetpu": partial(ssd_mobilenet_v3, architecture=EDGETPU, endpoints=("layer_18/expansion_output", "layer_23")),
}
