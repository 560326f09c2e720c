"""A whole config -> the detection task that the training loop and the evaluation run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from object_detection_ext.builders.detector import build_pipeline_detector
from object_detection_ext.builders.input_reader import EVAL_FIELD, TRAIN_FIELD, EvalInput, TrainInput, build_eval_input, build_train_input
from object_detection_ext.builders.losses import build_detection_loss
from object_detection_ext.config import Config
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.protos import pipeline_pb2
from object_detection_ext.training.detection import DetectionTask


@dataclass(frozen=True)
class TaskOptions:
    """Which data the task needs; a reader that is not needed is not opened.

    Fields:
      seed: order and augmentation follow from it.
      evaluate_train_records: evaluation reads `train_input_reader`.
      sample_1_of_n: evaluate one image of n; None for what the reader says.
    """

    seed: int = 0
    with_training: bool = False
    with_evaluation: bool = False
    evaluate_train_records: bool = False
    sample_1_of_n: int | None = None


def build_detection_task(config: Config, options: TaskOptions) -> DetectionTask:
    """Opens the records, then builds network and loss; initial weights follow from `tf_keras.utils.set_random_seed`.

    Raises:
      InputError: a field or a record is wrong; names file and line.
    """
    proto = config.proto
    with config.locate_errors():
        detector = build_pipeline_detector(proto)
        train_input = _train_input(proto, detector, options.seed) if options.with_training else None
        eval_input = _eval_input(proto, detector, options) if options.with_evaluation else None
        loss = build_detection_loss(proto.model.ssd)
    inputs = [reader for reader in (train_input, eval_input) if reader is not None]
    return DetectionTask(
        detector=detector,
        loss=loss,
        make_train_dataset=train_input.dataset if train_input else None,
        make_eval_dataset=eval_input.dataset if eval_input else None,
        categories=categories_of(inputs[-1].label_map if inputs else None, proto.model.ssd.num_classes),
        train_batch_size=proto.train_config.batch_size,
        check_input=_check_all([reader.raise_input_errors for reader in inputs]),
        metrics_per_category=True,
        num_pictures=proto.eval_config.num_visualizations,
        picture_score=proto.eval_config.min_score_threshold,
    )


def _train_input(proto: pipeline_pb2.TrainEvalPipelineConfig, detector: SsdDetector, seed: int) -> TrainInput:
    if not proto.HasField("train_input_reader"):
        raise InputError(f"{TRAIN_FIELD} is not set")
    train_config = type(proto.train_config)()
    train_config.CopyFrom(proto.train_config)
    train_config.seed = seed
    return build_train_input(
        proto.train_input_reader,
        train_config,
        num_classes=detector.num_classes,
        resizer=detector.image_resizer,
        normalize=detector.normalize,
    )


def _eval_input(proto: pipeline_pb2.TrainEvalPipelineConfig, detector: SsdDetector, options: TaskOptions) -> EvalInput:
    if options.evaluate_train_records:
        reader, field = proto.train_input_reader, TRAIN_FIELD
    elif proto.eval_input_reader:
        reader, field = proto.eval_input_reader[0], EVAL_FIELD
    else:
        raise InputError("eval_input_reader is not set: there is nothing to evaluate on")
    return build_eval_input(
        reader,
        proto.eval_config,
        num_classes=detector.num_classes,
        resizer=detector.image_resizer,
        normalize=detector.normalize,
        sample_1_of_n_examples=options.sample_1_of_n,
        field=field,
    )


def categories_of(label_map: LabelMap | None, num_classes: int) -> dict[int, str]:
    """Label id -> name; without a label map the ids name themselves."""
    if label_map is None:
        return {class_id: str(class_id) for class_id in range(1, num_classes + 1)}
    return {item.id: label_map.name_of(item.id) for item in label_map.items}


def _check_all(checks: list[Callable[[], None]]) -> Callable[[], None]:
    def check() -> None:
        for each in checks:
            each()

    return check
