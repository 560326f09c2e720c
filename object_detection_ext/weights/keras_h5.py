"""Weights that Keras wrote to HDF5: those of Keras applications, with or without top, and of models that contain them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_ext.errors import InputError
from object_detection_ext.weights.source import WeightSource

_MODEL = "model_weights"  # the group of the weights in a file of `model.save`
_NEWER_LAYOUT = ("layers", "_layer_checkpoint_dependencies")


def open_keras_weights(path: str | Path) -> WeightSource:
    """Opens a `.h5` file of `model.save_weights` or `model.save`, whose weights have the names of their layers.

    Weights are named `<layer>/<weight>` without `:0`. A layer that is a model itself is looked into; a number that TensorFlow has put
    behind a layer's name (`Conv1_7/kernel`) is dropped.

    Raises:
        InputError: no such file, no HDF5, no weights of Keras, or the newer layout (`.weights.h5`, `.keras`), which counts layers
            by class instead of naming them.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise InputError(f"Keras weights {path} do not exist")
    if zipfile.is_zipfile(path):
        raise _newer_layout(path)
    try:
        with h5py.File(path, "r") as file:
            values = dict(_weights(file.get(_MODEL, file), path))
    except OSError as error:
        raise InputError(f"{path} is not an HDF5 file: {str(error).splitlines()[0]}") from error
    if not values:
        raise InputError(f"{path} holds no weights of Keras layers")
    return WeightSource(
        path=str(path),
        kind="Keras weights",
        scheme="keras",
        shapes={name: value.shape for name, value in values.items()},
        read=values.__getitem__,
    )


def _weights(model: Any, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and value of every weight of an HDF5 group that `save_weights` wrote."""
    layers = _names(model, "layer_names")
    if not layers and any(key in model for key in _NEWER_LAYOUT):
        raise _newer_layout(path)
    for layer in layers:
        keys = _names(model[layer], "weight_names")
        owners = {key.rpartition("/")[0] for key in keys}
        for key in keys:
            owner, _, weight = key.rpartition("/")
            yield f"{layer if len(owners) == 1 else owner}/{weight.partition(':')[0]}", np.asarray(model[layer][key])


def _newer_layout(path: Path) -> InputError:
    return InputError(
        f"{path} is in Keras's newer layout (.weights.h5, .keras), which counts layers by class instead of naming them; load it in Keras "
        "and write it anew: model.save_weights('weights.h5') with tf_keras or Keras 2"
    )


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names. Those too long for one attribute lie in `<attribute>0`, `<attribute>1`, ..."""
    parts = [group.attrs[attribute]] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{attribute}{len(parts)}"])
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]
