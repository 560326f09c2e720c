"""mAP of plain arrays: ground truth and detections of images, in shares of the image, so that either can be turned around at will."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from object_detection_ext.evaluation.coco import CocoEvaluator, ImageDetections, ImageGroundTruth, network_to_pixels
from object_detection_ext.types import Batch, Detections

_UNIT = np.ones(2)  # an image whose pixels are shares


class Truth(NamedTuple):
    """The ground truth of one image."""

    boxes: np.ndarray  # [N, 4] float32, normalised to the image
    class_ids: np.ndarray  # [N] int, label-map ids
    is_crowd: np.ndarray  # [N] bool
    area: np.ndarray  # [N] float32, pixels
    size: tuple[int, int]  # height and width in pixels


class Found(NamedTuple):
    """The detections in one image, best first."""

    boxes: np.ndarray  # [M, 4] float32, normalised to the image
    class_ids: np.ndarray  # [M] int, label-map ids
    scores: np.ndarray  # [M] float32


class Score(NamedTuple):
    """COCO's two headline numbers; -1 where there is nothing to measure."""

    map: float
    map_50: float


def batch_spec(batch: Batch) -> Batch:
    """The signature of batches like this one, of any number of images and boxes: graphs for it are traced once."""

    def spec(tensor: tf.Tensor, free: int) -> tf.TensorSpec:
        return tf.TensorSpec([None] * free + list(tensor.shape[free:]), tensor.dtype)

    truth = tf.nest.map_structure(lambda tensor: spec(tensor, min(2, tensor.shape.rank)), batch.ground_truth)
    return Batch(*(truth if name == "ground_truth" else spec(tensor, 1) for name, tensor in batch._asdict().items()))


def truths_of(batch: Batch) -> list[Truth]:
    """The ground truth of each image of a batch of numpy arrays."""
    truth = batch.ground_truth
    return [
        Truth(
            _to_image(truth.boxes[i][:count], batch, i),
            truth.classes[i][:count] + 1,
            truth.is_crowd[i][:count],
            truth.area[i][:count],
            tuple(batch.original_shapes[i].tolist()),
        )
        for i, count in enumerate(truth.num_boxes.tolist())
    ]


def found_of(batch: Batch, detections: Detections) -> list[Found]:
    """The detections of each image of a batch, both of numpy arrays."""
    return [
        Found(
            _to_image(np.asarray(detections.boxes[i][:count]), batch, i),
            np.asarray(detections.classes[i][:count]) + 1,
            np.asarray(detections.scores[i][:count]),
        )
        for i, count in enumerate(np.asarray(detections.num_detections).tolist())
    ]


def score_images(truths: Sequence[Truth], found: Sequence[Found], categories: Mapping[int, str]) -> Score:
    """mAP of images; detections of classes that the label map lacks do not count."""
    evaluator = CocoEvaluator(categories, include_metrics_per_category=False)
    for number, (truth, detections) in enumerate(zip(truths, found, strict=True), start=1):
        scale = np.tile(np.asarray(truth.size, np.float32), 2)
        known = np.isin(detections.class_ids, list(categories))
        evaluator.add(
            number,
            ImageGroundTruth(truth.boxes * scale, truth.class_ids, truth.is_crowd, truth.area),
            ImageDetections(detections.boxes[known] * scale, detections.class_ids[known], detections.scores[known]),
        )
    return Score(*evaluator.compute_map())


def _to_image(boxes: np.ndarray, batch: Batch, image: int) -> np.ndarray:
    """Boxes normalised to the padded network input, normalised to the image."""
    return network_to_pixels(boxes, padded_shape=tuple(batch.images.shape)[1:3], true_shape=batch.true_shapes[image], image_shape=_UNIT)
