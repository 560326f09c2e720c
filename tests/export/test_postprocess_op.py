from __future__ import annotations

import dataclasses

import pytest
import tensorflow as tf

from export.model import TrainedModel
from export.postprocess_op import DetectionPostProcess, postprocess_op_of
from object_detection_ext.errors import InputError
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder, SquareBoxCoder

OP = DetectionPostProcess(
    num_classes=3,
    box_coder=FasterRcnnBoxCoder(y_scale=10.0, x_scale=9.0, height_scale=5.0, width_scale=4.0),
    score_threshold=1e-8,
    iou_threshold=0.6,
    max_detections=30,
    max_detections_per_class=20,
)


def test_the_mark_holds_every_attribute_of_the_operation() -> None:
    placeholders = OP(tf.zeros([1, 5, 4]), tf.zeros([1, 5, 4]), tf.zeros([5, 4]))
    assert [float(value) for value in placeholders] == [0.0] * 4
    for part in (
        "name: 'TFLite_Detection_PostProcess'",
        "attr { key: 'max_detections' value { i: 30 } }",
        "attr { key: 'max_classes_per_detection' value { i: 1 } }",
        "attr { key: 'num_classes' value { i: 3 } }",
        "attr { key: 'nms_score_threshold' value { f: 1e-08 } }",
        "attr { key: 'nms_iou_threshold' value { f: 0.6 } }",
        "attr { key: 'y_scale' value { f: 10 } }",
        "attr { key: 'x_scale' value { f: 9 } }",
        "attr { key: 'h_scale' value { f: 5 } }",
        "attr { key: 'w_scale' value { f: 4 } }",
        "attr { key: 'use_regular_nms' value { b: true } }",
    ):
        assert part in OP.implements


def test_settings_come_from_the_detector(model: TrainedModel) -> None:
    made = postprocess_op_of(model.detector, max_detections=12, use_regular_nms=False)
    assert made == DetectionPostProcess(
        num_classes=3,
        box_coder=FasterRcnnBoxCoder(),
        score_threshold=pytest.approx(1e-8),
        iou_threshold=pytest.approx(0.6),
        max_detections=12,
        use_regular_nms=False,
        max_detections_per_class=20,
    )


def test_a_coder_that_the_operation_does_not_know_is_refused(model: TrainedModel) -> None:
    detector = dataclasses.replace(model.detector, box_coder=SquareBoxCoder())
    with pytest.raises(InputError, match="faster_rcnn_box_coder only; the config has SquareBoxCoder"):
        postprocess_op_of(detector, max_detections=10, use_regular_nms=True)


def test_no_detections_is_refused() -> None:
    with pytest.raises(ValueError, match="max_detections must be >= 1, got 0"):
        dataclasses.replace(OP, max_detections=0)
