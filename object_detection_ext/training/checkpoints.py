"""Checkpoints of ours: plain `tf.train.Checkpoint(step, model, optimizer)`, named `ckpt-<step>`.

A functional Keras model is saved by the position of its layers, so a checkpoint of another network can seem to fit. Every restore
here first compares names and shapes and says what differs.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
import tf_keras

from object_detection_ext.errors import InputError

_ATTRIBUTE = "/.ATTRIBUTES/VARIABLE_VALUE"
_AVERAGE_SLOT = "/.OPTIMIZER_SLOT/optimizer/average"


def latest_checkpoint(directory: str | Path) -> str | None:
    """Prefix of the newest checkpoint in `directory` (`.../ckpt-1200`), or None."""
    return tf.train.latest_checkpoint(str(directory))


def find_checkpoint(path: str | Path) -> str:
    """The prefix that `path` means: a prefix itself, or the newest of a directory. Raises `InputError` where there is none."""
    text = str(path)
    if Path(text).is_dir():
        prefix = latest_checkpoint(text)
        if prefix is None:
            raise InputError(f"no checkpoint in {text} (expected a file named checkpoint and ckpt-<step>.index)")
        if not Path(prefix + ".index").exists():
            raise InputError(f"{text}/checkpoint names {prefix}, which does not exist")
        return prefix
    prefix = text.removesuffix(".index")
    if not Path(prefix + ".index").exists():
        raise InputError(f"no checkpoint at {text} (expected a directory with checkpoints or a prefix such as model_dir/ckpt-1200)")
    return prefix


def step_of(prefix: str) -> int:
    """The training step stored in a checkpoint; 0 where none is."""
    reader = _open(prefix)
    key = f"step{_ATTRIBUTE}"
    return int(reader.get_tensor(key)) if reader.has_tensor(key) else 0


def restore_network(network: tf_keras.Model, path: str | Path, *, use_moving_averages: bool = False) -> str:
    """Loads all weights of `network` from a checkpoint (directory or prefix) and returns its prefix.

    With `use_moving_averages` variables take their averages, as `eval_config.use_moving_averages` asks; frozen ones have none.

    Raises:
      InputError: there is no checkpoint, it belongs to another network (the message names the first differing variable), or it holds
        no averages.
    """
    prefix = find_checkpoint(path)
    check_fits(network, prefix)
    tf.train.Checkpoint(model=network).read(prefix).expect_partial()
    if use_moving_averages:
        _assign_averages(network, prefix)
    return prefix


def _assign_averages(network: tf_keras.Model, prefix: str) -> None:
    reader = _open(prefix)
    keys = average_keys(network, prefix)
    if not keys:
        raise InputError(
            f"{prefix} holds no moving averages: it was trained with train_config.optimizer.use_moving_average: false, "
            "so eval_config.use_moving_averages must be false too"
        )
    for key, variable in keys.items():
        variable.assign(reader.get_tensor(key))


def average_keys(network: tf_keras.Model, prefix: str) -> dict[str, tf.Variable]:
    """Checkpoint key of each moving average that a checkpoint holds, with the variable that it averages."""
    reader = _open(prefix)
    slots = {f"{key.removesuffix(_ATTRIBUTE)}{_AVERAGE_SLOT}{_ATTRIBUTE}": variable for key, variable in variable_keys(network).items()}
    return {key: variable for key, variable in slots.items() if reader.has_tensor(key)}


def check_fits(network: tf_keras.Model, prefix: str) -> None:
    """Raises `InputError` unless the checkpoint holds exactly the variables of `network`, shape by shape."""
    stored = {key: tuple(shape) for key, shape in _open(prefix).get_variable_to_shape_map().items()}
    model_keys = {key for key in stored if key.startswith("model/") and key.endswith(_ATTRIBUTE) and "/.OPTIMIZER_SLOT/" not in key}
    if not model_keys:
        raise InputError(f"{prefix} holds no network of ours (its first keys are {', '.join(sorted(stored)[:3]) or 'none'})")
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


def variable_keys(network: tf_keras.Model) -> dict[str, tf.Variable]:
    """Checkpoint key of every weight of a flat functional network."""
    keys: dict[str, tf.Variable] = {}
    weighted = [layer for layer in network.layers if layer.weights]
    for index, layer in enumerate(weighted):
        for variable in layer.weights:
            attribute = variable.name.split("/")[-1].split(":")[0]
            keys[f"model/layer_with_weights-{index}/{attribute}{_ATTRIBUTE}"] = variable
    return keys


def _open(prefix: str) -> tf.train.CheckpointReader:
    try:
        return tf.train.load_checkpoint(prefix)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot read checkpoint {prefix}: {str(error).splitlines()[0]}") from error
