"""The variables of a SavedModel: the API's exports, ours, Keras's, and those of TF 1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from object_detection_ext.errors import InputError
from object_detection_ext.weights.checkpoint_file import open_checkpoint_file
from object_detection_ext.weights.object_checkpoint import open_object_checkpoint
from object_detection_ext.weights.source import WeightSource

VARIABLES = "variables/variables"


def open_saved_model(folder: str | Path) -> WeightSource:
    """Opens the variables of a SavedModel folder, without loading its graph.

    Raises:
        InputError: It has no variables (a frozen graph was saved), or they are damaged.
    """
    folder = Path(folder)
    prefix = str(folder / VARIABLES)
    if not Path(f"{prefix}.index").is_file():
        raise InputError(
            f"SavedModel {folder} has no variables ({VARIABLES}.index): its weights are constants of the graph; give the checkpoint that "
            "it was exported from, or the frozen_inference_graph.pb beside it"
        )
    if open_checkpoint_file(prefix).is_object_based:
        return replace(open_object_checkpoint(prefix, what="SavedModel"), path=str(folder))
    from object_detection_ext.weights.tf1_checkpoint import open_tf1_checkpoint

    source = open_tf1_checkpoint(prefix)
    return replace(source, path=str(folder), kind=f"SavedModel with the variables of a {source.kind}")
