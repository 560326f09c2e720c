"""The hints at a zero mAP."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.evaluation.coco import CocoEvaluator, ImageDetections, ImageGroundTruth
from object_detection_ext.evaluation.zero_map import explain_zero

BOX = np.array([[0, 0, 50, 50]], np.float32)
FAR = np.array([[200, 200, 250, 250]], np.float32)
NOTHING = np.zeros((0, 4), np.float32)


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
