"""`TFLite_Detection_PostProcess`: decoding and non-maximum suppression as one operation of the TFLite runtime.

TensorFlow has no such operation. A function without content, marked with `experimental_implements`, stands in its place; the TFLite
converter recognises the mark. Source of the semantics: tensorflow/lite/kernels/detection_postprocess.cc.

The runtime has a bug: with T > 1 threads and more than T classes, regular suppression leaves out class T (from 0). Run such
files with one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder

OP_NAME = "TFLite_Detection_PostProcess"


class PostProcessOutputs(NamedTuple):
    """What the operation returns, in its order. In TensorFlow all four are placeholders of shape []."""

    detection_boxes: tf.Tensor  # [1, M, 4] float32, normalised, not clipped
    detection_classes: tf.Tensor  # [1, M] float32, 0-based
    detection_scores: tf.Tensor  # [1, M] float32
    num_detections: tf.Tensor  # [1] float32


@dataclass(frozen=True)
class DetectionPostProcess:
    """Settings of the operation.

    Attributes:
        max_detections: M, rows of its outputs.
        use_regular_nms: suppress within each class, as in training's evaluation. Without it ("fast"), only each anchor's best class is
            looked at and boxes of different classes suppress each other.
        max_detections_per_class: kept per class before the best M are taken; regular suppression only. The converter drops it;
            `tflite_file.finish` writes it.
    """

    num_classes: int
    box_coder: FasterRcnnBoxCoder
    score_threshold: float
    iou_threshold: float
    max_detections: int = 100
    use_regular_nms: bool = True
    max_detections_per_class: int = 100

    def __post_init__(self) -> None:
        if self.max_detections < 1:
            raise ValueError(f"max_detections must be >= 1, got {self.max_detections}")

    def __call__(self, box_encodings: tf.Tensor, class_scores: tf.Tensor, anchors: tf.Tensor) -> PostProcessOutputs:
        """Args:
        box_encodings: [1, A, 4] float32.
        class_scores: [1, A, K] or, with the background in column 0, [1, A, K + 1] float32; 0 to 1.
        anchors: [A, 4] float32, centre form (y, x, height, width), normalised.
        """

        @tf.function(experimental_implements=self.implements)
        def detection_postprocess(box_encodings: tf.Tensor, class_predictions: tf.Tensor, anchors: tf.Tensor) -> tuple[tf.Tensor, ...]:
            del box_encodings, class_predictions, anchors
            return tuple(tf.constant(0.0, tf.float32, name=name) for name in ("boxes", "classes", "scores", "num_detections"))

        return PostProcessOutputs(*detection_postprocess(box_encodings, class_scores, anchors))

    @property
    def implements(self) -> str:
        """The mark: the operation's name and attributes in text format, but for `max_detections_per_class`."""
        integers = {
            "max_detections": self.max_detections,
            "max_classes_per_detection": 1,
            "num_classes": self.num_classes,
        }
        numbers = {
            "nms_score_threshold": self.score_threshold,
            "nms_iou_threshold": self.iou_threshold,
            "y_scale": self.box_coder.y_scale,
            "x_scale": self.box_coder.x_scale,
            "h_scale": self.box_coder.height_scale,
            "w_scale": self.box_coder.width_scale,
        }
        attributes = [f"attr {{ key: '{name}' value {{ i: {value} }} }}" for name, value in integers.items()]
        attributes += [f"attr {{ key: '{name}' value {{ f: {value:.9g} }} }}" for name, value in numbers.items()]
        attributes.append(f"attr {{ key: 'use_regular_nms' value {{ b: {str(self.use_regular_nms).lower()} }} }}")
        return " ".join([f"name: '{OP_NAME}'", *attributes])


def postprocess_op_of(detector: SsdDetector, *, max_detections: int, use_regular_nms: bool) -> DetectionPostProcess:
    """The operation that does what the detector's own post-processing does.

    Raises:
        InputError: The operation cannot decode the detector's box codes.
    """
    if not isinstance(detector.box_coder, FasterRcnnBoxCoder):
        raise InputError(f"{OP_NAME} decodes faster_rcnn_box_coder only; the config has {type(detector.box_coder).__name__}")
    return DetectionPostProcess(
        num_classes=detector.num_classes,
        box_coder=detector.box_coder,
        score_threshold=detector.postprocessing.score_threshold,
        iou_threshold=detector.postprocessing.iou_threshold,
        max_detections=max_detections,
        use_regular_nms=use_regular_nms,
        max_detections_per_class=detector.postprocessing.max_detections_per_class,
    )
