"""The evaluation images that every form of a model is run on, as the network takes them, with their ground truth."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export.images import eval_records
from export.model import TrainedModel
from object_detection_ext.builders.image_resizer import build_image_resizer
from object_detection_ext.builders.input_reader import EvalInput, build_eval_input
from object_detection_ext.errors import InputError
from object_detection_ext.evaluation.coco import CocoEvaluator, ImageDetections, ImageGroundTruth
from object_detection_ext.types import Example


class NoImagesError(InputError):
    """The config names no evaluation images, or none can be read."""


class Sample(NamedTuple):
    """One image."""

    pixels: np.ndarray  # [H, W, 3] uint8, as stored
    network_input: np.ndarray  # [h, w, C] float32, normalised
    content: np.ndarray  # [2] float32: the share of the input's height and width that is image and not padding
    source_id: bytes
    ground_truth: ImageGroundTruth


@dataclass(frozen=True)
class SampleSet:
    """Images of the evaluation records."""

    samples: tuple[Sample, ...]
    class_names: Mapping[int, str]
    num_records: int  # of the whole evaluation set

    @property
    def network_inputs(self) -> np.ndarray:
        """[N, h, w, C] float32."""
        return np.stack([sample.network_input for sample in self.samples])

    def mean_average_precision(self, detections: Iterator[ImageDetections]) -> tuple[float, float]:
        """COCO's mAP and mAP at IoU 0.5 of detections in network coordinates, [0, 1], class ids from 1."""
        evaluator = CocoEvaluator(self.class_names)
        for sample, found in zip(self.samples, detections, strict=True):
            height, width = sample.pixels.shape[:2]
            scale = np.tile(np.array([height, width], np.float32) / sample.content, 2)
            boxes = np.clip(found.boxes * scale, 0.0, [height, width, height, width])
            evaluator.add(sample.source_id, sample.ground_truth, found._replace(boxes=boxes))
        return evaluator.compute_map()


def load_samples(model: TrainedModel, count: int) -> SampleSet:
    """Up to `count` images, evenly over the evaluation records; those that cannot be decoded are left out.

    Raises:
        NoImagesError: The config has no evaluation records, or they are not there.
        InputError: The records are broken, or have other classes than the label map.
    """
    reader = _open(model)
    picks = np.unique(np.linspace(0, len(reader.index) - 1, num=min(count, len(reader.index))).round().astype(int))
    samples = tuple(itertools.chain.from_iterable(_load(model, reader, int(record)) for record in picks))
    if not samples:
        raise NoImagesError(f"{model.config.path}: no evaluation image can be read")
    names = reader.label_map and {item.id: reader.label_map.name_of(item.id) for item in reader.label_map.items}
    return SampleSet(samples, names or {index: str(index) for index in range(1, model.detector.num_classes + 1)}, len(reader.index))


def half_pixel_inputs(model: TrainedModel, samples: SampleSet) -> np.ndarray:
    """The same images resized around pixel centres, as phone apps do: [N, h, w, C]; the API and this project use the upper left corners."""
    height, width, _ = model.detector.input_shape
    resized = (tf.image.resize(tf.constant(sample.pixels, tf.float32), (height, width)) for sample in samples.samples)
    return np.stack([model.detector.normalize(image).numpy() for image in resized])


def _open(model: TrainedModel) -> EvalInput:
    proto = model.config.proto
    if not proto.eval_input_reader:
        raise NoImagesError(f"{model.config.path}: eval_input_reader is not set")
    try:
        eval_records(model.config)
    except InputError as error:  # an export needs no records; those that are there must be what the config says of them
        raise NoImagesError(str(error)) from error
    try:
        with model.config.locate_errors():
            return build_eval_input(
                proto.eval_input_reader[0],
                proto.eval_config,
                num_classes=proto.model.ssd.num_classes,
                resizer=build_image_resizer(proto.model.ssd.image_resizer),
                normalize=lambda image: image,
            )
    except InputError as error:
        raise InputError(f"{error}; the certificate compares on these records, --no-certificate exports without it") from error


def _load(model: TrainedModel, reader: EvalInput, record: int) -> Iterator[Sample]:
    try:
        example = reader.decode(tf.constant(reader.index.read(record)))
    except (tf.errors.OpError, InputError):
        return
    inputs, true_shapes = model.detector.preprocess(example.image[tf.newaxis])
    content = np.asarray(true_shapes[0], np.float32) / np.array(model.detector.input_shape[:2], np.float32)
    pixels = np.clip(np.rint(example.image.numpy()), 0, 255).astype(np.uint8)
    yield Sample(pixels, inputs[0].numpy(), content, bytes(example.source_id.numpy()), _ground_truth(example))


def _ground_truth(example: Example) -> ImageGroundTruth:
    height, width = example.original_shape.numpy()
    return ImageGroundTruth(
        boxes=example.boxes.numpy() * [height, width, height, width],
        class_ids=example.classes.numpy() + 1,
        is_crowd=example.is_crowd.numpy(),
        area=example.area.numpy(),
    )
