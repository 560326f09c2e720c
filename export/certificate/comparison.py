"""One form of a model against the checkpoint, in numbers, and how much it may differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from export.certificate.samples import SampleSet
from export.certificate.subject import Outputs
from export.parity import Found, Parity, compare_found
from export.quantization.fidelity import decibels
from object_detection_ext.evaluation.coco import ImageDetections


class Tolerance(NamedTuple):
    """The least signal to noise of the outputs before suppression, and the most mAP that may be lost."""

    decibels: float
    map_drop: float  # of 1


# Arithmetic in float32 differs in the last bits only; fp16 keeps 11 bits of every weight (66 dB each; a network adds some 20 dB of noise);
# 8-bit weights or activations keep 7 to 8 bits of their range.
TOLERANCES: Mapping[str, Tolerance] = {
    "saved_model": Tolerance(60.0, 0.002),
    "float32": Tolerance(60.0, 0.002),
    "fp16": Tolerance(35.0, 0.005),
    "dynamic": Tolerance(15.0, 0.01),
    "int8": Tolerance(15.0, 0.01),
    "int16": Tolerance(20.0, 0.01),
}

# A checkpoint that was trained with fake quantisation rounds as its SavedModel and int8 file do. The other files hold its weights as they
# are, differ by what 8 bits are away from float, however much that is, and are judged by their mAP.
_UNROUNDED = Tolerance(0.0, 0.03)
_FAKE_QUANTIZED = {kind: TOLERANCES[kind] if kind in ("saved_model", "int8") else _UNROUNDED for kind in TOLERANCES}


def tolerances_of(*, is_fake_quantized: bool) -> Mapping[str, Tolerance]:
    """By kind, for a checkpoint that was trained in float or with fake quantisation."""
    return _FAKE_QUANTIZED if is_fake_quantized else TOLERANCES


class Comparison(NamedTuple):
    """How far one form of the model is from the checkpoint."""

    name: str  # of the file
    kind: str  # key of TOLERANCES
    box_decibels: float
    score_decibels: float
    max_box_error: float  # of the box codes; of a SavedModel, of decoded boxes
    max_score_error: float
    parity: Parity
    map: float  # COCO's, on the same images
    map_50: float

    def problem(self, reference_map: float, tolerance: Tolerance) -> str | None:
        """What is beyond the tolerance, None where nothing is."""
        for what, value in (("boxes", self.box_decibels), ("scores", self.score_decibels)):
            if value < tolerance.decibels:
                least = f"{self.kind} must reach {tolerance.decibels:g} dB"
                return f"the {what} before suppression differ: {value:.1f} dB signal to noise, {least}"
        drop = reference_map - self.map
        if drop > tolerance.map_drop:
            return f"mAP falls by {drop:.4f} from {reference_map:.4f}; {self.kind} may lose {tolerance.map_drop:g}"
        return None


def compare(name: str, kind: str, found: Outputs, expected: Outputs, samples: SampleSet) -> Comparison:
    """Compares outputs for the same images."""
    map_, map_50 = samples.mean_average_precision(detections_of(found))
    return Comparison(
        name,
        kind,
        _decibels(found.raw_boxes, expected.raw_boxes),
        _decibels(found.raw_scores, expected.raw_scores),
        float(np.abs(found.raw_boxes - expected.raw_boxes).max()),
        float(np.abs(found.raw_scores - expected.raw_scores).max()),
        compare_found(list(_found(expected)), list(_found(found))),
        map_,
        map_50,
    )


def detections_of(outputs: Outputs) -> Iterator[ImageDetections]:
    """Image by image, class ids from 1."""
    for found in _found(outputs):
        yield ImageDetections(boxes=found.boxes, class_ids=found.classes + 1, scores=found.scores)


def _found(outputs: Outputs) -> Iterator[Found]:
    for boxes, classes, scores, count in zip(outputs.boxes, outputs.classes, outputs.scores, outputs.counts, strict=True):
        yield Found(boxes[:count], scores[:count], classes[:count])


def _decibels(found: np.ndarray, expected: np.ndarray) -> float:
    signal = float(np.square(expected, dtype=np.float64).sum())
    return decibels(signal, float(np.square(found - expected, dtype=np.float64).sum()))
