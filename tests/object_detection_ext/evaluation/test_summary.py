"""The table of metrics and the hints at a zero mAP."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.evaluation.coco import CATEGORY_PREFIX, METRIC_NAMES, CocoEvaluator, ImageDetections, ImageGroundTruth
from object_detection_ext.evaluation.summary import explain_zero, format_metrics

BOX = np.array([[0, 0, 50, 50]], np.float32)
FAR = np.array([[200, 200, 250, 250]], np.float32)
NOTHING = np.zeros((0, 4), np.float32)


def test_table_holds_every_number_once() -> None:
    metrics = {name: (n + 1) / 100 for n, name in enumerate(METRIC_NAMES)} | {CATEGORY_PREFIX + "cat": 0.5, CATEGORY_PREFIX + "dog": -1.0}
    lines = format_metrics(metrics).splitlines()
    assert lines[1].split()[-4:] == ["0.010", "0.040", "0.050", "0.060"]
    assert lines[2].split()[-1] == "0.020"
    assert lines[6].split()[-4:] == ["0.090", "0.100", "0.110", "0.120"]
    assert lines[-2].split() == ["cat", "0.500"]
    assert lines[-1].split() == ["dog", "-"]


def test_table_without_classes() -> None:
    assert "class" not in format_metrics(dict.fromkeys(METRIC_NAMES, -1.0))


@pytest.mark.parametrize(
    ("truth", "true_class", "boxes", "class_id", "score", "hint"),
    [
        (NOTHING, 1, BOX, 1, 0.9, "have no ground-truth box"),
        (BOX, 9, BOX, 1, 0.9, "have no ground-truth box"),
        (BOX, 1, NOTHING, 1, 0.9, "found nothing in 1 images"),
        (BOX, 1, BOX, 1, 0.01, "best score of all detections is 0.010"),
        (BOX, 1, BOX, 2, 0.9, "annotated classes (cat) and detected classes (dog) have nothing in common"),
        (BOX, 1, BOX, 2, 0.9, "boxes fit (best IoU 1.00) but with the wrong classes"),
        (BOX, 1, FAR, 1, 0.9, "no detection overlaps"),
    ],
    ids=["no ground truth", "class not in label map", "no detections", "low scores", "disjoint classes", "wrong class", "wrong place"],
)
def test_hints(truth: np.ndarray, true_class: int, boxes: np.ndarray, class_id: int, score: float, hint: str) -> None:
    evaluator = CocoEvaluator({1: "cat", 2: "dog"})
    evaluator.add(
        "a",
        ImageGroundTruth(truth, np.full(len(truth), true_class)),
        ImageDetections(boxes, np.full(len(boxes), class_id), np.full(len(boxes), score, np.float32)),
    )
    assert any(hint in line for line in explain_zero(evaluator))


def test_no_images() -> None:
    assert explain_zero(CocoEvaluator({1: "cat"})) == ["no image was evaluated"]


def test_a_good_model_gets_no_hint() -> None:
    evaluator = CocoEvaluator({1: "cat"})
    evaluator.add("a", ImageGroundTruth(BOX, np.array([1])), ImageDetections(BOX, np.array([1]), np.array([0.9], np.float32)))
    assert explain_zero(evaluator) == []
