"""What the checkpoint and its SavedModel give for the images that the `.tflite` files are compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from export.certificate.subject import Outputs
from export.model import TrainedModel
from export.quiet import native_output_hidden
from export.saved_model import export_saved_model
from export.signatures import INPUT_NAME


def run_checkpoint(model: TrainedModel, inputs: np.ndarray, *, max_detections: int) -> tuple[Outputs, np.ndarray]:
    """The detector itself on network inputs [N, h, w, C]; also its decoded boxes [N, A, 4], which a SavedModel gives."""
    detector = model.detector

    @tf.function(input_signature=[tf.TensorSpec([None, *detector.input_shape], tf.float32)], autograph=False)
    def detect(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
        encodings, _ = detector.network(image, training=False)
        predictions = detector.predict(image, training=False)
        found = detector.postprocess(predictions)
        scores = detector.postprocessing.convert_scores(predictions.class_logits)
        boxes = detector.decode(predictions.box_encodings)
        if detector.box_encodings_clip_range is not None:
            encodings = tf.clip_by_value(encodings, *detector.box_encodings_clip_range)
        return found.boxes, found.classes, found.scores, found.num_detections, encodings, scores, boxes

    columns = list(zip(*([value[0].numpy() for value in detect(image[np.newaxis])] for image in inputs), strict=True))
    boxes, classes, scores, counts, codes, raw, decoded = (np.stack(column) for column in columns)
    rows = slice(0, max_detections)
    outputs = Outputs(
        boxes[:, rows],
        classes[:, rows].astype(np.int64),
        scores[:, rows],
        np.minimum(counts.astype(np.int64), max_detections),
        codes,
        raw[..., -detector.num_classes :],
    )
    return outputs, decoded


def run_saved_model(model: TrainedModel, inputs: np.ndarray, folder: Path, *, max_detections: int) -> Outputs:
    """A SavedModel of the same weights, written to `folder`; it gets the pixels of the inputs, which have their size already."""
    export_saved_model(model, folder, input_type="float_image_tensor")
    with native_output_hidden():
        loaded = tf.saved_model.load(str(folder / "saved_model"))
    serve = loaded.signatures["serving_default"]
    rows = []
    for image in inputs:
        found = serve(**{INPUT_NAME: model.detector.denormalize(tf.constant(image[np.newaxis]))})
        boxes, classes, scores, raw_boxes, raw_scores = (
            found[name][0].numpy()
            for name in ("detection_boxes", "detection_classes", "detection_scores", "raw_detection_boxes", "raw_detection_scores")
        )
        count = min(round(float(found["num_detections"][0])), max_detections)
        detected = (boxes[:max_detections], classes[:max_detections].astype(np.int64) - 1, scores[:max_detections], np.asarray(count))
        rows.append((*detected, raw_boxes, raw_scores[:, -model.detector.num_classes :]))
    return Outputs(*(np.stack(column) for column in zip(*rows, strict=True)))
