"""Opens stored weights of every kind: says what a path is, then hands it to the reader of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from object_detection_ext.errors import InputError
from object_detection_ext.weights.checkpoint_file import open_checkpoint_file
from object_detection_ext.weights.locate import Location, locate_weights
from object_detection_ext.weights.source import WeightSource


def open_weights(
    path: str | Path, *, shapes: Mapping[str, tuple[int, ...]] | None = None, use_moving_averages: bool | None = None
) -> WeightSource:
    """Opens the weights that `path` means.

    Args:
        path: a checkpoint's prefix (with or without `.index`), a folder of checkpoints, a SavedModel folder, the output folder of an
            exporter, a `.pb`, `.h5` or `.pth` file, or `imagenet`.
        shapes: of the network's variables by name. Only `imagenet` needs them, to know which weights to get.
        use_moving_averages: of a checkpoint, the averages of its weights (True) or the weights (False). None for averages where a TF 1
            checkpoint has them: what it was published for.

    Raises:
        InputError: there is no such path, or it is nothing that can be read; says what is accepted.
    """
    location = locate_weights(path)
    if location.kind == "imagenet":
        from object_detection_ext.weights.imagenet import open_imagenet

        if shapes is None:
            raise InputError("imagenet means weights for a network: give a pipeline config too")
        return open_imagenet(shapes)
    if location.kind == "checkpoint":
        return _open_checkpoint(location.path, use_moving_averages=use_moving_averages)
    return _open_other(location)


def _open_checkpoint(prefix: str, *, use_moving_averages: bool | None) -> WeightSource:
    if Path(f"{prefix}.index").is_file() and open_checkpoint_file(prefix).is_object_based:
        from object_detection_ext.weights.object_checkpoint import open_object_checkpoint

        return open_object_checkpoint(prefix, use_moving_averages=bool(use_moving_averages))
    from object_detection_ext.weights.tf1_checkpoint import open_tf1_checkpoint

    return open_tf1_checkpoint(prefix, use_moving_averages=use_moving_averages is not False)


def _open_other(location: Location) -> WeightSource:
    """Each reader is imported when it is needed: some load TensorFlow, which takes seconds, others libraries of their own."""
    match location.kind:
        case "saved_model":
            from object_detection_ext.weights.saved_model import open_saved_model

            return open_saved_model(location.path)
        case "frozen_graph":
            from object_detection_ext.weights.frozen_graph import open_frozen_graph

            return open_frozen_graph(location.path)
        case "keras":
            from object_detection_ext.weights.keras_h5 import open_keras_weights

            return open_keras_weights(location.path)
        case _:
            from object_detection_ext.weights.torch_file import open_torch_file

            return open_torch_file(location.path)
