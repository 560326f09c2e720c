"""Similarities against the original's numbers (1e-5 relative)."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_ext.targets.similarity import IoaSimilarity, IouSimilarity, NegSqDistSimilarity, ThresholdedIouSimilarity


@pytest.mark.parametrize(
    ("similarity", "name"),
    [(IouSimilarity(), "iou"), (IoaSimilarity(), "ioa"), (NegSqDistSimilarity(), "negsq")],
    ids=["iou", "ioa", "neg_sq_dist"],
)
def test_equals_the_reference(golden, traced, similarity, name):
    data = np.load(golden("similarity.npz"))
    np.testing.assert_allclose(traced(similarity, data["boxes1"], data["boxes2"]), data[name], rtol=1e-5, atol=1e-6)


def test_thresholded_iou_is_the_score_where_iou_is_above(traced):
    boxes = np.float32([[0, 0, 1, 1], [0, 0, 1, 0.5]])
    anchors = np.float32([[0, 0, 1, 0.6]])  # IoU 0.6 and 5/6
    similarity = ThresholdedIouSimilarity(0.7)
    np.testing.assert_array_equal(traced(similarity, boxes, anchors), [[0.0], [1.0]])
    np.testing.assert_allclose(similarity(boxes, anchors, scores=np.float32([0.3, 0.4])), [[0.0], [0.4]])


def test_thresholded_iou_equals_the_reference(golden):
    data = np.load(golden("similarity.npz"))
    expected = data["thr_iou"]
    scores = expected.max(axis=1)  # a row holds its box's score or 0
    above = expected > 0
    threshold = (data["iou"][above].min() + data["iou"][~above & (scores[:, None] > 0)].max()) / 2
    similarity = ThresholdedIouSimilarity(float(threshold))
    np.testing.assert_allclose(similarity(data["boxes1"], data["boxes2"], scores=scores), expected, rtol=1e-6)


def test_refuses_an_impossible_threshold():
    with pytest.raises(ValueError, match=r"iou_threshold must be in \[0, 1\], got 2"):
        ThresholdedIouSimilarity(2.0)
