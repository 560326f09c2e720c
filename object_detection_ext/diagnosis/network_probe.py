"""One pass of a network over images, with every input variant at once: detections, losses and scores; no image is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from object_detection_ext.diagnosis.image_scores import Found, Truth, batch_spec, found_of, truths_of
from object_detection_ext.diagnosis.input_variants import InputVariant, convert_input
from object_detection_ext.diagnosis.stage import Outcome, Stage
from object_detection_ext.losses.detection import DetectionLoss
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.types import Batch, Detections, GroundTruth, Losses, Predictions

IN_PIXELS = "predicted boxes in pixels"
NO_THRESHOLD = "no score threshold"
READING_ADVICE = {
    IN_PIXELS: "the network predicts boxes in pixels: set normalize_coordinates: true in the anchor generator, as in training",
    NO_THRESHOLD: "lower post_processing.batch_non_max_suppression.score_threshold (1e-8 for evaluation), or train longer",
}

_SAME = 1e-5  # logits that differ by less between images do not depend on them
_HIGH_THRESHOLD = 1e-3  # score thresholds below it hide nothing


@dataclass
class NetworkRun:
    """What a network said about some images."""

    truths: list[Truth] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    others: dict[str, list[Found]] = field(default_factory=dict)  # by the name of an input variant, or of a reading
    losses: list[Losses] = field(default_factory=list)  # floats, one a batch
    best_scores: list[float] = field(default_factory=list)  # of all anchors, one an image, before any threshold
    logit_spread: float = 0.0  # largest difference of a logit between two images
    is_finite: bool = True


class NetworkProbe:
    """Runs a detector's network over images; its graphs are traced once, whatever weights are put into it later."""

    def __init__(self, detector: SsdDetector, loss: DetectionLoss) -> None:
        self._detector = detector
        self._loss = loss
        self._graphs: _Graphs | None = None

    def __call__(self, batches: Iterable[Batch], *, variants: Sequence[InputVariant] = ()) -> NetworkRun:
        """Runs over batches of tensors, once as the config says and once for each variant."""
        detector, run, first_logits = self._detector, NetworkRun(), None
        for batch in batches:
            graphs = self._graphs = self._graphs or _Graphs(detector, self._loss, batch_spec(batch))
            arrays = tf.nest.map_structure(lambda tensor: tensor.numpy(), batch)
            predictions = graphs.predict(batch.images)
            first_logits = predictions.class_logits[:1] if first_logits is None else first_logits
            run.logit_spread = max(run.logit_spread, float(tf.reduce_max(tf.abs(predictions.class_logits - first_logits))))
            judged = graphs.judge(predictions, batch.ground_truth, batch.true_shapes)
            run.is_finite &= bool(judged.is_finite)
            run.best_scores += judged.best_scores.numpy().tolist()
            run.losses.append(Losses(*(float(loss) for loss in judged.losses)))
            run.truths += truths_of(arrays)
            run.found += found_of(arrays, judged.detections)
            others = judged.readings | self._detect_variants(graphs, batch, variants)
            for name, detections in others.items():
                run.others.setdefault(name, []).extend(found_of(arrays, detections))
        return run

    def _detect_variants(self, graphs: _Graphs, batch: Batch, variants: Sequence[InputVariant]) -> dict[str, Detections]:
        found = {}
        with _kept_statistics(self._detector):
            for variant in variants:
                inputs = convert_input(self._detector, variant, batch.images, batch.true_shapes)
                predictions = graphs.predict_training(inputs) if variant.training else graphs.predict(inputs)
                found[variant.name] = graphs.postprocess(predictions, batch.true_shapes)
        return found


def loss_stage(run: NetworkRun) -> Stage:
    """Whether the losses are numbers."""
    means = Losses(*(float(np.mean(column)) for column in zip(*run.losses, strict=True)))
    message = f"classification {means.classification_loss:.3g}, localization {means.localization_loss:.3g}"
    if run.is_finite and np.isfinite(means).all():
        return Stage("losses", Outcome.OK, message)
    advice = "the network's outputs or losses are not finite: lower the learning rate, add gradient_clipping_by_norm, start again"
    return Stage("losses", Outcome.BROKEN, message, advice)


