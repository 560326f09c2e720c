"""The work of the API's two export scripts: folders laid out as theirs, complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.images import draw_images, eval_records
from export.model import TrainedModel
from export.output_folder import complete_folder
from export.parity import Find, Found, checkpoint_finder, measure_parity, parity_table
from export.postprocess_op import postprocess_op_of
from export.quiet import native_output_hidden
from export.signatures import INPUT_NAME, INPUT_TYPES, in_image_frame, serving_function
from export.tflite_graph import api_tflite_function
from object_detection_ext.data import schema


def export_saved_model(model: TrainedModel, output_directory: str | os.PathLike[str], *, input_type: str) -> None:
    """Writes `checkpoint/ckpt-0`, `saved_model/` and `pipeline.config`.

    Args:
        input_type: One of `signatures.INPUT_TYPES`.

    Raises:
        InputError: `output_directory` is a file.
    """
    network = model.detector.network
    with complete_folder(output_directory) as folder:
        manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=network), str(folder / "checkpoint"), max_to_keep=1)
        manager.save(checkpoint_number=0)
        _save(serving_function(model.detector, input_type), folder / "saved_model", variables=network.variables)
        model.config.save(folder / "pipeline.config")


def export_tflite_saved_model(
    model: TrainedModel, output_directory: str | os.PathLike[str], *, max_detections: int, use_regular_nms: bool
) -> None:
    """Writes `saved_model/`, which the TFLite converter turns into a `.tflite` with fused post-processing.

    Raises:
        InputError: `output_directory` is a file, or the fused operation cannot decode the model's boxes.
    """
    postprocess = postprocess_op_of(model.detector, max_detections=max_detections, use_regular_nms=use_regular_nms)
    with complete_folder(output_directory) as folder:
        _save(api_tflite_function(model.detector, postprocess), folder / "saved_model", variables=model.detector.network.variables)


def compare_saved_model(model: TrainedModel, output_directory: str | os.PathLike[str], *, input_type: str, num_images: int) -> str:
    """Runs an exported SavedModel and the checkpoint on images of the config's records; returns a table for people.

    Raises:
        InputError: There are no records to compare on.
    """
    images = list(draw_images(eval_records(model.config), num_images))
    find = checkpoint_finder(in_image_frame(model.detector))
    expected = [find(image) for image in images]
    parity = measure_parity(expected, _saved_model_finder(Path(output_directory) / "saved_model", input_type), images)
    return parity_table([("saved_model", parity)])


def _save(function: Any, path: Path, *, variables: Sequence[tf.Variable]) -> None:
    """Saves one traced function as `serving_default`, with the variables it reads.

    Not the Keras model around them: with it, every layer would be traced and saved as well, which takes ten times as long.
    """
    module = tf.Module()
    module.weights = list(variables)
    module.serve = function
    with native_output_hidden():
        tf.saved_model.save(module, str(path), signatures=function)


def _saved_model_finder(path: Path, input_type: str) -> Find:
    with native_output_hidden():
        loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def find(image: np.ndarray) -> Found:
        _ = loaded  # the signature alone does not keep its variables alive
        outputs = serve(**{INPUT_NAME: _as_input(image, input_type)})
        count = int(outputs["num_detections"][0])
        boxes, scores, classes = (outputs[f"detection_{name}"].numpy()[0, :count] for name in ("boxes", "scores", "classes"))
        return Found(boxes, scores, classes.astype(int) - 1)

    return find


def _as_input(image: np.ndarray, input_type: str) -> tf.Tensor:
    """One image [H, W, 3] uint8 in the form a signature takes."""
    spec = INPUT_TYPES[input_type].spec
    if spec.dtype != tf.string:
        return tf.constant(image[np.newaxis], spec.dtype)
    encoded = tf.io.encode_png(image)
    if input_type == "tf_example":
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded.numpy()]))
        example = tf.train.Example(features=tf.train.Features(feature={schema.IMAGE_ENCODED: feature}))
        return tf.constant([example.SerializeToString()])
    return encoded[tf.newaxis]
