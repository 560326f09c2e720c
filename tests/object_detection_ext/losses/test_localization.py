"""Localisation losses against the original's numbers (1e-5 relative), and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.losses.localization import GiouLoss, IouLoss, L1Loss, L2Loss, SmoothL1Loss

CASES = {
    "smooth_l1_d1": (SmoothL1Loss(), "box_pred", "box_target"),
    "smooth_l1_d0.5": (SmoothL1Loss(delta=0.5), "box_pred", "box_target"),
    "smooth_l1_nan_ignored": (SmoothL1Loss(), "box_pred", "box_target_nan"),
    "weighted_l2": (L2Loss(), "box_pred", "box_target"),
    "weighted_iou": (IouLoss(), "iou_pred", "iou_target"),
    "weighted_giou": (GiouLoss(), "iou_pred", "iou_target"),
}
LOSSES = [SmoothL1Loss(), SmoothL1Loss(0.1), L2Loss(), L1Loss(), IouLoss(), GiouLoss()]


def call(loss):
    return lambda predictions, targets, weights: loss(predictions, targets, weights=weights)


def gradient(loss, predictions, targets, weights):
    predictions = tf.constant(predictions, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        value = tf.reduce_sum(loss(predictions, tf.constant(targets, tf.float32), weights=tf.constant(weights, tf.float32)))
    return tape.gradient(value, predictions).numpy()


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(golden, traced, name):
    data = np.load(golden("losses.npz"))
    loss, predictions, targets = CASES[name]
    got = traced(call(loss), data[predictions], data[targets], data["weights_anchor"]).numpy()
    np.testing.assert_allclose(got.reshape(data[name].shape), data[name], rtol=1e-5, atol=1e-6)


def test_by_hand(traced):
    predictions, targets = np.float32([[[0.5, 3.0, 0.0, 0.0]]]), np.zeros((1, 1, 4), np.float32)
    weights = np.float32([[2.0]])
    for loss, expected in ((SmoothL1Loss(), 2 * (0.125 + 2.5)), (L1Loss(), 2 * 3.5), (L2Loss(), 0.5 * 4 * (0.25 + 9))):
        np.testing.assert_allclose(traced(call(loss), predictions, targets, weights), [[expected]], rtol=1e-6)


def test_smooth_l1_gradient_is_the_clipped_difference():
    got = gradient(SmoothL1Loss(delta=0.5), [[[0.2, 0.5, 4.0, -4.0]]], np.zeros((1, 1, 4)), [[3.0]])
    np.testing.assert_allclose(got, [[[0.6, 1.5, 1.5, -1.5]]], rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_missing_targets_have_no_loss_and_no_gradient(loss):
    predictions = [[[0.1, 0.2, 0.6, 0.7]]]
    targets = np.full((1, 1, 4), np.nan)
    np.testing.assert_allclose(loss(np.float32(predictions), np.float32(targets), weights=np.float32([[1.0]])), [[0.0]], atol=1e-6)
    assert np.isfinite(gradient(loss, predictions, targets, [[1.0]])).all()


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("box", [[0.0] * 4, [1e4, -1e4, 1e4, -1e4], [0.5, 0.5, 0.1, 0.1]], ids=["empty", "huge", "corners swapped"])
def test_any_prediction_has_a_finite_gradient(loss, box):
    assert np.isfinite(gradient(loss, [[box]], [[[0.0] * 4]], [[1.0]])).all()


def test_only_overlap_losses_want_boxes():
    assert [loss.on_decoded_boxes for loss in LOSSES] == [False] * 4 + [True] * 2


def test_refuses_an_impossible_delta():
    with pytest.raises(ValueError, match="delta must be > 0, got 0"):
        SmoothL1Loss(delta=0.0)
