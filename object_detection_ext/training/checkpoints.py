"""Checkpoints of ours: plain `tf.train.Checkpoint(step, model, optimizer)`, named `ckpt-<step>`.

A functional Keras model is saved by the position of its layers, so a checkpoint of another network can seem to fit. Every restore
here first compares names and shapes and says what differs.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.models.quantization_state import is_quantization_state
from object_detection_ext.weights.advice import no_ranges
from object_detection_ext.weights.checkpoint_file import VALUE, open_checkpoint_file
from object_detection_ext.weights.locate import locate_weights, newest_checkpoint
from object_detection_ext.weights.object_checkpoint import AVERAGE
from object_detection_ext.weights.open import open_weights
from object_detection_ext.weights.restore import EVERYTHING, restore


def latest_checkpoint(directory: str | Path) -> str | None:
    """Prefix of the newest checkpoint in `directory` (`.../ckpt-1200`), or None. Raises `InputError`: the one that it names is gone."""
    return newest_checkpoint(Path(directory))


def find_checkpoint(path: str | Path) -> str:
    """The prefix of the checkpoint that `path` means: a prefix itself, or the newest of a folder. Of other stored weights, their path.

    Raises `InputError` where there is none.
    """
    return locate_weights(path).path


def step_of(prefix: str) -> int:
    """The training step stored in a checkpoint; 0 where none is."""
    is_checkpoint = Path(f"{prefix}.index").is_file()
    return (open_checkpoint_file(prefix).step or 0) if is_checkpoint else 0


def save_network(network: tf_keras.Model, directory: str | Path, *, step: int) -> str:
    """Writes `ckpt-<step>` without an optimizer, as the newest checkpoint of `directory`, and returns its prefix."""
    checkpoint = tf.train.Checkpoint(step=tf.Variable(step, dtype=tf.int64, trainable=False, name="step"), model=network)
    return tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=1).save(checkpoint_number=step)


def restore_network(network: tf_keras.Model, path: str | Path, *, use_moving_averages: bool = False) -> str:
    """Loads all weights of `network` from a checkpoint (folder or prefix) and returns its prefix.

    A checkpoint of ours, or any other weights that `open_weights` reads: those of the API take the place of ours if they are complete.
    With `use_moving_averages` variables take their averages, as `eval_config.use_moving_averages` asks; frozen ones have none.

    Raises:
      InputError: there is no checkpoint, it belongs to another network (the message names the first differing variable), or it holds
        no averages.
    """
    kind, prefix = locate_weights(path)
    source = open_weights(prefix, use_moving_averages=use_moving_averages)
    if source.scheme != "ours" or kind != "checkpoint":
        restore(network, source, min_share=EVERYTHING)
        return prefix
    check_fits(network, prefix)
    tf.train.Checkpoint(model=network).read(prefix).expect_partial()
    if use_moving_averages:
        file = open_checkpoint_file(prefix)
        for key, variable in average_keys(network, prefix).items():
            variable.assign(file.read(key))
    return prefix


def has_optimizer(prefix: str) -> bool:
    """Whether a checkpoint holds the state of an optimizer beside the weights."""
    return any(key.startswith("optimizer/") or "/.OPTIMIZER_SLOT/" in key for key in open_checkpoint_file(prefix).shapes)


def average_keys(network: tf_keras.Model, prefix: str) -> dict[str, tf.Variable]:
    """Checkpoint key of each moving average that a checkpoint holds, with the variable that it averages."""
    stored = open_checkpoint_file(prefix).shapes
    slots = {f"{key.removesuffix(VALUE)}{AVERAGE}{VALUE}": variable for key, variable in variable_keys(network).items()}
    return {key: variable for key, variable in slots.items() if key in stored}


def check_fits(network: tf_keras.Model, prefix: str) -> None:
    """Raises `InputError` unless the checkpoint holds exactly the variables of `network`, shape by shape."""
    stored = open_checkpoint_file(prefix).shapes
    model_keys = {key for key in stored if key.startswith("model/") and key.endswith(VALUE) and "/.OPTIMIZER_SLOT/" not in key}
    if not model_keys:
        raise InputError(f"{prefix} holds no network of ours (its first keys are {', '.join(sorted(stored)[:3]) or 'none'})")
    _check_quantization(network, prefix)
    expected = variable_keys(network)
    for key, variable in expected.items():
        if key not in model_keys:
            raise InputError(f"{prefix} belongs to another model: it has no value for {variable.name} {tuple(variable.shape)}")
        if stored[key] != tuple(variable.shape):
            raise InputError(
                f"{prefix} belongs to another model: {variable.name} has shape {stored[key]} there "
                f"and {tuple(variable.shape)} in the config"
            )
    if len(model_keys) != len(expected):
        raise InputError(
            f"{prefix} belongs to another model: it holds {len(model_keys)} variables, the config's network has {len(expected)}"
        )


def _check_quantization(network: tf_keras.Model, prefix: str) -> None:
    """Raises `InputError` where the checkpoint was trained with fake quantisation and the network is without, or the reverse."""
    has_ranges = any(is_quantization_state(variable.name.partition(":")[0]) for variable in network.weights)
    stored_ranges = any(is_quantization_state(name) for name in open_weights(prefix).shapes)
    if has_ranges and not stored_ranges:
        raise InputError(no_ranges(prefix))
    if stored_ranges and not has_ranges:
        raise InputError(
            f"{prefix} was trained with fake quantisation: set graph_rewriter {{ quantization {{ }} }} as in its pipeline.config, "
            "or make it the fine_tune_checkpoint of a run in float"
        )


def variable_keys(network: tf_keras.Model) -> dict[str, tf.Variable]:
    """Checkpoint key of every weight of a flat functional network."""
    keys: dict[str, tf.Variable] = {}
    weighted = [layer for layer in network.layers if layer.weights]
    for index, layer in enumerate(weighted):
        for variable in layer.weights:
            attribute = variable.name.split("/")[-1].split(":")[0]
            keys[f"model/layer_with_weights-{index}/{attribute}{VALUE}"] = variable
    return keys
