"""Detectors built from the reference's configs, with its weights."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from google.protobuf import text_format

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.protos import pipeline_pb2, ssd_pb2

API_SCOPE = re.compile(r"ssd_mobile_net_v\d(_fpn)?_keras_feature_extractor/")
# A separable convolution is one layer in the API and two here.
SEPARABLE = {"/depthwise/depthwise_kernel": "/depthwise_kernel", "/pointwise/kernel": "/pointwise_kernel", "/pointwise/bias": "/bias"}


class Reference(NamedTuple):
    detector: SsdDetector  # ours, with the reference's weights
    values: Mapping[str, np.ndarray]  # what the reference gave for its own


def _api_name(variable: str) -> str:
    name = API_SCOPE.sub("", variable.removesuffix(":0"))
    for ours, theirs in SEPARABLE.items():
        if name.endswith(ours):
            return name.removesuffix(ours) + theirs
    return name


@pytest.fixture(scope="session")
def api_name() -> Callable[[str], str]:
    """The name that the API has for a variable of ours or of its own: without the feature extractor's scope and without `:0`."""
    return _api_name


@pytest.fixture(scope="session")
def ssd_config(golden: Callable[[str], Path]) -> Callable[..., ssd_pb2.Ssd]:
    """The config of a golden model with text format merged over it."""

    def parse(name: str = "ssdlite_v2_dm0.35_160", overrides: str = "") -> ssd_pb2.Ssd:
        pipeline = pipeline_pb2.TrainEvalPipelineConfig()
        text_format.Parse(golden(f"{name}.config").read_text(), pipeline)
        if "keep_aspect_ratio" in overrides:
            pipeline.model.ssd.image_resizer.Clear()
        text_format.Merge(overrides, pipeline.model.ssd)
        return pipeline.model.ssd

    return parse


@pytest.fixture(scope="session")
def reference(golden: Callable[[str], Path], ssd_config: Callable[..., ssd_pb2.Ssd]) -> Callable[[str], Reference]:
    @functools.cache
    def load(name: str) -> Reference:
        detector = build_detector(ssd_config(name))
        with np.load(golden(f"{name}_vars_f16.npz")) as stored:
            weights = {_api_name(key.partition(":")[2]): stored[key].astype(np.float32) for key in stored.files}
        assert sorted(_api_name(variable.name) for variable in detector.network.variables) == sorted(weights)
        for variable in detector.network.variables:
            variable.assign(weights[_api_name(variable.name)])
        with np.load(golden(f"{name}_io.npz")) as stored:
            return Reference(detector, dict(stored))

    return load
