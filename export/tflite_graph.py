"""The graph that becomes a `.tflite`: normalised image in, fused post-processing at the end, every shape static, one image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from export.postprocess_op import DetectionPostProcess, PostProcessOutputs
from export.quiet import native_output_hidden
from object_detection_ext import boxes as box_ops

if TYPE_CHECKING:
    from object_detection_ext.models.detector import SsdDetector

ConcreteFunction = Any  # tf.types.experimental.ConcreteFunction; TensorFlow ships no types


def tflite_function(detector: SsdDetector, postprocess: DetectionPostProcess) -> ConcreteFunction:
    """Traces `{image: [1, H, W, C] float32} -> PostProcessOutputs` by name; for our own converter, which names and orders the outputs."""
    return _trace(detector, postprocess, input_name="image", arrange=lambda outputs: outputs._asdict())


def api_tflite_function(detector: SsdDetector, postprocess: DetectionPostProcess) -> ConcreteFunction:
    """The same with the input name and output order of the API's `export_tflite_graph_tf2`.

    Its outputs are a tuple, count first, boxes last. Whoever converts this SavedModel gets what he is used to from the API's:
    scores, boxes, count, classes, called `StatefulPartitionedCall:1`, `:3`, `:0`, `:2`.
    """
    return _trace(detector, postprocess, input_name="input", arrange=lambda outputs: tuple(reversed(outputs)))


def _trace(
    detector: SsdDetector, postprocess: DetectionPostProcess, *, input_name: str, arrange: Callable[[PostProcessOutputs], Any]
) -> ConcreteFunction:
    anchors = np.asarray(box_ops.corners_to_centers(tf.constant(detector.anchors)))
    spec = tf.TensorSpec([1, *detector.input_shape], tf.float32, name=input_name)
    predict = _frozen_network(detector, spec)

    @tf.function(autograph=False)
    def infer(image: tf.Tensor) -> Any:
        encodings, scores = predict(image)
        return arrange(postprocess(encodings, scores, tf.constant(anchors, name="anchors")))

    return infer.get_concrete_function(spec)


def _frozen_network(detector: SsdDetector, spec: tf.TensorSpec) -> ConcreteFunction:
    """Image to box encodings [1, A, 4] and class scores, with the weights as constants.

    Saving and loading hundreds of variables takes TensorFlow longer than converting the graph. The post-processing stays outside:
    freezing inlines functions, and its mark would be lost.
    """

    @tf.function(autograph=False)
    def predict(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Not `detector.predict`: where the network has no background logit, the operation needs none.
        encodings, logits = detector.network(image, training=False)
        if detector.box_encodings_clip_range is not None:
            encodings = tf.clip_by_value(encodings, *detector.box_encodings_clip_range)
        encodings = tf.identity(encodings, name="raw_outputs/box_encodings")
        return encodings, tf.identity(detector.postprocessing.convert_scores(logits), name="raw_outputs/class_predictions")

    with native_output_hidden():
        return convert_variables_to_constants_v2(predict.get_concrete_function(spec), lower_control_flow=False)
