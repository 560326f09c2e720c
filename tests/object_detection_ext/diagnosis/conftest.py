"""A detector that is built in milliseconds, and a few images whose ground truth is made of its own anchors.

Every image has one colour, which tells its number; a fake network looks it up and predicts what a test wants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.builders.detector import build_detector
from object_detection_ext.builders.feature_extractor import FEATURE_EXTRACTORS
from object_detection_ext.builders.losses import build_detection_loss
from object_detection_ext.config import load_config
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.models.normalization import TO_MINUS_ONE_TO_ONE, PixelScaling
from object_detection_ext.training.detection import DetectionTask
from object_detection_ext.types import Batch, GroundTruth

STRIDES = (8, 16, 32)
SIZE = 64
NUM_IMAGES = 6
NAMES = {1: "red", 2: "green", 3: "blue"}

TINY_CONFIG = """model {
  ssd {
    num_classes: 3
    image_resizer { fixed_shape_resizer { height: 64 width: 64 } }
    feature_extractor { type: "tiny" }
    box_coder { faster_rcnn_box_coder { y_scale: 10.0 x_scale: 10.0 height_scale: 5.0 width_scale: 5.0 } }
    matcher { argmax_matcher { matched_threshold: 0.5 unmatched_threshold: 0.5 force_match_for_each_row: true } }
    similarity_calculator { iou_similarity { } }
    box_predictor { convolutional_box_predictor { kernel_size: 1 class_prediction_bias_init: -4.6 conv_hyperparams { } } }
    anchor_generator { ssd_anchor_generator {
      num_layers: 3 min_scale: 0.2 max_scale: 0.8 aspect_ratios: 1.0 aspect_ratios: 2.0 aspect_ratios: 0.5 } }
    post_processing {
      batch_non_max_suppression { score_threshold: 5e-4 iou_threshold: 0.6 max_detections_per_class: 100 max_total_detections: 100 }
      score_converter: SIGMOID
    }
    encode_background_as_zeros: true
    loss {
      classification_loss { weighted_sigmoid_focal { gamma: 2.0 alpha: 0.25 } }
      localization_loss { weighted_smooth_l1 { delta: 1.0 } }
    }
  }
}
train_config { batch_size: 2 num_steps: 400 }
"""


@dataclass(frozen=True)
class TinyExtractor:
    """Feature maps of strides 8, 16 and 32: average pooling, one convolution, batch norm."""

    min_image_size: int = 32
    normalize: PixelScaling = TO_MINUS_ONE_TO_ONE

    def __call__(self, image: Any) -> list[Any]:
        maps = [tf_keras.layers.AveragePooling2D(stride, padding="same")(image) for stride in STRIDES]
        maps = [tf_keras.layers.Conv2D(4, 1, use_bias=False, name=f"backbone_{index}")(each) for index, each in enumerate(maps)]
        return [tf_keras.layers.BatchNormalization(name=f"backbone_{index}_bn")(each) for index, each in enumerate(maps)]


@dataclass(frozen=True)
class FakeNetwork:
    """Knows the images by their colours, given as `scaling` gives them; anything else is told nothing."""

    encodings: np.ndarray  # [I, A, 4]
    logits: np.ndarray  # [I, A, K + 1]
    scaling: PixelScaling = TO_MINUS_ONE_TO_ONE
    is_bgr: bool = False
    only_training: bool = False
    input_shape: tuple[int | None, ...] = (None, SIZE, SIZE, 3)
    weights: list[Any] = field(default_factory=list)

    def __call__(self, inputs: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = self.scaling.inverse(inputs[:, 0, 0, ::-1] if self.is_bgr else inputs[:, 0, 0])  # [B, 3]
        known = tf.constant([color(number) for number in range(len(self.logits))], tf.float32)
        distances = tf.reduce_max(tf.abs(pixels[:, tf.newaxis] - known), axis=-1)  # [B, I]
        number = tf.argmin(distances, axis=1)
        is_known = (tf.reduce_min(distances, axis=1) < 3.0)[:, tf.newaxis, tf.newaxis]
        if self.only_training and not training:
            is_known = tf.zeros_like(is_known)
        logits = tf.where(is_known, tf.gather(tf.constant(self.logits), number), -9.0)
        return tf.gather(tf.constant(self.encodings), number), logits


@dataclass(frozen=True)
class Scene:
    """Images, their objects, and the anchors that the objects are."""

    anchors: np.ndarray  # [A, 4]
    chosen: list[list[int]]  # anchors of each image
    classes: list[list[int]]  # 0-based, of each image

    def batches(
        self,
        change_boxes: Callable[[np.ndarray], np.ndarray] = lambda boxes: boxes,
        change_classes: Callable[[np.ndarray], np.ndarray] = lambda classes: classes,
        *,
        is_crowd: bool = False,
        images: np.ndarray | None = None,
    ) -> list[Batch]:
        """Two batches of tensors; `is_crowd` adds a crowd to every image."""
        count, most = len(self.chosen), 4
        boxes, classes = np.zeros((count, most, 4), np.float32), np.zeros((count, most), np.int32)
        crowds, numbers = np.zeros((count, most), bool), np.zeros(count, np.int32)
        for image, (rows, ids) in enumerate(zip(self.chosen, self.classes, strict=True)):
            numbers[image] = len(rows) + is_crowd
            boxes[image, : len(rows)], classes[image, : len(rows)] = change_boxes(self.anchors[rows]), change_classes(np.array(ids))
            if is_crowd:
                boxes[image, len(rows)], crowds[image, len(rows)] = [0.1, 0.1, 0.9, 0.95], True
        if images is None:
            images = TO_MINUS_ONE_TO_ONE(np.broadcast_to([[[color(image)]] for image in range(count)], (count, SIZE, SIZE, 3))).numpy()
        weights = (np.arange(most) < numbers[:, np.newaxis]).astype(np.float32)
        areas = np.full((count, most), 100.0, np.float32)
        shapes = np.full((count, 2), SIZE, np.int32)
        whole = Batch(
            images.astype(np.float32),
            shapes,
            GroundTruth(boxes, classes, weights, crowds, np.zeros_like(crowds), areas, numbers),
            shapes * 2,
            np.array([b""] * count),
        )
        return [tf.nest.map_structure(lambda array, half=half: tf.constant(array[half]), whole) for half in (slice(0, 4), slice(4, None))]

    def predictions(self, *, logit: float = 8.0) -> FakeNetwork:
        """The network that finds exactly these objects: code 0 is the anchor itself."""
        logits = np.full((len(self.chosen), len(self.anchors), len(NAMES) + 1), -9.0, np.float32)
        for image, (rows, ids) in enumerate(zip(self.chosen, self.classes, strict=True)):
            logits[image, rows, np.array(ids) + 1] = logit
        return FakeNetwork(np.zeros((*logits.shape[:2], 4), np.float32), logits)


def color(number: int) -> list[float]:
    """Red, green, blue of an image."""
    return [20.0 + 20.0 * number, 240.0 - 20.0 * number, 60.0]


@pytest.fixture(autouse=True, scope="session")
def _tiny_extractor():
    """The name "tiny" in configs."""
    FEATURE_EXTRACTORS["tiny"] = lambda config, freeze_batchnorm: TinyExtractor()
    yield
    del FEATURE_EXTRACTORS["tiny"]


@pytest.fixture
def eagerly():
    """Tracing takes longer than running a batch of four small images: without it, where a test does not ask for it."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def tiny_config_path(tmp_path: Path) -> Path:
    """A file with the tiny detector's config."""
    path = tmp_path / "pipeline.config"
    path.write_text(TINY_CONFIG)
    return path


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory: pytest.TempPathFactory) -> DetectionTask:
    """The tiny detector as a task, with fresh weights and without data."""
    path = tmp_path_factory.mktemp("tiny") / "pipeline.config"
    path.write_text(TINY_CONFIG)
    ssd = load_config(path).proto.model.ssd
    return DetectionTask(
        detector=build_detector(ssd),
        loss=build_detection_loss(ssd),
        make_train_dataset=None,
        make_eval_dataset=None,
        categories=NAMES,
        train_batch_size=4,
        check_input=lambda: None,
    )


