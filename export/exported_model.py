"""Runs `.tflite` files of every flavour on network inputs, and compares their tensors with the detector's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from export.flavours import OUTPUTS, Flavour
from export.parity import Find, Found, found_in
from export.postprocessing_file import outside_suppression
from export.quiet import native_output_hidden
from export.tflite_file import INPUT_NAME, SIGNATURE
from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector

Outputs = Mapping[str, np.ndarray]


class ExportedModel:
    """A file of ours, as its signature says.

    Raises:
        InputError: Its outputs are those of no flavour.
    """

    def __init__(self, path: str | os.PathLike[str], detector: SsdDetector) -> None:
        with native_output_hidden():
            # One thread: with T > 1 of them the runtime's regular suppression leaves out class T (see postprocess_op).
            self._interpreter = Interpreter(str(path), num_threads=1)
            self._interpreter.allocate_tensors()
            self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        self._dtype = self._runner.get_input_details()[INPUT_NAME]["dtype"]
        self._detector = detector
        self.flavour: Flavour = flavour_of(self._runner.get_output_details(), path)

    def __call__(self, inputs: np.ndarray) -> Outputs:
        """Outputs by name for [h, w, C] float32; a file with an 8-bit input gets the pixels."""
        image = inputs
        if self._dtype != np.float32:
            pixels = np.clip(np.rint(self._detector.denormalize(inputs)), 0, 255)
            image = (pixels + np.iinfo(self._dtype).min).astype(self._dtype)
        return self._runner(**{INPUT_NAME: image[np.newaxis]})


def flavour_of(outputs: Mapping[str, object], path: str | os.PathLike[str]) -> Flavour:
    """The flavour that has these outputs."""
    for flavour, names in OUTPUTS.items():
        if set(names) == set(outputs):
            return flavour
    raise InputError(f"{path}: outputs {', '.join(outputs)} are those of no flavour")


def tflite_finder(path: str | os.PathLike[str], detector: SsdDetector) -> Find:
    """Runs a `.tflite` of ours on network inputs [h, w, C] float32; suppresses outside where the file does not."""
    model = ExportedModel(path, detector)
    if model.flavour != "nms":
        suppress = suppressor(detector, model.flavour)
        return lambda inputs: suppress(model(inputs))

    def find(inputs: np.ndarray) -> Found:
        outputs = model(inputs)
        count = int(outputs["num_detections"][0])
        boxes, scores, classes = (outputs[f"detection_{name}"][0, :count] for name in ("boxes", "scores", "classes"))
        return Found(boxes, scores, classes.astype(int))

    return find


def suppressor(detector: SsdDetector, flavour: Flavour) -> Callable[[Outputs], Found]:
    """From the outputs of a `raw` or `decoded` model to detections, as the detector itself does it."""
    suppression = outside_suppression(detector.postprocessing)

    @tf.function(autograph=False)
    def suppress(boxes: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        return suppression(detector.decode(boxes) if flavour == "raw" else boxes, scores)

    return lambda outputs: found_in(suppress(*(tf.constant(outputs[name]) for name in OUTPUTS[flavour])))


def largest_errors(
    model: Callable[[np.ndarray], Outputs], detector: SsdDetector, samples: Sequence[np.ndarray], flavour: Flavour
) -> dict[str, float]:
    """The largest absolute difference of each output of a `raw` or `decoded` model from the detector's, over network inputs."""

    @tf.function(input_signature=[tf.TensorSpec([1, *detector.input_shape], tf.float32)])
    def predict(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encodings, logits = detector.predict(inputs)
        scores = detector.postprocessing.convert_scores(logits)
        scores = scores[..., 1:] if detector.postprocessing.has_background else scores
        return encodings if flavour == "raw" else detector.decode(encodings), scores

    errors = dict.fromkeys(OUTPUTS[flavour], 0.0)
    for inputs in samples:
        found = model(inputs)
        for name, expected in zip(OUTPUTS[flavour], predict(inputs[np.newaxis]), strict=True):
            if found[name].shape != expected.shape:
                raise RuntimeError(f"{name} has the shape {found[name].shape}, the checkpoint's has {tuple(expected.shape)}")
            errors[name] = max(errors[name], float(np.abs(found[name] - expected.numpy()).max()))
    return errors
