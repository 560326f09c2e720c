"""Does an exported file find what the checkpoint finds? Both run on the same images and their detections are matched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from object_detection_ext.types import Detections

if TYPE_CHECKING:
    from object_detection_ext.models.detector import SsdDetector

SCORE_THRESHOLD = 0.3  # detections of the checkpoint below it are not looked for ...
LEAST_DETECTIONS = 5  # ... except that each image's best ones always are, so that a weak model is compared too
MATCH_IOU = 0.5


class Found(NamedTuple):
    """Detections of one image, best first, without padding."""

    boxes: np.ndarray  # [M, 4] float32, normalised, within [0, 1]
    scores: np.ndarray  # [M] float32
    classes: np.ndarray  # [M] int, 0-based


class Parity(NamedTuple):
    """How far an exported file is from its checkpoint."""

    num_images: int
    num_expected: int  # detections of the checkpoint that were looked for
    num_matched: int  # of these, found with the same class and an IoU >= 0.5
    max_score_difference: float  # over the matched; 0 where there are none
    mean_score_difference: float
    min_iou: float  # over the matched; 1 where there are none
    mean_iou: float


Find = Callable[[np.ndarray], Found]  # of one image, in whatever form the file takes it


def checkpoint_finder(detector: SsdDetector) -> Find:
    """Runs the detector itself."""
    detect = tf.function(detector.detect, input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)])
    return lambda image: found_in(detect(image[np.newaxis]))


def measure_parity(expected: Sequence[Found], find: Find, images: Iterable[np.ndarray]) -> Parity:
    """Compares `find` with what the checkpoint found on the same images."""
    return compare_found(expected, [find(image) for image in images])


def compare_found(expected: Sequence[Found], found: Sequence[Found]) -> Parity:
    """Compares two models' detections of the same images."""
    looked_for = [_worth_comparing(each) for each in expected]
    pairs = np.concatenate([np.zeros([0, 2])] + [_match(worth, other) for worth, other in zip(looked_for, found, strict=True)])
    ious, differences = pairs[:, 0], pairs[:, 1]
    return Parity(
        num_images=len(expected),
        num_expected=sum(len(worth.scores) for worth in looked_for),
        num_matched=len(pairs),
        max_score_difference=float(differences.max(initial=0.0)),
        mean_score_difference=float(differences.mean()) if len(pairs) else 0.0,
        min_iou=float(ious.min(initial=1.0)),
        mean_iou=float(ious.mean()) if len(pairs) else 1.0,
    )


def parity_table(rows: Sequence[tuple[str, Parity]]) -> str:
    """A line per exported file."""
    title = "compared with the checkpoint"
    width = max(len(title), *(len(name) for name, _ in rows))
    lines = [f"{title:{width}}  {'matched':>11}  {'score difference':>18}  {'IoU of boxes':>16}"]
    lines.append(f"{'':{width}}  {'':>11}  {'mean':>8}  {'largest':>8}  {'mean':>7}  {'least':>7}")
    for name, parity in rows:
        matched = f"{parity.num_matched}/{parity.num_expected}"
        scores = f"{parity.mean_score_difference:8.5f}  {parity.max_score_difference:8.5f}"
        lines.append(f"{name:{width}}  {matched:>11}  {scores}  {parity.mean_iou:7.4f}  {parity.min_iou:7.4f}")
    return "\n".join(lines)


def found_in(detections: Detections) -> Found:
    """The first image's detections."""
    count = int(detections.num_detections[0])
    boxes, scores, classes = (np.asarray(value[0])[:count] for value in (detections.boxes, detections.scores, detections.classes))
    return Found(boxes, scores, classes)


def _worth_comparing(found: Found) -> Found:
    count = max(int((found.scores >= SCORE_THRESHOLD).sum()), LEAST_DETECTIONS)
    return Found(found.boxes[:count], found.scores[:count], found.classes[:count])


def _match(expected: Found, other: Found) -> np.ndarray:
    """Best first, each takes the free box of its class that overlaps most: [P, 2], IoU and absolute score difference of each pair."""
    ious = _pairwise_iou(expected.boxes, np.clip(other.boxes, 0.0, 1.0))
    ious[expected.classes[:, np.newaxis] != other.classes[np.newaxis]] = 0.0
    pairs = []
    for row, score in enumerate(expected.scores):
        best = int(ious[row].argmax()) if ious.shape[1] else 0
        if ious.shape[1] and ious[row, best] >= MATCH_IOU:
            pairs.append((ious[row, best], abs(float(score) - float(other.scores[best]))))
            ious[:, best] = 0.0
    return np.array(pairs).reshape(-1, 2)


def _pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[M, 4] and [N, 4] -> [M, N]."""
    low = np.maximum(first[:, np.newaxis, :2], second[np.newaxis, :, :2])
    high = np.minimum(first[:, np.newaxis, 2:], second[np.newaxis, :, 2:])
    intersection = np.prod(np.maximum(high - low, 0.0), axis=-1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (first, second)]
    union = areas[0][:, np.newaxis] + areas[1][np.newaxis] - intersection
    return intersection / np.maximum(union, np.finfo(np.float32).tiny)
