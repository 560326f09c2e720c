"""The way back: a checkpoint that the original API loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from object_detection_ext.weights.api_names import api_names, feature_extractor_scope, network_graph_keys
from object_detection_ext.weights.names import StoredName


def write_api_checkpoint(network: tf_keras.Model, directory: str | Path, *, step: int) -> str:
    """Writes the weights of `network` as the API's training loop would: `ckpt-<step>`, and the file `checkpoint` that names it.

    The API takes it as the newest checkpoint of a folder, for training, evaluation and export, and as `fine_tune_checkpoint` of type
    "detection" and "full". There are no optimizer slots in it: training goes on with fresh ones.

    Args:
        directory: must exist.

    Returns:
        The checkpoint's prefix.

    Raises:
        ValueError: the API has no such network in TF 2.
    """
    variables = {variable.name.removesuffix(":0"): variable for variable in network.weights}
    scope = feature_extractor_scope(variables)
    keys = network_graph_keys(network)
    if scope is None or len(keys) < len(variables):
        unknown = next((name for name in variables if name not in keys), next(iter(variables)))
        raise ValueError(f"the API's TF 2 code has no network with a variable {unknown}")
    values = _as_api(variables, api_names(list(variables), scope=scope))
    tree = _tree({keys[name]: value for name, value in values.items()})
    counter = tf.Variable(step, dtype=tf.int64, trainable=False, name="global_step")
    checkpoint = tf.train.Checkpoint(step=counter, model=tree)
    return tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=1).save(checkpoint_number=step)


def _as_api(variables: Mapping[str, tf.Variable], names: Mapping[str, StoredName]) -> dict[str, tf.Variable]:
    """Our variables as the API's, with its names, which the checkpoint keeps beside the keys."""
    return {
        name: tf.Variable(stored.from_ours(variables[name].numpy()), name=stored.name, trainable=False) for name, stored in names.items()
    }


def _tree(leaves: Mapping[str, tf.Variable]) -> Any:
    """Objects with attributes along every path: `{"a/b": v}` -> an object whose `a` has `b`. Names need not be Python's."""
    root = tf.train.Checkpoint()
    for path, leaf in leaves.items():
        node = root
        *way, last = path.split("/")
        for name in way:
            if not hasattr(node, name):
                setattr(node, name, tf.train.Checkpoint())
            node = getattr(node, name)
        setattr(node, last, leaf)
    return root
