"""Classification losses: weighted, per anchor and class, not reduced.

Every loss takes `logits` and `targets` `[B, A, C]` float32 (targets one-hot, or all 0 for background) and `weights` `[B, A, C]` or
`[B, A, 1]`, and returns `[B, A, C]`, or `[B, A, 1]` where the classes compete (softmax).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf


class ClassificationLoss(Protocol):
    def __call__(self, logits: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor: ...


@dataclass(frozen=True)
class SigmoidLoss:
    """Sigmoid cross entropy: `w (-t log p - (1 - t) log(1 - p))` with `p = sigmoid(x)`."""

    def __call__(self, logits: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor:
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits) * weights


@dataclass(frozen=True)
class SigmoidFocalLoss:
    """Focal loss: `-w alpha_t (1 - p_t)^gamma log(p_t)` (Lin et al., ICCV 2017, equation 5).

    `p_t = t p + (1 - t) (1 - p)` with `p = sigmoid(x)`, `alpha_t = t alpha + (1 - t) (1 - alpha)`; `alpha=None` leaves `alpha_t` out.
    """

    gamma: float = 2.0
    alpha: float | None = 0.25

    def __post_init__(self) -> None:
        if self.gamma < 0.0:
            raise ValueError(f"gamma must be >= 0, got {self.gamma}")
        if self.alpha is not None and not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha}")

    def __call__(self, logits: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor:
        if self.alpha is not None:
            weights = weights * ((1.0 - self.alpha) + (2.0 * self.alpha - 1.0) * targets)
        return _focal_cross_entropy(logits, targets, weights, self.gamma)


@dataclass(frozen=True)
class SoftmaxLoss:
    """Softmax cross entropy over the columns, logits divided by `logit_scale`; the mean of an anchor's weights is its weight."""

    logit_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.logit_scale > 0.0:
            raise ValueError(f"logit_scale must be > 0, got {self.logit_scale}")

    def __call__(self, logits: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor:
        loss = tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits / self.logit_scale)  # [B, A]
        return loss[..., tf.newaxis] * tf.reduce_mean(weights, axis=-1, keepdims=True)


@dataclass(frozen=True)
class BootstrappedSigmoidLoss:
    """Sigmoid cross entropy against `alpha t + (1 - alpha) q` (Reed et al., ICLR 2015 workshop, section 3).

    `q` is the predicted probability (soft) or its rounding at 0.5 (hard); it gets a gradient, as in the API.
    """

    alpha: float
    hard: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha}")

    def __call__(self, logits: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor:
        predicted = tf.sigmoid(logits)
        if self.hard:
            predicted = tf.cast(predicted > 0.5, tf.float32)
        bootstrapped = self.alpha * targets + (1.0 - self.alpha) * predicted
        return tf.nn.sigmoid_cross_entropy_with_logits(labels=bootstrapped, logits=logits) * weights


def _focal_cross_entropy(logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, gamma: float) -> tf.Tensor:
    """`w (1 - p_t)^gamma CE(x, t)` for `t` in {0, 1}, differentiable in the logits.

    The gradient is written out: half the passes over memory that automatic differentiation takes, and finite for gamma < 1.
    """
    # z = (1 - 2 t) x is the logit of being wrong: 1 - p_t = sigmoid(z) and CE = softplus(z), without cancellation.
    sign = 1.0 - 2.0 * targets

    @tf.custom_gradient
    def loss(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        z = sign * x
        wrong = tf.sigmoid(z)
        cross_entropy = tf.nn.softplus(z)
        factor = weights * (tf.square(wrong) if gamma == 2.0 else tf.pow(wrong, gamma))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # d/dz [wrong^gamma CE] = wrong^gamma (gamma (1 - wrong) CE + wrong)
            return upstream * (sign * factor * (gamma * cross_entropy * (1.0 - wrong) + wrong))

        return factor * cross_entropy, gradient

    return loss(logits)
