"""Localisation losses: weighted, per anchor.

Every loss takes `predictions` and `targets` `[B, A, 4]` float32 and `weights` `[B, A]`, and returns `[B, A]`. A NaN in the targets is a
missing number: no loss, no gradient. `on_decoded_boxes` says whether the inputs are boxes (corners) or codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import tensorflow as tf

from object_detection_ext import boxes as box_ops


class LocalizationLoss(Protocol):
    on_decoded_boxes: ClassVar[bool]

    def __call__(self, predictions: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor: ...


@dataclass(frozen=True)
class SmoothL1Loss:
    """`w sum(0.5 d^2 if |d| <= delta else delta (|d| - 0.5 delta))` (Girshick, Fast R-CNN, equation 3; Huber)."""

    on_decoded_boxes: ClassVar[bool] = False
    delta: float = 1.0

    def __post_init__(self) -> None:
        if not self.delta > 0.0:
            raise ValueError(f"delta must be > 0, got {self.delta}")

    def __call__(self, predictions: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor:
        return weights * tf.reduce_sum(_huber(predictions, targets, self.delta), axis=-1)


@dataclass(frozen=True)
class L2Loss:
    """`0.5 sum((w d)^2)`: the weight is squared, as in the API."""

    on_decoded_boxes: ClassVar[bool] = False

    def __call__(self, predictions: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor:
        weighted = _difference(predictions, targets) * weights[..., tf.newaxis]
        return 0.5 * tf.reduce_sum(tf.square(weighted), axis=-1)


@dataclass(frozen=True)
class L1Loss:
    """`w sum(|d|)`."""

    on_decoded_boxes: ClassVar[bool] = False

    def __call__(self, predictions: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor:
        return weights * tf.reduce_sum(tf.abs(_difference(predictions, targets)), axis=-1)


@dataclass(frozen=True)
class IouLoss:
    """`w (1 - IoU)` of decoded boxes."""

    on_decoded_boxes: ClassVar[bool] = True

    def __call__(self, predictions: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor:
        return weights * (1.0 - box_ops.paired_iou(predictions, _fill_missing(predictions, targets)))


@dataclass(frozen=True)
class GiouLoss:
    """`w (1 - GIoU)` of decoded boxes (Rezatofighi et al., CVPR 2019)."""

    on_decoded_boxes: ClassVar[bool] = True

    def __call__(self, predictions: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor) -> tf.Tensor:
        return weights * (1.0 - box_ops.paired_giou(predictions, _fill_missing(predictions, targets)))


def _difference(predictions: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return predictions - _fill_missing(predictions, targets)


def _fill_missing(predictions: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_nan(targets), predictions, targets)


def _huber(predictions: tf.Tensor, targets: tf.Tensor, delta: float) -> tf.Tensor:
    """Smooth L1 per number, differentiable in the predictions, in half the passes over memory of automatic differentiation."""

    @tf.custom_gradient
    def loss(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        # With c = d clipped to [-delta, delta], both branches are c (d - c / 2), and the derivative is c.
        difference = _difference(x, targets)
        clipped = tf.clip_by_value(difference, -delta, delta)
        return clipped * (difference - 0.5 * clipped), lambda upstream: upstream * clipped

    return loss(predictions)
