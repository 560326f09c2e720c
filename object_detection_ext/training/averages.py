"""Moving averages of the trained weights: Model Garden's `ExponentialMovingAverage` around the optimizer, from its first value on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf
import tf_keras


class _Trained(NamedTuple):
    """What Model Garden asks of a model when it makes its shadow copies: only what is trained is averaged."""

    trainable_variables: Sequence[tf.Variable]


def start_averages(optimizer: tf_keras.optimizers.legacy.Optimizer, variables: Sequence[tf.Variable]) -> None:
    """Makes the averages of `variables`, which begin at the present weights; does nothing for an optimizer without averages.

    Model Garden begins at zero, which the growing decay of a run from step 0 forgets within some twenty steps; a run that begins at a
    later step would not.
    """
    if hasattr(optimizer, "shadow_copy"):
        optimizer.shadow_copy(_Trained(variables))
        copy_weights_to_averages(optimizer)


def averages(optimizer: tf_keras.optimizers.legacy.Optimizer | None) -> Iterator[tuple[tf.Variable, tf.Variable]]:
    """Every averaged variable with its average; none without an optimizer that averages."""
    if optimizer is not None and getattr(optimizer, "has_shadow_copy", False):
        yield from zip(optimizer._model_weights, optimizer._average_weights, strict=True)


def copy_weights_to_averages(optimizer: tf_keras.optimizers.legacy.Optimizer) -> None:
    """Sets every average to its variable."""
    for variable, average in averages(optimizer):
        average.assign(variable)