@pytest.fixture(scope="session")
def scene(tiny_task: DetectionTask) -> Scene:
    """Two flat or tall objects an image, away from the borders and from where a turned image would have them."""
    anchors = tiny_task.detector.anchors
    shapes_at = [3 * (8 * row + column) for row, column in ((1, 2), (1, 4), (2, 1), (2, 4), (3, 5), (4, 1))]  # finest map: 8 x 8 points
    others_at = [3 * (8 * row + column) for row, column in ((5, 6), (6, 3), (4, 6), (6, 1), (5, 2), (2, 6))]
    chosen = [[first + 1, second + 2] for first, second in zip(shapes_at, others_at, strict=True)]
    classes = [[image % 3, (image + 1) % 3] for image in range(NUM_IMAGES)]
    return Scene(anchors, chosen, classes)


@pytest.fixture
def with_detector(tiny_task: DetectionTask) -> Callable[..., DetectionTask]:
    """The task with some fields of its detector, or of its post-processing, replaced."""

    def make(**fields: Any) -> DetectionTask:
        names = {name for name in fields if name not in SsdDetector.__dataclass_fields__}
        post = replace(tiny_task.detector.postprocessing, **{name: fields[name] for name in names})
        rest = {name: value for name, value in fields.items() if name not in names}
        return replace(tiny_task, detector=replace(tiny_task.detector, postprocessing=post, **rest))

    return make
