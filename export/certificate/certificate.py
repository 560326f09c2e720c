"""Runs every form of a model on the same evaluation images and says whether each may be trusted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.certificate.comparison import Comparison, Tolerance, compare, detections_of, tolerances_of
from export.certificate.divergence import first_divergence
from export.certificate.reference import run_checkpoint, run_saved_model
from export.certificate.samples import SampleSet, half_pixel_inputs, load_samples
from export.certificate.subject import Outputs, run_apart
from export.model import TrainedModel
from object_detection_ext.errors import InputError

_PICTURES = 4
_DIVERGENCE_IMAGES = 4
_TRAINING = (
    "quantisation-aware training makes up for it: fine-tune from this checkpoint with graph_rewriter { quantization { delay: 0 } } "
    "(docs/to-the-phone.md)"
)


@dataclass(frozen=True)
class Certificate:
    """What was compared and what came out.

    Attributes:
        checkpoint: its prefix.
        samples: the images.
        expected: the checkpoint's outputs for them.
        map: the checkpoint's mAP and mAP at IoU 0.5 on them.
        comparisons: one a form.
        half_pixel: the first `.tflite` with images resized around pixel centres, as phone apps do.
        problems: name of the form -> what is beyond its tolerance.
        found: name of the form -> its outputs.
        tolerances: by kind.
    """

    config: str
    checkpoint: str
    samples: SampleSet
    expected: Outputs
    map: float
    map_50: float
    comparisons: tuple[Comparison, ...]
    half_pixel: Comparison | None
    problems: Mapping[str, str]
    found: Mapping[str, Outputs]
    tolerances: Mapping[str, Tolerance]

    def write_json(self, path: Path) -> None:
        """Everything but the outputs themselves."""
        path.write_text(json.dumps(self._as_json(), indent=2) + "\n")

    def check(self) -> None:
        """Raises InputError where a form is beyond its tolerance."""
        for name, problem in self.problems.items():
            raise InputError(
                f"{name} is not what the checkpoint is: {problem}; nothing was written (--allow_divergence writes it all the same)"
            )

    def table(self) -> str:
        """A line a form, for people."""
        width = max(len(each.name) for each in self.comparisons)
        lines = [f"{'mAP on ' + str(len(self.samples.samples)) + ' images':{width}}  {'mAP':>6}  {'change':>7}  boxes dB  scores dB"]
        lines.append(f"{'checkpoint':{width}}  {self.map:6.4f}")
        for each in self.comparisons:
            mark = "  beyond tolerance" if each.name in self.problems else ""
            change = f"{each.map - self.map:+7.4f}"
            lines.append(f"{each.name:{width}}  {each.map:6.4f}  {change}  {each.box_decibels:8.1f}  {each.score_decibels:9.1f}{mark}")
        return "\n".join(lines)

    def _as_json(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "checkpoint": self.checkpoint,
            "images": len(self.samples.samples),
            "evaluation_images": self.samples.num_records,
            "checkpoint_map": self.map,
            "checkpoint_map_50": self.map_50,
            "models": [
                self._entry(each) | {"passed": each.name not in self.problems, "problem": self.problems.get(each.name)}
                for each in self.comparisons
            ],
            "half_pixel_resize": self._entry(self.half_pixel) if self.half_pixel else None,
        }

    def _entry(self, comparison: Comparison) -> dict[str, Any]:
        return {**comparison._asdict(), "parity": comparison.parity._asdict(), "tolerance": self.tolerances[comparison.kind]._asdict()}


def certify(
    model: TrainedModel,
    files: Mapping[str, Path],
    *,
    num_images: int,
    max_detections: int,
    report: Callable[[str], None] = lambda line: None,
) -> Certificate:
    """Compares `.tflite` files (by type) and a SavedModel with the checkpoint; each file runs in a process of its own.

    Raises:
        InputError: There are no evaluation images, or a file cannot be run.
    """
    samples = load_samples(model, num_images)
    report(f"certificate: comparing on {len(samples.samples)} of {samples.num_records} evaluation images")
    inputs = samples.network_inputs
    expected, decoded = run_checkpoint(model, inputs, max_detections=max_detections)
    map_, map_50 = samples.mean_average_precision(detections_of(expected))
    num_classes = model.detector.num_classes
    half_pixel = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "inputs.npy", inputs)
        served = run_saved_model(model, inputs, folder / "saved_model", max_detections=max_detections)
        comparisons = [compare("saved_model", "saved_model", served, expected._replace(raw_boxes=decoded), samples)]
        found = {"saved_model": served}
        for kind, path in files.items():
            outputs = run_apart(path, folder / "inputs.npy", folder / "outputs.npz", num_classes=num_classes)
            comparisons.append(compare(path.name, kind, outputs, expected, samples))
            found[path.name] = outputs
        if files and not model.detector.image_resizer.pads:
            kind, path = next(iter(files.items()))
            np.save(folder / "inputs.npy", half_pixel_inputs(model, samples))
            outputs = run_apart(path, folder / "inputs.npy", folder / "outputs.npz", num_classes=num_classes)
            half_pixel = compare(path.name, kind, outputs, expected, samples)
    tolerances = tolerances_of(is_fake_quantized=model.is_fake_quantized)
    seen, offers_training = inputs[:_DIVERGENCE_IMAGES], not model.is_fake_quantized
    problems = {
        each.name: problem + _more(each.kind, files, seen, offers_training=offers_training)
        for each in comparisons
        if (problem := each.problem(map_, tolerances[each.kind])) is not None
    }
    return Certificate(
        str(model.config.path),
        model.checkpoint,
        samples,
        expected,
        map_,
        map_50,
        tuple(comparisons),
        half_pixel,
        problems,
        found,
        tolerances,
    )


def _more(kind: str, files: Mapping[str, Path], inputs: np.ndarray, *, offers_training: bool) -> str:
    """Where a file that is beyond its tolerance goes astray, and what to do about int8."""
    text = ""
    if kind in files and "float32" in files and kind != "float32":
        layer = first_divergence(files[kind].read_bytes(), files["float32"].read_bytes(), inputs)
        text = f"; {layer}" if layer else "; every layer comes near by itself, the noise adds up"
    return f"{text}; {_TRAINING}" if kind == "int8" and offers_training else text
