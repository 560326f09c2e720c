"""Post-processing from proto text: equal to the dataclass, or an error that starts with the field's path."""

from __future__ import annotations

import re

import numpy as np
import pytest
from google.protobuf import text_format

from object_detection_ext.builders.post_processing import build_post_processing
from object_detection_ext.errors import InputError
from object_detection_ext.postprocess import PostProcessing
from object_detection_ext.protos import post_processing_pb2

FLOAT32_0_6 = float(np.float32(0.6))  # the default, as protobuf stores it


def build(text, **settings):
    return build_post_processing(text_format.Parse(text, post_processing_pb2.PostProcessing()), **settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", PostProcessing("identity", iou_threshold=FLOAT32_0_6)),
        ("score_converter: SOFTMAX logit_scale: 2", PostProcessing("softmax", iou_threshold=FLOAT32_0_6, logit_scale=2.0)),
        (
            "score_converter: SIGMOID batch_non_max_suppression { score_threshold: 0.25 iou_threshold: 0.5 max_detections_per_class: 5"
            " max_total_detections: 8 soft_nms_sigma: 0.5 use_class_agnostic_nms: true }",
            PostProcessing("sigmoid", 0.25, 0.5, 5, 8, soft_nms_sigma=0.5, class_agnostic=True),
        ),
        (
            "batch_non_max_suppression { iou_threshold: 0.5 use_static_shapes: true use_cpu_nms: true use_hard_nms: true"
            " use_partitioned_nms: true change_coordinate_frame: true }",
            PostProcessing("identity", iou_threshold=0.5),
        ),
    ],
    ids=["defaults", "softmax", "everything", "kernels"],
)
def test_builds(text, expected):
    assert build(text) == expected


def test_without_a_background_class():
    assert not build("", has_background=False).has_background


NMS = "model.ssd.post_processing.batch_non_max_suppression"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_non_max_suppression { iou_threshold: 1.5 }", f"{NMS}.iou_threshold must be in [0, 1], got 1.5"),
        (
            "batch_non_max_suppression { max_total_detections: 50 }",
            f"{NMS}.max_detections_per_class must be <= max_total_detections (50), got 100",
        ),
        ("batch_non_max_suppression { soft_nms_sigma: -1 }", f"{NMS}.soft_nms_sigma must be >= 0, got -1"),
        ("batch_non_max_suppression { use_combined_nms: true }", f"{NMS}.use_combined_nms is not supported"),
        ("batch_non_max_suppression { max_classes_per_detection: 2 }", f"{NMS}.max_classes_per_detection must be 1, got 2"),
        ("batch_non_max_suppression { soft_nms_sigma: 0.5 use_hard_nms: true }", f"{NMS}.soft_nms_sigma must be 0 with use_hard_nms"),
        ("logit_scale: -2", "model.ssd.post_processing.logit_scale must be > 0, got -2"),
        ("calibration_config {}", "model.ssd.post_processing.calibration_config is not supported"),
    ],
)
def test_refuses_with_the_path_of_the_field(text, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        build(text)
