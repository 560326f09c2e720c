"""The graphs that become `.tflite` files: normalised image in, one of the flavours at the end, every shape static, one image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from export.flavours import OUTPUTS, Flavour
from export.postprocess_op import DetectionPostProcess, PostProcessOutputs
from export.quiet import native_output_hidden
from object_detection_ext import boxes as box_ops

if TYPE_CHECKING:
    from object_detection_ext.models.detector import SsdDetector

ConcreteFunction = Any  # tf.types.experimental.ConcreteFunction; TensorFlow ships no types


def tflite_functions(
    detector: SsdDetector, flavours: Iterable[Flavour], postprocess: DetectionPostProcess | None
) -> dict[Flavour, ConcreteFunction]:
    """Traces `{image: [1, H, W, C] float32} -> {name: output}` for each flavour (see `OUTPUTS`), with the weights as constants.

    Saving and loading hundreds of variables takes TensorFlow longer than converting the graph.

    Args:
        postprocess: for `nms`; else None.
    """
    spec = _image_spec(detector, name="image")
    with native_output_hidden():
        # Without the post-processing: freezing inlines functions, and its mark would be lost.
        predict = convert_variables_to_constants_v2(_prediction(detector).get_concrete_function(spec), lower_control_flow=False)
    functions = {}
    for flavour in flavours:
        if flavour == "nms":
            assert postprocess is not None
            infer = _with_postprocess(detector, predict, postprocess, arrange=PostProcessOutputs._asdict)
        else:
            infer = _with_boxes(detector, predict, flavour)
        functions[flavour] = infer.get_concrete_function(spec)
    return functions


def tflite_function(detector: SsdDetector, postprocess: DetectionPostProcess) -> ConcreteFunction:
    """The function of the flavour `nms`."""
    return tflite_functions(detector, ["nms"], postprocess)["nms"]


def api_tflite_function(detector: SsdDetector, postprocess: DetectionPostProcess) -> ConcreteFunction:
    """The same with the input name, variables and output order of the API's `export_tflite_graph_tf2`.

    Its outputs are a tuple, count first, boxes last. Whoever converts this SavedModel gets what he is used to from the API's:
    scores, boxes, count, classes, called `StatefulPartitionedCall:1`, `:3`, `:0`, `:2`.
    """
    function = _with_postprocess(detector, _prediction(detector), postprocess, arrange=lambda outputs: tuple(reversed(outputs)))
    return function.get_concrete_function(_image_spec(detector, name="input"))


def _with_postprocess(
    detector: SsdDetector,
    predict: Callable[[tf.Tensor], Any],
    postprocess: DetectionPostProcess,
    *,
    arrange: Callable[[PostProcessOutputs], Any],
) -> Any:
    """A `tf.function` from the image to what `arrange` makes of the operation's outputs."""
    anchors = np.asarray(box_ops.corners_to_centers(tf.constant(detector.anchors)))

    @tf.function(autograph=False)
    def infer(image: tf.Tensor) -> Any:
        encodings, scores = predict(image)
        return arrange(postprocess(encodings, scores, tf.constant(anchors, name="anchors")))

    return infer


def _with_boxes(detector: SsdDetector, predict: Callable[[tf.Tensor], Any], flavour: Flavour) -> Any:
    """A `tf.function` from the image to encodings or boxes, and scores without background; builtin operations only."""

    @tf.function(autograph=False)
    def infer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        boxes, scores = predict(image)
        if flavour == "decoded":
            boxes = detector.decode(boxes)
        scores = scores[..., 1:] if detector.postprocessing.has_background else scores
        return dict(zip(OUTPUTS[flavour], (boxes, scores), strict=True))

    return infer


def _prediction(detector: SsdDetector) -> Any:
    """A `tf.function` from the image to box encodings [1, A, 4] and class scores [1, A, class slots]."""

    @tf.function(autograph=False)
    def predict(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Not `detector.predict`: where the network has no background logit, the operation needs none.
        encodings, logits = detector.network(image, training=False)
        if detector.box_encodings_clip_range is not None:
            encodings = tf.clip_by_value(encodings, *detector.box_encodings_clip_range)
        encodings = tf.identity(encodings, name="raw_outputs/box_encodings")
        return encodings, tf.identity(detector.postprocessing.convert_scores(logits), name="raw_outputs/class_predictions")

    return predict


def _image_spec(detector: SsdDetector, *, name: str) -> tf.TensorSpec:
    return tf.TensorSpec([1, *detector.input_shape], tf.float32, name=name)
