"""The SavedModel's `serving_default`: the API's input types, output names and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from export.tflite_graph import ConcreteFunction
from object_detection_ext.data import schema

if TYPE_CHECKING:
    from object_detection_ext.models.detector import SsdDetector

INPUT_NAME = "input_tensor"


class InputType(NamedTuple):
    """What a signature takes."""

    spec: tf.TensorSpec
    decode: Callable[[tf.Tensor], tf.Tensor] | None  # one element -> image [H, W, 3] in [0, 255]; None where the input is a batch of images


def _decode_image(encoded: tf.Tensor) -> tf.Tensor:
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return image


def _decode_example(serialized: tf.Tensor) -> tf.Tensor:
    features = {schema.IMAGE_ENCODED: tf.io.FixedLenFeature([], tf.string)}
    return _decode_image(tf.io.parse_single_example(serialized, features)[schema.IMAGE_ENCODED])


INPUT_TYPES = {
    "image_tensor": InputType(tf.TensorSpec([1, None, None, 3], tf.uint8, name=INPUT_NAME), None),
    "float_image_tensor": InputType(tf.TensorSpec([None, None, None, 3], tf.float32, name=INPUT_NAME), None),
    "encoded_image_string_tensor": InputType(tf.TensorSpec([None], tf.string, name=INPUT_NAME), _decode_image),
    "tf_example": InputType(tf.TensorSpec([None], tf.string, name=INPUT_NAME), _decode_example),
}


def serving_function(detector: SsdDetector, input_type: str) -> ConcreteFunction:
    """Traces the signature of one of `INPUT_TYPES`.

    Its outputs, all float32 (B images, M detections, A anchors, K classes):
        detection_boxes [B, M, 4], clipped to the image; detection_scores [B, M]; detection_classes [B, M], label-map ids (from 1);
        num_detections [B]; detection_multiclass_scores [B, M, K + 1]; detection_anchor_indices [B, M];
        raw_detection_boxes [B, A, 4], not clipped; raw_detection_scores [B, A, K + 1], background in column 0.
    """
    spec, decode = INPUT_TYPES[input_type]

    @tf.function(autograph=False)
    def serve(input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs, true_shapes = detector.preprocess(input_tensor) if decode is None else _preprocess_each(detector, decode, input_tensor)
        return _named_outputs(in_image_frame(detector), inputs, true_shapes)

    return serve.get_concrete_function(spec)


def _preprocess_each(detector: SsdDetector, decode: Callable[[tf.Tensor], tf.Tensor], elements: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Images of one batch may differ in size until they are resized: [B] string -> inputs [B, h, w, C], true shapes [B, 2]."""

    def preprocess(element: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, true_shapes = detector.preprocess(decode(element)[tf.newaxis])
        return inputs[0], true_shapes[0]

    signature = (tf.TensorSpec(detector.input_shape, tf.float32), tf.TensorSpec([2], tf.int32))
    return tf.map_fn(preprocess, elements, fn_output_signature=signature)


def in_image_frame(detector: SsdDetector) -> SsdDetector:
    """The same detector with boxes relative to the image instead of the padded input, as the API's SavedModels give them."""
    return replace(detector, postprocessing=replace(detector.postprocessing, change_coordinate_frame=True))


def _named_outputs(detector: SsdDetector, inputs: tf.Tensor, true_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
    predictions = detector.predict(inputs, training=False)
    boxes = detector.decode(predictions.box_encodings)
    scores = detector.postprocessing.convert_scores(predictions.class_logits)
    detections, anchors = detector.postprocessing.with_anchors(
        boxes, predictions.class_logits, clip_window=_clip_window(detector, true_shapes)
    )
    num_detections = detector.postprocessing.max_total_detections
    valid = tf.sequence_mask(detections.num_detections, num_detections, dtype=tf.float32)  # [B, M]
    outputs = {
        "detection_boxes": detections.boxes,
        "detection_scores": detections.scores,
        "detection_classes": detections.classes + 1,
        "detection_multiclass_scores": tf.gather(scores, anchors, batch_dims=1) * valid[..., tf.newaxis],
        "detection_anchor_indices": anchors,
        "num_detections": detections.num_detections,
        "raw_detection_boxes": boxes,
        "raw_detection_scores": scores,
    }
    return {name: tf.cast(_with_static_rows(name, value, num_detections), tf.float32) for name, value in outputs.items()}


def _with_static_rows(name: str, value: tf.Tensor, num_detections: int) -> tf.Tensor:
    """Tells the graph what suppression hides from it: there are always M rows."""
    if name.startswith("detection_"):
        return tf.ensure_shape(value, [value.shape[0], num_detections, *value.shape[2:]])
    return value


def _clip_window(detector: SsdDetector, true_shapes: tf.Tensor) -> tf.Tensor:
    """What the image covers of its padded input: [B, 2] height and width -> [B, 4] normalised."""
    share = tf.cast(true_shapes, tf.float32) / tf.constant(detector.input_shape[:2], tf.float32)
    return tf.concat([tf.zeros_like(share), share], axis=-1)
