"""Classification losses against the original's numbers (1e-5 relative, 1e-6 absolute), and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.losses.classification import BootstrappedSigmoidLoss, SigmoidFocalLoss, SigmoidLoss, SoftmaxLoss

CASES = {
    "weighted_sigmoid": SigmoidLoss(),
    "sigmoid_focal_g2_a0.25": SigmoidFocalLoss(gamma=2.0, alpha=0.25),
    "sigmoid_focal_g2_noalpha": SigmoidFocalLoss(gamma=2.0, alpha=None),
    "sigmoid_focal_g1.5_a0.75": SigmoidFocalLoss(gamma=1.5, alpha=0.75),
    "weighted_softmax": SoftmaxLoss(),
    "weighted_softmax_scale2": SoftmaxLoss(logit_scale=2.0),
    "bootstrapped_soft_.5": BootstrappedSigmoidLoss(alpha=0.5),
    "bootstrapped_hard_.5": BootstrappedSigmoidLoss(alpha=0.5, hard=True),
}
LOSSES = [*CASES.values(), SigmoidFocalLoss(gamma=0.0), SigmoidFocalLoss(gamma=0.5)]


def call(loss):
    return lambda logits, targets, weights: loss(logits, targets, weights=weights)


def gradient(loss, logits, targets, weights):
    logits = tf.convert_to_tensor(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_sum(loss(logits, targets, weights=weights))
    return tape.gradient(value, logits).numpy()


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(golden, traced, name):
    data = np.load(golden("losses.npz"))
    got = traced(call(CASES[name]), data["logits"], data["labels_onehot"], data["weights_elem"]).numpy()
    np.testing.assert_allclose(got.reshape(data[name].shape), data[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_one_weight_an_anchor_is_that_weight_for_each_class(traced, loss):
    logits = np.float32([[[1.0, -2.0], [0.5, 3.0]]])
    targets = np.float32([[[0, 1], [0, 0]]])
    weights = np.float32([[[0.5], [2.0]]])
    one, each = (traced(call(loss), logits, targets, w) for w in (weights, np.tile(weights, (1, 1, 2))))
    np.testing.assert_allclose(one, each, rtol=1e-6)


def test_focal_loss_by_hand(traced):
    # p = 0.5: 0.25 * 0.5^2 * log 2 for the positive, 0.75 * 0.5^2 * log 2 for the negative.
    got = traced(call(SigmoidFocalLoss(2.0, 0.25)), np.zeros((1, 1, 2), np.float32), np.float32([[[1, 0]]]), np.ones((1, 1, 1), np.float32))
    np.testing.assert_allclose(got, [[[0.0625 * np.log(2), 0.1875 * np.log(2)]]], rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_gradient_is_the_derivative(gamma, alpha):
    """Central differences of the formula in float64."""
    x = np.linspace(-6.0, 6.0, 25).reshape(1, -1, 1)
    targets = np.broadcast_to([1.0, 0.0], (1, 25, 2))
    weights = np.float64([[[0.5, 2.0]]])

    def formula(x):
        p = 1.0 / (1.0 + np.exp(-x))
        p_t = targets * p + (1 - targets) * (1 - p)
        alpha_t = 1.0 if alpha is None else targets * alpha + (1 - targets) * (1 - alpha)
        return -weights * alpha_t * (1 - p_t) ** gamma * np.log(p_t)

    expected = (formula(x + 1e-6) - formula(x - 1e-6)) / 2e-6
    logits = np.float32(np.repeat(x, 2, axis=2))
    got = gradient(SigmoidFocalLoss(gamma, alpha), logits, np.float32(targets), np.float32(weights))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_huge_logits_keep_losses_and_gradients_finite(loss):
    logits = np.float32([[[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [0.0, 0.0], [-200.0, 200.0]]])
    targets = np.float32([[[1, 0], [1, 0], [0, 1], [0, 0], [1, 0]]])
    weights = np.ones((1, 5, 1), np.float32)
    assert np.isfinite(loss(logits, targets, weights=weights)).all()
    assert np.isfinite(gradient(loss, logits, targets, weights)).all()


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_no_weight_no_loss_and_no_gradient(loss):
    logits = np.float32([[[3.0, -2.0]]])
    targets, weights = np.float32([[[0, 1]]]), np.zeros((1, 1, 1), np.float32)
    assert not np.any(loss(logits, targets, weights=weights))
    assert not np.any(gradient(loss, logits, targets, weights))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SigmoidFocalLoss(gamma=-1.0), "gamma must be >= 0, got -1"),
        (lambda: SigmoidFocalLoss(alpha=1.5), r"alpha must be in \[0, 1\], got 1.5"),
        (lambda: SoftmaxLoss(logit_scale=0.0), "logit_scale must be > 0, got 0"),
        (lambda: BootstrappedSigmoidLoss(alpha=2.0), r"alpha must be in \[0, 1\], got 2"),
    ],
)
def test_refuses_impossible_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
