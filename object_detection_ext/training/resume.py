"""Where a training run goes on: the newest checkpoint of its model_dir, of ours or of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.training import checkpoints
from object_detection_ext.training.averages import averages, copy_weights_to_averages
from object_detection_ext.weights.open import open_weights
from object_detection_ext.weights.restore import EVERYTHING, restore


class Resumed(NamedTuple):
    """What a run goes on from, in words, and the steps behind it."""

    what: str
    step: int


def resume(checkpoint: tf.train.Checkpoint, directory: str) -> Resumed:
    """Loads the newest checkpoint of a folder into network, optimizer and step.

    Weights without the state of an optimizer (the API's, imported ones) must all fit; optimizer slots are then fresh, and moving averages
    begin at the weights.

    Args:
        checkpoint: of `step`, `model` and `optimizer`.

    Raises:
        InputError: there is none, or it belongs to another network, or has averages where the optimizer has none or the reverse.
    """
    prefix = checkpoints.find_checkpoint(directory)
    source = open_weights(prefix)
    if source.scheme == "ours" and checkpoints.has_optimizer(prefix):
        checkpoints.check_fits(checkpoint.model, prefix)
        averaged = checkpoints.average_keys(checkpoint.model, prefix)
        _check_averages(checkpoint.optimizer, prefix, stored=bool(averaged))
        checkpoint.restore(prefix).expect_partial()  # slots of what was trained then and is frozen now have no place
        _average_what_was_frozen(checkpoint.optimizer, list(averaged.values()))
        step = checkpoints.step_of(prefix)
        return Resumed(f"{prefix} (step {step})", step)
    restore(checkpoint.model, source, min_share=EVERYTHING)
    copy_weights_to_averages(checkpoint.optimizer)
    step = source.step or 0
    checkpoint.step.assign(step)
    return Resumed(f"{prefix} (step {step}, {source.kind}: all weights fit, optimizer slots are fresh)", step)


def _check_averages(optimizer: tf_keras.optimizers.legacy.Optimizer, prefix: str, *, stored: bool) -> None:
    if stored != hasattr(optimizer, "shadow_copy"):
        raise InputError(
            f"{prefix} was trained with train_config.optimizer.use_moving_average: {str(stored).lower()}; set that, or take another "
            "model_dir and this checkpoint as fine_tune_checkpoint"
        )


def _average_what_was_frozen(optimizer: tf_keras.optimizers.legacy.Optimizer, averaged: Sequence[tf.Variable]) -> None:
    """Averages of variables that did not train before begin at the weights."""
    stored = {variable.ref() for variable in averaged}
    for variable, average in averages(optimizer):
        if variable.ref() not in stored:
            average.assign(variable)
