"""Post-processing that lets nothing through, everything, or not what the losses were trained for. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

from object_detection_ext.config import Config
from object_detection_ext.findings import Check, Finding, Severity
from object_detection_ext.protos import post_processing_pb2

BAD_NMS = Check(
    "bad_nms",
    Severity.ERROR,
    "non-maximum suppression that no detection can pass, or that no builder takes: a limit below 1, a threshold out of range",
    "take the values of a published config: score_threshold 1e-8, iou_threshold 0.6, 100 detections a class and an image",
)
SCORE_THRESHOLD = Check(
    "high_score_threshold",
    Severity.WARNING,
    "a score_threshold of 0.3 or more: mAP counts detections of every score, and loses those below",
    "evaluate with 1e-8, and choose a threshold when the model is used",
)
IOU_THRESHOLD = Check(
    "odd_iou_threshold",
    Severity.WARNING,
    "an iou_threshold below 0.2, which removes neighbours that touch, or above 0.9, which leaves many boxes on one object",
    "0.5 to 0.6 is usual",
)
FEW_DETECTIONS = Check(
    "few_detections",
    Severity.WARNING,
    "fewer than 100 detections an image: COCO's metrics look at 100",
    "set max_detections_per_class and max_total_detections to 100, and fewer for the export only",
)
SCORES = Check(
    "score_converter_mismatch",
    Severity.WARNING,
    "a score_converter that does not belong to the classification loss: scores that are no probabilities",
    "use SIGMOID with sigmoid and focal losses, SOFTMAX with weighted_softmax",
)
CHECKS = (BAD_NMS, SCORE_THRESHOLD, IOU_THRESHOLD, FEW_DETECTIONS, SCORES)

_FIELD = "model.ssd.post_processing"
_NMS = f"{_FIELD}.batch_non_max_suppression"
_HIGH_SCORE = 0.3
_USUAL_IOU = (0.2, 0.9)
_COCO_DETECTIONS = 100  # pycocotools' largest maxDets
_IDENTITY, _SIGMOID, _SOFTMAX = (getattr(post_processing_pb2.PostProcessing, name) for name in ("IDENTITY", "SIGMOID", "SOFTMAX"))


def check_detections(config: Config) -> Iterator[Finding]:
    """Yields what is wrong with `model.ssd.post_processing`."""
    nms = config.proto.model.ssd.post_processing.batch_non_max_suppression
    limits = {"max_detections_per_class": nms.max_detections_per_class, "max_total_detections": nms.max_total_detections}
    for name, value in limits.items():
        if value < 1:
            yield BAD_NMS(config.where(f"{_NMS}.{name}"), f"{name} must be >= 1, got {value}: nothing can be detected")
        elif value < _COCO_DETECTIONS:
            yield FEW_DETECTIONS(config.where(f"{_NMS}.{name}"), f"{name} is {value}")
    if nms.max_detections_per_class > nms.max_total_detections >= 1:
        message = f"max_detections_per_class {nms.max_detections_per_class} must be <= max_total_detections {nms.max_total_detections}"
        yield BAD_NMS(config.where(f"{_NMS}.max_detections_per_class"), message)
    yield from _check_thresholds(config)
    yield from _check_scores(config)


def _check_thresholds(config: Config) -> Iterator[Finding]:
    nms = config.proto.model.ssd.post_processing.batch_non_max_suppression
    where = config.where(f"{_NMS}.score_threshold")
    if nms.score_threshold >= 1.0:
        yield BAD_NMS(where, f"score_threshold is {nms.score_threshold:g}: no score exceeds 1")
    elif nms.score_threshold >= _HIGH_SCORE:
        yield SCORE_THRESHOLD(where, f"score_threshold is {nms.score_threshold:g}")
    low, high = _USUAL_IOU
    where = config.where(f"{_NMS}.iou_threshold")
    if not 0.0 <= nms.iou_threshold <= 1.0:
        yield BAD_NMS(where, f"iou_threshold must be in [0, 1], got {nms.iou_threshold:g}")
    elif not low <= nms.iou_threshold <= high:
        yield IOU_THRESHOLD(where, f"iou_threshold is {nms.iou_threshold:g}")


def _check_scores(config: Config) -> Iterator[Finding]:
    ssd = config.proto.model.ssd
    loss = ssd.loss.classification_loss.WhichOneof("classification_loss")
    converter = ssd.post_processing.score_converter
    if loss is None:
        return
    wanted = _SOFTMAX if loss == "weighted_softmax" else _SIGMOID
    if converter != wanted:
        name, better = (post_processing_pb2.PostProcessing.ScoreConverter.Name(value) for value in (converter, wanted))
        yield SCORES(config.where(f"{_FIELD}.score_converter"), f"score_converter is {name}, the loss {loss} goes with {better}")
