"""Runs every form of a model on the same evaluation images, side by side, each in a process of its own, and says what came out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.certificate import served
from export.certificate.certificate import Certificate
from export.certificate.comparison import Comparison, compare, detections_of, tolerances_of
from export.certificate.divergence import first_divergence
from export.certificate.reference import run_checkpoint
from export.certificate.samples import half_pixel_inputs, load_samples
from export.certificate.subject import Outputs, run_apart
from export.flavours import Flavour
from export.model import TrainedModel
from export.multiply_adds import Int8Share, int8_share
from export.outside_suppression import load_outside_suppression
from export.quantization.int8 import TRAINING
from export.quantization.layers import LayerFidelity
from export.saved_model import export_saved_model
from object_detection_ext.types import Detections

_DIVERGENCE_IMAGES = 4


class Subject(NamedTuple):
    """A `.tflite`; beside those that are `raw` or `decoded` lies one postprocessing.json."""

    flavour: Flavour
    kind: str  # key of comparison.TOLERANCES
    path: Path


class Examination:
    """Compares `.tflite` files and a SavedModel with their checkpoint.

    Files are run as soon as they are there, beside whatever else is being done: as many at a time as there are processors.
    """

    def __init__(self, model: TrainedModel, *, num_images: int, max_detections: int) -> None:
        """Raises:
        NoImagesError: There are no evaluation images.
        """
        self.samples = load_samples(model, num_images)
        self._model, self._max_detections, self._inputs = model, max_detections, self.samples.network_inputs
        self._scratch = tempfile.TemporaryDirectory()
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._runs: list[tuple[Subject, Future[Outputs]]] = []
        self._half_pixel: Future[Outputs] | None = None
        self._suppressions: dict[Flavour, Callable[..., Detections]] = {}
        folder = Path(self._scratch.name)
        np.save(folder / "inputs.npy", self._inputs)
        np.save(folder / "pixels.npy", np.stack([np.asarray(model.detector.denormalize(image)) for image in self._inputs]))
        export_saved_model(model, folder / "exported", input_type="float_image_tensor")
        self._served = self._run(folder / "exported" / "saved_model", "pixels", module=served.__name__)

    def __enter__(self) -> Examination:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._scratch.cleanup()

    def add(self, subject: Subject) -> None:
        """Begins to run a file."""
        if not self._runs and not self._model.detector.image_resizer.pads:
            np.save(Path(self._scratch.name) / "half_pixel.npy", half_pixel_inputs(self._model, self.samples))
            self._half_pixel = self._run(subject.path, "half_pixel")
        self._runs.append((subject, self._run(subject.path, "inputs")))

    def certificate(self, *, layers: Sequence[LayerFidelity] = ()) -> Certificate:
        """What came out, when all have run.

        Args:
            layers: of the int8 network, worst first.

        Raises:
            InputError: A file cannot be run.
        """
        samples, limit = self.samples, self._max_detections
        expected, decoded = run_checkpoint(self._model, self._inputs, max_detections=limit)
        by_content = {"nms": expected, "raw": expected, "decoded": expected._replace(raw_boxes=decoded)}
        found = {"saved_model": self._served.result().best(limit)}
        comparisons = [compare("saved_model", "saved_model", found["saved_model"], by_content["decoded"], samples)]
        for subject, run in self._runs:
            outputs = found[subject.path.name] = self._with_detections(subject, run.result())
            comparisons.append(compare(subject.path.name, subject.kind, outputs, by_content[subject.flavour], samples))
        subjects = [subject for subject, _ in self._runs]
        half_pixel = None
        if self._half_pixel is not None:
            first, outputs = subjects[0], self._with_detections(subjects[0], self._half_pixel.result())
            half_pixel = compare(first.path.name, first.kind, outputs, by_content[first.flavour], samples)
        map_, map_50 = samples.mean_average_precision(detections_of(expected))
        tolerances = tolerances_of(is_fake_quantized=self._model.is_fake_quantized)
        return Certificate(
            config=str(self._model.config.path),
            checkpoint=self._model.checkpoint,
            samples=samples,
            expected=expected,
            map=map_,
            map_50=map_50,
            comparisons=tuple(comparisons),
            half_pixel=half_pixel,
            problems={
                each.name: problem + self._more(each, subjects)
                for each in comparisons
                if (problem := each.problem(map_, tolerances[each.kind])) is not None
            },
            found=found,
            tolerances=tolerances,
            shares=shares_of(subjects),
            layers=tuple(layers),
        )

    def _run(self, path: Path, inputs: str, *, module: str = run_apart.__module__) -> Future[Outputs]:
        folder, name = Path(self._scratch.name), f"{inputs}-{path.stem}.npz"
        num_classes = self._model.detector.num_classes
        return self._pool.submit(run_apart, path, folder / f"{inputs}.npy", folder / name, num_classes=num_classes, module=module)

    def _with_detections(self, subject: Subject, outputs: Outputs) -> Outputs:
        """Suppresses outside where the file does not, as the JSON beside it says."""
        if subject.flavour == "nms":
            return outputs
        if subject.flavour not in self._suppressions:
            suppression = load_outside_suppression(subject.path, subject.flavour, num_anchors=outputs.raw_boxes.shape[1])
            self._suppressions[subject.flavour] = tf.function(suppression.of_batch, autograph=False)
        found = self._suppressions[subject.flavour](tf.constant(outputs.raw_boxes), tf.constant(outputs.raw_scores))
        boxes, classes, scores, counts = (np.asarray(each) for each in (found.boxes, found.classes, found.scores, found.num_detections))
        detected = Outputs(boxes, classes.astype(np.int64), scores, counts.astype(np.int64), outputs.raw_boxes, outputs.raw_scores)
        return detected.best(self._max_detections)

    def _more(self, comparison: Comparison, subjects: Iterable[Subject]) -> str:
        """Where a file that is beyond its tolerance goes astray, and what to do about int8."""
        text, path = "", next((each.path for each in subjects if each.path.name == comparison.name), None)
        float32 = next((each.path for each in subjects if each.kind == "float32"), None)
        if path is not None and float32 is not None and comparison.kind != "float32":
            layer = first_divergence(path.read_bytes(), float32.read_bytes(), self._inputs[:_DIVERGENCE_IMAGES])
            text = f"; {layer}" if layer else "; every layer comes near by itself, the noise adds up"
        offers_training = comparison.kind == "int8" and not self._model.is_fake_quantized
        return f"{text}; {TRAINING}" if offers_training else text


def shares_of(subjects: Iterable[Subject]) -> Mapping[str, Int8Share]:
    """By the name of each int8 file."""
    return {each.path.name: int8_share(each.path.read_bytes()) for each in subjects if each.kind == "int8"}


def certify(
    model: TrainedModel,
    subjects: Iterable[Subject],
    *,
    num_images: int,
    max_detections: int,
    report: Callable[[str], None] = lambda line: None,
) -> Certificate:
    """Examines files that are there already.

    Raises:
        InputError: There are no evaluation images, or a file cannot be run.
    """
    with Examination(model, num_images=num_images, max_detections=max_detections) as examination:
        report(f"certificate: comparing on {len(examination.samples.samples)} of {examination.samples.num_records} evaluation images")
        for subject in subjects:
            examination.add(subject)
        return examination.certificate()