def score_stage(run: NetworkRun, score_threshold: float) -> Stage:
    """Whether the network looks at the image, and says anything aloud enough."""
    best = np.asarray(run.best_scores)
    number = sum(len(found.scores) for found in run.found)
    message = f"best score of an image {np.median(best):.3g} in the median, {best.max():.3g} at most; {number:,} detections"
    if len(best) > 1 and run.logit_spread < _SAME:
        advice = "look at weights and input; a network that died in training (too high a learning rate) says the same for all images"
        return Stage("scores", Outcome.BROKEN, f"{message}; the same for every image", advice)
    if best.max() <= score_threshold:
        return Stage("scores", Outcome.BROKEN, f"{message}; none above score_threshold {score_threshold:g}", READING_ADVICE[NO_THRESHOLD])
    return Stage("scores", Outcome.OK, message)


class _Judged(NamedTuple):
    """What follows from the predictions for a batch, as tensors."""

    is_finite: tf.Tensor  # [] bool
    best_scores: tf.Tensor  # [B] float32
    losses: Losses
    detections: Detections
    readings: dict[str, Detections]  # the same predictions understood otherwise


class _Graphs:
    """The computations of a run, each traced once."""

    def __init__(self, detector: SsdDetector, loss: DetectionLoss, spec: Batch) -> None:
        outputs = detector.box_coder.code_size, detector.num_classes + detector.postprocessing.has_background
        predictions = Predictions(*(tf.TensorSpec([None, len(detector.anchors), size]) for size in outputs))

        def graph(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
            return tf.function(function, input_signature=signature, autograph=False)

        self._detector = detector
        self._loss = loss
        self.predict = graph(detector.predict, spec.images)
        self.predict_training = graph(lambda images: detector.predict(images, training=True), spec.images)
        self.postprocess = graph(detector.postprocess, predictions, spec.true_shapes)
        self.judge = graph(self._judge, predictions, spec.ground_truth, spec.true_shapes)

    def _judge(self, predictions: Predictions, truth: GroundTruth, true_shapes: tf.Tensor) -> _Judged:
        detector = self._detector
        return _Judged(
            tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(tensor)) for tensor in predictions])),
            _best_scores(detector, predictions),
            self._loss(predictions, truth, tf.constant(detector.anchors)),
            detector.postprocess(predictions, true_shapes),
            _readings(detector, predictions, true_shapes),
        )


def _best_scores(detector: SsdDetector, predictions: Predictions) -> tf.Tensor:
    """`[B]`: of all classes and anchors."""
    scores = detector.postprocessing.convert_scores(predictions.class_logits)
    first_class = 1 if detector.postprocessing.has_background else 0
    return tf.reduce_max(scores[..., first_class:], axis=[1, 2])


def _readings(detector: SsdDetector, predictions: Predictions, true_shapes: tf.Tensor) -> dict[str, Detections]:
    size = tf.constant(detector.input_shape[:2] * 2, tf.float32)
    window, boxes = detector.clip_window(true_shapes), detector.decode(predictions.box_encodings)
    readings = {IN_PIXELS: detector.postprocessing(boxes / size, predictions.class_logits, clip_window=window)}
    if detector.postprocessing.score_threshold > _HIGH_THRESHOLD:
        all_scores = replace(detector.postprocessing, score_threshold=0.0)
        readings[NO_THRESHOLD] = all_scores(boxes, predictions.class_logits, clip_window=window)
    return readings


@contextmanager
def _kept_statistics(detector: SsdDetector) -> Iterator[None]:
    """A call in training mode moves batch norm's averages; they are put back."""
    averages = [variable for variable in detector.network.weights if "/moving_" in variable.name]
    values = [variable.numpy() for variable in averages]
    try:
        yield
    finally:
        for variable, value in zip(averages, values, strict=True):
            variable.assign(value)
