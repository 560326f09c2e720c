"""Learning-rate schedules of the TF Object Detection API: a float32 rate as a pure function of the step.

Each is a frozen dataclass that `tf_keras` optimizers take as `learning_rate`. Steps are counted from 0.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import tensorflow as tf
import tf_keras


class _Schedule(tf_keras.optimizers.schedules.LearningRateSchedule):
    """What Keras asks for beside `__call__`."""

    def get_config(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class ConstantRate(_Schedule):
    """`rate` at every step."""

    rate: float

    def __post_init__(self) -> None:
        _check_positive("learning_rate", self.rate)

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        return tf.constant(self.rate, tf.float32)


@dataclass(frozen=True)
class CosineDecay(_Schedule):
    """Linear warm-up to `base_rate`, an optional plateau, then half a cosine down to 0 at `total_steps`.

    Rate = base / 2 * (1 + cos(pi * (step - warmup - hold) / (total - warmup - hold))), Loshchilov and Hutter 2017 (SGDR), equation 5
    without restarts; 0 after `total_steps`.
    """

    base_rate: float
    total_steps: int
    warmup_rate: float = 0.0
    warmup_steps: int = 0
    hold_steps: int = 0

    def __post_init__(self) -> None:
        _check_positive("learning_rate_base", self.base_rate)
        if self.warmup_steps + self.hold_steps >= self.total_steps:
            raise ValueError(
                f"total_steps must be larger than warmup_steps + hold_base_rate_steps, got {self.total_steps} "
                f"and {self.warmup_steps} + {self.hold_steps}"
            )
        if self.warmup_steps and self.warmup_rate > self.base_rate:
            raise ValueError(f"warmup_learning_rate must be at most learning_rate_base {self.base_rate:g}, got {self.warmup_rate:g}")

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        plateau_end = self.warmup_steps + self.hold_steps
        progress = (step - plateau_end) / (self.total_steps - plateau_end)
        rate = 0.5 * self.base_rate * (1.0 + tf.cos(math.pi * progress))
        if self.hold_steps:
            rate = tf.where(step > plateau_end, rate, self.base_rate)
        if self.warmup_steps:
            slope = (self.base_rate - self.warmup_rate) / self.warmup_steps
            rate = tf.where(step < self.warmup_steps, slope * step + self.warmup_rate, rate)
        return tf.where(step > self.total_steps, 0.0, rate)


@dataclass(frozen=True)
class ExponentialDecay(_Schedule):
    """`initial_rate * factor ^ ((step - burnin_steps) / decay_steps)` after a constant burn-in, never below `min_rate`.

    A `burnin_rate` of 0 means `initial_rate`, as in the API. With `staircase` the exponent is rounded down.
    """

    initial_rate: float
    decay_steps: int
    factor: float
    staircase: bool = True
    burnin_rate: float = 0.0
    burnin_steps: int = 0
    min_rate: float = 0.0

    def __post_init__(self) -> None:
        _check_positive("initial_learning_rate", self.initial_rate)
        _check_positive("decay_steps", self.decay_steps)
        _check_positive("decay_factor", self.factor)

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        exponent = (step - self.burnin_steps) / self.decay_steps
        if self.staircase:
            exponent = tf.floor(exponent)
        rate = self.initial_rate * tf.pow(tf.constant(self.factor, tf.float32), exponent)
        rate = tf.where(step < self.burnin_steps, self.burnin_rate or self.initial_rate, rate)
        return tf.maximum(rate, self.min_rate)


@dataclass(frozen=True)
class ManualSteps(_Schedule):
    """`rates[i]` from step `boundaries[i - 1]` on; `rates[0]` before the first boundary.

    With `warmup` the rate rises linearly from `rates[0]` at step 0 to `rates[1]` at `boundaries[0]`.
    """

    boundaries: tuple[int, ...]
    rates: tuple[float, ...]
    warmup: bool = False

    def __post_init__(self) -> None:
        if not self.boundaries:
            raise ValueError("schedule must have at least one entry")
        if len(self.rates) != len(self.boundaries) + 1:
            raise ValueError(f"schedule needs one rate more than boundaries, got {len(self.rates)} and {len(self.boundaries)}")
        if self.boundaries[0] <= 0 or any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"schedule steps must be positive and strictly increasing, got {list(self.boundaries)}")

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        passed = tf.reduce_sum(tf.cast(step >= tf.constant(self.boundaries, tf.float32), tf.int32))
        rate = tf.gather(tf.constant(self.rates, tf.float32), passed)
        if self.warmup:
            slope = (self.rates[1] - self.rates[0]) / self.boundaries[0]
            rate = tf.where(step < self.boundaries[0], self.rates[0] + slope * step, rate)
        return rate


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be > 0, got {value:g}")
