"""Target assignment against the original's numbers: every variant, exactly but for the box codes (1e-5 relative)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from object_detection_ext.targets.assigner import TargetAssigner
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder
from object_detection_ext.targets.matcher import ArgMaxMatcher
from object_detection_ext.targets.similarity import IouSimilarity, NegSqDistSimilarity
from object_detection_ext.types import Targets

ASSIGNER = TargetAssigner(IouSimilarity(), ArgMaxMatcher(0.5, force_match_for_each_row=True), FasterRcnnBoxCoder())
IGNORING = ArgMaxMatcher(0.6, 0.4)
VARIANTS = {
    "bg_zeros": dataclasses.replace(ASSIGNER, background="none"),
    "bg_class": dataclasses.replace(ASSIGNER, background="class"),
    "thr_0.6_0.4_noforce": dataclasses.replace(ASSIGNER, matcher=IGNORING, background="none"),
    "thr_0.6_0.4_neg_ignored": dataclasses.replace(
        ASSIGNER,
        matcher=ArgMaxMatcher(0.6, 0.4, negatives_lower_than_unmatched=False, force_match_for_each_row=True),
        background="none",
    ),
}
ANCHORS = np.float32([[0.0, 0.0, 0.5, 0.5], [0.0, 0.5, 0.5, 1.0], [0.5, 0.0, 1.0, 0.5], [0.5, 0.5, 1.0, 1.0]])


def assign(traced, assigner, ground_truth, anchors, num_classes) -> Targets:
    targets = traced(lambda truth, anchors: assigner(truth, anchors, num_classes=num_classes), ground_truth, anchors)
    return Targets(*(tensor.numpy() for tensor in targets))


@pytest.fixture
def data(golden):
    return np.load(golden("target_assign.npz"))


@pytest.fixture
def golden_truth(data, make_ground_truth):
    lists = [[data[f"gt_{name}_{i}"] for i in range(6)] for name in ("boxes", "classes0", "weights")]
    return make_ground_truth(*lists, size=100)


@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_reference(data, golden_truth, traced, name):
    got = assign(traced, VARIANTS[name], golden_truth, data["anchors"], 3)
    np.testing.assert_array_equal(got.matches, data[f"{name}/match"])
    np.testing.assert_array_equal(got.class_targets, data[f"{name}/cls_targets"])
    np.testing.assert_array_equal(got.class_weights, data[f"{name}/cls_weights"])
    np.testing.assert_array_equal(got.box_weights, data[f"{name}/reg_weights"])
    np.testing.assert_allclose(got.box_targets, data[f"{name}/reg_targets"], rtol=1e-5, atol=1e-6)


def test_background_as_zeros_is_the_same_beside_an_empty_column(data, golden_truth, traced):
    got = assign(traced, ASSIGNER, golden_truth, data["anchors"], 3)
    np.testing.assert_array_equal(got.class_targets[..., 1:], data["bg_zeros/cls_targets"])
    np.testing.assert_array_equal(got.class_targets[..., 0], 0.0)
    np.testing.assert_array_equal(got.class_weights[..., :3], data["bg_zeros/cls_weights"])


def test_one_image_of_one_class(make_ground_truth, traced):
    truth = make_ground_truth([[[0.0, 0.0, 0.5, 0.6]]], [[0]])  # IoU 5/6 with anchor 0, 1/9 with anchor 1
    got = assign(traced, dataclasses.replace(ASSIGNER, negative_class_weight=0.25), truth, ANCHORS, 1)
    np.testing.assert_array_equal(got.matches, [[0, -1, -1, -1]])
    np.testing.assert_array_equal(got.class_targets, [[[0, 1], [0, 0], [0, 0], [0, 0]]])
    np.testing.assert_array_equal(got.class_weights, [[[1, 1], [0.25, 0.25], [0.25, 0.25], [0.25, 0.25]]])
    np.testing.assert_array_equal(got.box_weights, [[1, 0, 0, 0]])
    # Centre (0.25, 0.3) against (0.25, 0.25), width 0.6 against 0.5.
    np.testing.assert_allclose(got.box_targets[0, 0], [0, 10 * 0.05 / 0.5, 0, 5 * np.log(1.2)], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got.box_targets[0, 1:], 0.0)


def test_padding_has_no_effect(make_ground_truth, traced):
    boxes, classes = [[[0.0, 0.0, 0.5, 0.6]], []], [[2], []]
    narrow = assign(traced, ASSIGNER, make_ground_truth(boxes, classes, size=1), ANCHORS, 3)
    wide = assign(traced, ASSIGNER, make_ground_truth(boxes, classes, size=50), ANCHORS, 3)
    for left, right in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("assigner", [ASSIGNER, dataclasses.replace(ASSIGNER, matcher=ArgMaxMatcher(None))], ids=["threshold", "none"])
def test_no_boxes_at_all(make_ground_truth, traced, assigner, size):
    got = assign(traced, assigner, make_ground_truth([[], []], [[], []], size=size), ANCHORS, 3)
    np.testing.assert_array_equal(got.matches, np.full((2, 4), -1))
    np.testing.assert_array_equal(got.class_targets, np.zeros((2, 4, 4)))
    np.testing.assert_array_equal(got.class_weights, np.ones((2, 4, 4)))
    np.testing.assert_array_equal(got.box_targets, np.zeros((2, 4, 4)))
    np.testing.assert_array_equal(got.box_weights, np.zeros((2, 4)))


def test_a_box_of_weight_zero_silences_its_anchor_but_claims_none(make_ground_truth, traced):
    # The first covers anchor 0; the second overlaps anchor 3 too little to match and would have to be forced.
    truth = make_ground_truth([[[0.0, 0.0, 0.5, 0.5], [0.6, 0.6, 0.7, 0.7]]], [[0, 0]], [[0.0, 0.0]])
    got = assign(traced, ASSIGNER, truth, ANCHORS, 1)
    np.testing.assert_array_equal(got.matches, [[0, -1, -1, -1]])
    np.testing.assert_array_equal(got.class_weights[0, :, 0], [0, 1, 1, 1])
    np.testing.assert_array_equal(got.box_weights, np.zeros((1, 4)))


def test_another_similarity(make_ground_truth, traced):
    assigner = TargetAssigner(NegSqDistSimilarity(), ArgMaxMatcher(None, force_match_for_each_row=True), FasterRcnnBoxCoder())
    truth = make_ground_truth([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]], [[0, 1]])
    np.testing.assert_array_equal(assign(traced, assigner, truth, ANCHORS, 2).matches, [[0, 0, 0, 1]])


def test_refuses_a_negative_weight():
    with pytest.raises(ValueError, match="negative_class_weight must be >= 0, got -1"):
        dataclasses.replace(ASSIGNER, negative_class_weight=-1.0)
