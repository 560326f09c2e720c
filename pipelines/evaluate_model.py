"""Evaluates an exported model the way an application runs it: one stored image at a time, pixels in, boxes out."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from object_detection_ext.builders.image_resizer import build_image_resizer
from object_detection_ext.builders.input_reader import EvalInput, build_eval_input
from object_detection_ext.config import Config, check_paths_configured, load_config
from object_detection_ext.errors import InputError
from object_detection_ext.evaluation.coco import CocoEvaluator, ImageDetections, ImageGroundTruth
from object_detection_ext.evaluation.summary import format_metrics
from object_detection_ext.types import Example
from pipelines.detector import Detection, Detector


class ModelResult(NamedTuple):
    """What an exported model reaches."""

    metrics: dict[str, float]  # by the API's names
    ms_per_image: float  # median of one call: resize, network, NMS


def evaluate_model(
    pipeline_config_path: str, model: str, *, config_override: str = "", sample_1_of_n: int | None = None, quiet: bool = False
) -> ModelResult:
    """The metrics of an exported model, run one stored image at a time as an application would.

    Raises:
      InputError: the config, its evaluation records or the model are wrong.
    """
    config = load_config(pipeline_config_path, override=config_override)
    check_paths_configured(config, for_evaluation=True)
    detector = Detector.load(model, pipeline_config_path=pipeline_config_path)
    reader = _open(config, sample_1_of_n)
    names = reader.label_map and {item.id: reader.label_map.name_of(item.id) for item in reader.label_map.items}
    evaluator = CocoEvaluator(names or {i: str(i) for i in range(1, config.proto.model.ssd.num_classes + 1)})
    times = []
    for index in range(len(reader.index)):
        try:
            example = reader.decode(tf.constant(reader.index.read(index)))
        except (tf.errors.OpError, InputError) as error:
            print(f"left out {reader.index.describe(index)}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        begin = time.perf_counter()
        found = detector(example.image.numpy())
        times.append(time.perf_counter() - begin)
        evaluator.add(example.source_id.numpy(), _ground_truth(example), _detections(found))
    if not times:
        raise InputError(f"{pipeline_config_path}: no evaluation image could be read")
    result = ModelResult(evaluator.compute(), 1000.0 * statistics.median(times))
    if not quiet:
        print(f"{model}: {len(times)} images, {result.ms_per_image:.1f} ms per image\n{format_metrics(result.metrics)}", flush=True)
    return result


def _open(config: Config, sample_1_of_n: int | None) -> EvalInput:
    if not config.proto.eval_input_reader:
        raise InputError(f"{config.path}: eval_input_reader is not set: there is nothing to evaluate on")
    with config.locate_errors():
        return build_eval_input(
            config.proto.eval_input_reader[0],
            config.proto.eval_config,
            num_classes=config.proto.model.ssd.num_classes,
            resizer=build_image_resizer(config.proto.model.ssd.image_resizer),
            normalize=lambda image: image,
            sample_1_of_n_examples=sample_1_of_n,
        )


def _ground_truth(example: Example) -> ImageGroundTruth:
    height, width = example.original_shape.numpy()
    return ImageGroundTruth(
        boxes=example.boxes.numpy() * [height, width, height, width],
        class_ids=example.classes.numpy() + 1,
        is_crowd=example.is_crowd.numpy(),
        area=example.area.numpy(),
    )


def _detections(found: Sequence[Detection]) -> ImageDetections:
    return ImageDetections(
        boxes=np.array([detection.box for detection in found], np.float32).reshape(-1, 4),
        class_ids=np.array([detection.class_id for detection in found], np.int64),
        scores=np.array([detection.score for detection in found], np.float32),
    )
