"""The whole loss: the original's loss dictionary for a network's raw predictions (1e-5 relative), normalisation, mining, gradients."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.losses.classification import SigmoidFocalLoss, SigmoidLoss, SoftmaxLoss
from object_detection_ext.losses.detection import DetectionLoss
from object_detection_ext.losses.hard_negatives import HardExampleMiner
from object_detection_ext.losses.localization import GiouLoss, IouLoss, L2Loss, SmoothL1Loss
from object_detection_ext.targets.assigner import TargetAssigner
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder
from object_detection_ext.targets.matcher import ArgMaxMatcher
from object_detection_ext.targets.similarity import IouSimilarity
from object_detection_ext.types import Predictions

ASSIGNER = TargetAssigner(IouSimilarity(), ArgMaxMatcher(0.5, force_match_for_each_row=True), FasterRcnnBoxCoder())
FOCAL = DetectionLoss(ASSIGNER, SigmoidFocalLoss(), SmoothL1Loss(), normalize_localization_by_code_size=True)
MINED = DetectionLoss(
    ASSIGNER,
    SigmoidLoss(),
    SmoothL1Loss(),
    HardExampleMiner(num_hard_examples=3, iou_threshold=0.99, max_negatives_per_positive=1),
)
ANCHORS = np.float32([[0.0, 0.0, 0.5, 0.5], [0.0, 0.5, 0.5, 1.0], [0.5, 0.0, 1.0, 0.5], [0.5, 0.5, 1.0, 1.0]])
BOX = [0.0, 0.0, 0.5, 0.5]  # anchor 0


def evaluate(traced, loss, predictions, truth, anchors=ANCHORS):
    losses = traced(loss, predictions, truth, anchors)
    return float(losses.classification_loss), float(losses.localization_loss)


def zeros(num_classes=1, batch=1):
    return Predictions(tf.zeros([batch, 4, 4]), tf.zeros([batch, 4, num_classes + 1]))


def test_a_whole_network_equals_the_reference(golden, make_ground_truth, traced):
    data = np.load(golden("ssdlite_v2_dm0.35_160_io.npz"))
    boxes = [data[f"gt/boxes_{i}"] for i in range(4)]
    truth = make_ground_truth(boxes, [data[f"gt/classes_onehot_{i}"].argmax(axis=1) for i in range(4)])
    predictions = Predictions(data["box_encodings"], data["class_predictions_with_background"])
    classification, localization = evaluate(traced, FOCAL, predictions, truth, data["anchors"])
    assert classification == pytest.approx(float(data["loss_infer/Loss/classification_loss"]), rel=1e-5)
    assert localization == pytest.approx(float(data["loss_infer/Loss/localization_loss"]), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # 4 anchors x 2 columns of log 2, two matches; L2 of two anchors whose four codes are off by 1.
        ({}, (8 * np.log(2) / 2, 4.0 / 2)),
        ({"normalize_by_num_matches": False}, (8 * np.log(2), 4.0)),
        ({"normalize_localization_by_code_size": True}, (8 * np.log(2) / 2, 1.0 / 2)),
        ({"classification_weight": 3.0, "localization_weight": 5.0}, (3 * 8 * np.log(2) / 2, 5 * 4.0 / 2)),
    ],
    ids=["by matches", "not", "by code size", "weights"],
)
def test_normalisation(make_ground_truth, traced, changes, expected):
    loss = dataclasses.replace(DetectionLoss(ASSIGNER, SigmoidLoss(), L2Loss()), **changes)
    truth = make_ground_truth([[BOX, [0.5, 0.5, 1.0, 1.0]]], [[0, 0]])
    predictions = Predictions(tf.ones([1, 4, 4]), tf.zeros([1, 4, 2]))
    assert evaluate(traced, loss, predictions, truth) == pytest.approx(expected, rel=1e-5)


def test_weights_of_matches_normalise_but_never_below_one(make_ground_truth, traced):
    loss = DetectionLoss(ASSIGNER, SigmoidLoss(), SmoothL1Loss())
    truth = make_ground_truth([[BOX]], [[0]], [[0.5]])
    classification, _ = evaluate(traced, loss, zeros(), truth)
    assert classification == pytest.approx((6 + 2 * 0.5) * np.log(2), rel=1e-5)  # divided by max(0.5, 1)


def test_background_column(make_ground_truth, traced):
    loss = DetectionLoss(dataclasses.replace(ASSIGNER, background="class"), SoftmaxLoss(), SmoothL1Loss())
    predictions = zeros()._replace(class_logits=tf.constant([[[10.0, 0.0]] * 4]))
    truth = make_ground_truth([[BOX]], [[0]])
    classification, _ = evaluate(traced, loss, predictions, truth)
    assert classification == pytest.approx(10.0, rel=1e-3)  # the one anchor that says background and is matched


def test_without_a_background_column_all_columns_are_classes(make_ground_truth, traced):
    loss = DetectionLoss(dataclasses.replace(ASSIGNER, background="none"), SigmoidLoss(), SmoothL1Loss())
    predictions = zeros()._replace(class_logits=tf.constant([[[20.0, -20.0, -20.0]] + [[-20.0] * 3] * 3]))
    assert evaluate(traced, loss, predictions, make_ground_truth([[BOX]], [[0]])) == pytest.approx((0.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("localization", [IouLoss(), GiouLoss()], ids=repr)
def test_overlap_losses_see_decoded_boxes(make_ground_truth, traced, localization):
    # The ground truth is half of anchor 0, the prediction the anchor itself: IoU = GIoU = 1/2.
    loss = DetectionLoss(ASSIGNER, SigmoidLoss(), localization)
    truth = make_ground_truth([[[0.0, 0.0, 0.5, 0.25]]], [[0]])
    assert evaluate(traced, loss, zeros(), truth)[1] == pytest.approx(0.5, rel=1e-5)


def test_mining_keeps_the_positive_and_the_hardest_negative(make_ground_truth, traced):
    logits = tf.constant([[[-20.0, -20.0], [-20.0, 3.0], [-20.0, 5.0], [-20.0, -20.0]]])
    truth = make_ground_truth([[BOX]], [[0]])
    classification, _ = evaluate(traced, MINED, zeros()._replace(class_logits=logits), truth)
    assert classification == pytest.approx(20.0 + np.log1p(np.exp(5.0)), rel=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4], ids=["zero", "one", "huge"])
@pytest.mark.parametrize("boxes", [[[], []], [[BOX], []]], ids=["no boxes", "padded"])
@pytest.mark.parametrize(
    "loss",
    [FOCAL, MINED, DetectionLoss(ASSIGNER, SoftmaxLoss(), GiouLoss()), DetectionLoss(ASSIGNER, SigmoidFocalLoss(gamma=0.5), L2Loss())],
    ids=["focal", "mined", "softmax giou", "gamma below 1"],
)
def test_losses_and_gradients_are_finite(make_ground_truth, loss, boxes, scale):
    truth = make_ground_truth(boxes, [[0] * len(rows) for rows in boxes])
    encodings = tf.random.stateless_normal([2, 4, 4], seed=(0, 1)) * min(scale, 100.0)
    logits = tf.random.stateless_normal([2, 4, 3], seed=(0, 2)) * scale
    with tf.GradientTape() as tape:
        tape.watch([encodings, logits])
        losses = loss(Predictions(encodings, logits), truth, ANCHORS)
        total = losses.classification_loss + losses.localization_loss
    gradients = tape.gradient(total, [encodings, logits], unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert np.isfinite(total)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_half_precision_predictions_have_float32_losses(make_ground_truth):
    truth = make_ground_truth([[BOX]], [[0]])
    exact = FOCAL(zeros(), truth, ANCHORS)
    half = FOCAL(Predictions(*(tf.cast(tensor, tf.bfloat16) for tensor in zeros())), truth, ANCHORS)
    assert half.classification_loss.dtype == tf.float32
    assert float(half.classification_loss) == float(exact.classification_loss)


def test_refuses_a_negative_weight():
    with pytest.raises(ValueError, match="localization_weight must be >= 0, got -1"):
        dataclasses.replace(FOCAL, localization_weight=-1.0)
