"""Detection as a `Task`: the only place where the loop's questions meet boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
import tf_keras

from object_detection_ext.drawing import draw_boxes, side_by_side
from object_detection_ext.evaluation.coco import CocoEvaluator
from object_detection_ext.evaluation.summary import explain_zero, format_metrics
from object_detection_ext.losses.detection import DetectionLoss
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.training.task import Evaluation
from object_detection_ext.types import Batch, Detections, Losses

NEARLY_ZERO = 0.01  # an mAP below this wants an explanation
HOW_TO_FIND_OUT = "what is broken: python -m pipelines.doctor --autopsy --checkpoint_dir MODEL_DIR --pipeline_config_path CONFIG"
MIN_PICTURE_SIZE = 400  # pixels of the longer side of an evaluation picture


@dataclass(frozen=True)
class DetectionTask:
    """An SSD detector, its loss and its data.

    Fields:
      make_train_dataset: start step -> endless batches.
      make_eval_dataset: one pass over the evaluation images; None where the config has no evaluation reader.
      categories: label id (1-based) -> name.
      check_input: raises the `InputError` that a background reader met.
      num_pictures: evaluation images drawn side by side, at scores of `picture_score` or more.
    """

    detector: SsdDetector
    loss: DetectionLoss
    make_train_dataset: Callable[[int], tf.data.Dataset] | None
    make_eval_dataset: Callable[[], tf.data.Dataset] | None
    categories: Mapping[int, str]
    train_batch_size: int
    check_input: Callable[[], None]
    metrics_per_category: bool = True
    num_pictures: int = 10
    picture_score: float = 0.5

    @property
    def loss_tags(self) -> tuple[str, ...]:
        return tuple(f"Loss/{name}" for name in Losses._fields)

    @property
    def network(self) -> tf_keras.Model:
        return self.detector.network

    def train_dataset(self, start_step: int) -> tf.data.Dataset:
        if self.make_train_dataset is None:
            raise ValueError("this task was built without training data")
        return self.make_train_dataset(start_step)

    def eval_dataset(self) -> tf.data.Dataset:
        if self.make_eval_dataset is None:
            raise ValueError("this task was built without evaluation data")
        return self.make_eval_dataset()

    def losses(self, batch: Batch, *, training: bool) -> dict[str, tf.Tensor]:
        predictions = self.detector.predict(batch.images, training=training)
        return _by_tag(self.loss(predictions, batch.ground_truth, self.detector.anchors))

    def predict(self, batch: Batch) -> tuple[Detections, dict[str, tf.Tensor]]:
        predictions = self.detector.predict(batch.images, training=False)
        losses = self.loss(predictions, batch.ground_truth, self.detector.anchors)
        return self.detector.postprocess(predictions, batch.true_shapes), _by_tag(losses)

    def evaluation(self) -> Evaluation:
        return _DetectionEvaluation(self)

    def draw(self, batch: Batch) -> tf.Tensor:
        """The first three images as the network sees them, ground truth outlined; `[<=3, H, W, 3]` uint8."""
        images = self.detector.denormalize(batch.images[:3])
        drawn = tf.image.draw_bounding_boxes(images / 255.0, batch.ground_truth.boxes[:3], colors=[[0.0, 1.0, 0.3]])
        return tf.cast(tf.clip_by_value(drawn * 255.0, 0.0, 255.0), tf.uint8)

    def batch_size(self) -> int:
        return self.train_batch_size

    def raise_input_errors(self) -> None:
        self.check_input()


@dataclass
class _DetectionEvaluation:
    """COCO metrics and side-by-side pictures of one pass."""

    task: DetectionTask
    pictures: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.coco = CocoEvaluator(self.task.categories, include_metrics_per_category=self.task.metrics_per_category)
        self._metrics: dict[str, float] | None = None

    def update(self, batch: Batch, outputs: Detections) -> None:
        self.coco.update(batch, outputs)
        for index in range(len(batch.source_ids)):
            if len(self.pictures) >= self.task.num_pictures:
                return
            self.pictures.append(self._draw(batch, outputs, index))

    def result(self) -> dict[str, float]:
        if self._metrics is None:
            self._metrics = self.coco.compute()
        return self._metrics

    def images(self) -> dict[str, np.ndarray]:
        return {f"eval_side_by_side_{index}": picture[np.newaxis] for index, picture in enumerate(self.pictures)}

    def summary(self) -> str:
        metrics = self.result()
        if metrics["DetectionBoxes_Precision/mAP"] >= NEARLY_ZERO:
            return format_metrics(metrics)
        return "\n".join([format_metrics(metrics), *(f"why so low: {hint}" for hint in explain_zero(self.coco)), HOW_TO_FIND_OUT])

    def _draw(self, batch: Batch, outputs: Detections, index: int) -> np.ndarray:
        """Detections left, ground truth right, on the image as the network sees it, enlarged until captions can be read."""
        image = np.clip(np.asarray(self.task.detector.denormalize(batch.images[index])), 0, 255).astype(np.uint8)
        factor = -(-MIN_PICTURE_SIZE // max(image.shape[:2]))
        image = image.repeat(factor, axis=0).repeat(factor, axis=1)
        scale = np.tile(image.shape[:2], 2)  # normalised -> pixels of this image
        found = draw_boxes(
            image,
            outputs.boxes[index] * scale,
            class_ids=outputs.classes[index] + 1,
            names=self.task.categories,
            scores=outputs.scores[index],
            min_score=self.task.picture_score,
        )
        truth, count = batch.ground_truth, batch.ground_truth.num_boxes[index]
        annotated = draw_boxes(
            image, truth.boxes[index][:count] * scale, class_ids=truth.classes[index][:count] + 1, names=self.task.categories
        )
        return side_by_side(found, annotated)


def _by_tag(losses: Losses) -> dict[str, tf.Tensor]:
    return {f"Loss/{name}": value for name, value in losses._asdict().items()}
