"""`train_config.optimizer` -> a `tf_keras` optimizer with its learning-rate schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.protos import optimizer_pb2
from object_detection_ext.training import schedules

if TYPE_CHECKING:
    from tf_keras.optimizers.schedules import LearningRateSchedule

FIELD = "train_config.optimizer"


def build_learning_rate(config: optimizer_pb2.LearningRate, field: str = FIELD) -> LearningRateSchedule:
    """The schedule that `config` describes; raises `InputError` with the field's path where a value is impossible."""
    kind = config.WhichOneof("learning_rate")
    if kind is None:
        names = [field.name for field in optimizer_pb2.LearningRate.DESCRIPTOR.fields]
        raise InputError(f"{field}.learning_rate must hold one of {', '.join(names)}")
    message = getattr(config, kind)
    try:
        return _SCHEDULES[kind](message)
    except ValueError as error:
        raise InputError(f"{field}.learning_rate.{kind}.{error}") from error


def build_optimizer(config: optimizer_pb2.Optimizer) -> tf_keras.optimizers.legacy.Optimizer:
    """The optimizer that `config` describes, wrapped in Model Garden's `ExponentialMovingAverage` where it asks for one.

    A wrapped optimizer needs `shadow_copy(network)` before its first step. The API hands RMSProp's `decay` to Keras as a decay of the
    learning rate, which current Keras refuses; here it is the discounting factor rho, as the field's documentation says.
    """
    kind = config.WhichOneof("optimizer")
    if kind is None:
        raise InputError(f"{FIELD} must hold one of {', '.join(_OPTIMIZERS)}")
    message = getattr(config, kind)
    rate = build_learning_rate(message.learning_rate, f"{FIELD}.{kind}")
    optimizer = _OPTIMIZERS[kind](message, rate)
    if not config.use_moving_average:
        return optimizer
    if not 0.0 < config.moving_average_decay < 1.0:
        raise InputError(f"{FIELD}.moving_average_decay must be in (0, 1), got {config.moving_average_decay:g}")
    from official.modeling.optimization import ExponentialMovingAverage  # heavy, and most runs do without

    return ExponentialMovingAverage(optimizer, average_decay=config.moving_average_decay)


def _cosine(m: optimizer_pb2.CosineDecayLearningRate) -> schedules.CosineDecay:
    return schedules.CosineDecay(
        base_rate=m.learning_rate_base,
        total_steps=m.total_steps,
        warmup_rate=m.warmup_learning_rate,
        warmup_steps=m.warmup_steps,
        hold_steps=m.hold_base_rate_steps,
    )


def _exponential(m: optimizer_pb2.ExponentialDecayLearningRate) -> schedules.ExponentialDecay:
    return schedules.ExponentialDecay(
        initial_rate=m.initial_learning_rate,
        decay_steps=m.decay_steps,
        factor=m.decay_factor,
        staircase=m.staircase,
        burnin_rate=m.burnin_learning_rate,
        burnin_steps=m.burnin_steps,
        min_rate=m.min_learning_rate,
    )


def _manual(m: optimizer_pb2.ManualStepLearningRate) -> schedules.ManualSteps:
    return schedules.ManualSteps(
        boundaries=tuple(entry.step for entry in m.schedule),
        rates=(m.initial_learning_rate, *(entry.learning_rate for entry in m.schedule)),
        warmup=m.warmup,
    )


_SCHEDULES = {
    "constant_learning_rate": lambda m: schedules.ConstantRate(m.learning_rate),
    "exponential_decay_learning_rate": _exponential,
    "manual_step_learning_rate": _manual,
    "cosine_decay_learning_rate": _cosine,
}

# Keras's legacy classes: one fused update op per variable, and the ones that Model Garden's moving average wraps.
_OPTIMIZERS = {
    "rms_prop_optimizer": lambda m, rate: tf_keras.optimizers.legacy.RMSprop(
        rate, rho=m.decay, momentum=m.momentum_optimizer_value, epsilon=m.epsilon
    ),
    "momentum_optimizer": lambda m, rate: tf_keras.optimizers.legacy.SGD(rate, momentum=m.momentum_optimizer_value),
    "adam_optimizer": lambda m, rate: tf_keras.optimizers.legacy.Adam(rate, epsilon=m.epsilon),
}
