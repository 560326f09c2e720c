"""Detectors built from the reference's configs, with its weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from google.protobuf import text_format

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.protos import pipeline_pb2, ssd_pb2

API_SCOPE = "ssd_mobile_net_v2_keras_feature_extractor/"


class Reference(NamedTuple):
    detector: SsdDetector  # ours, with the reference's weights
    values: Mapping[str, np.ndarray]  # what the reference gave for its own


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
            weights = {key.partition(":")[2].removeprefix(API_SCOPE): stored[key].astype(np.float32) for key in stored.files}
        assert sorted(variable.name for variable in detector.network.variables) == sorted(weights)
        for variable in detector.network.variables:
            variable.assign(weights[variable.name])
        with np.load(golden(f"{name}_io.npz")) as stored:
            return Reference(detector, dict(stored))

    return load
