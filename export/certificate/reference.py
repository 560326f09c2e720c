"""What the checkpoint gives for the images that its exported forms are compared on."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from export.certificate.subject import Outputs
from export.model import TrainedModel


def run_checkpoint(model: TrainedModel, inputs: np.ndarray, *, max_detections: int) -> tuple[Outputs, np.ndarray]:
    """The detector itself on network inputs [N, h, w, C]; also its decoded boxes [N, A, 4], which a SavedModel gives."""
    detector = model.detector

    @tf.function(input_signature=[tf.TensorSpec([None, *detector.input_shape], tf.float32)], autograph=False)
    def detect(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
        predictions = detector.predict(image, training=False)
        found = detector.postprocess(predictions)
        scores = detector.postprocessing.convert_scores(predictions.class_logits)
        boxes = detector.decode(predictions.box_encodings)
        return found.boxes, found.classes, found.scores, found.num_detections, predictions.box_encodings, scores, boxes

    columns = list(zip(*([value[0].numpy() for value in detect(image[np.newaxis])] for image in inputs), strict=True))
    boxes, classes, scores, counts, codes, raw, decoded = (np.stack(column) for column in columns)
    outputs = Outputs(boxes, classes.astype(np.int64), scores, counts.astype(np.int64), codes, raw[..., -detector.num_classes :])
    return outputs.best(max_detections), decoded
