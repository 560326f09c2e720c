"""Steps that change the ground truth only. Classes are 0-based."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from object_detection_ext.augment.checks import check_at_least, check_probability
from object_detection_ext.augment.objects import select_objects
from object_detection_ext.types import Example

JitterMode = Literal["default", "expand", "shrink", "expand_symmetric", "shrink_symmetric", "expand_symmetric_xy", "shrink_symmetric_xy"]


@dataclass(frozen=True)
class DropLabel:
    """Drops each object of one class with the given probability."""

    class_index: int
    drop_probability: float = 1.0

    def __post_init__(self) -> None:
        check_probability("drop_probability", self.drop_probability)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        kept = tf.random.stateless_uniform(tf.shape(example.classes), seed) > self.drop_probability
        return select_objects(example, tf.where(kept | (example.classes != self.class_index))[:, 0])


@dataclass(frozen=True)
class RemapLabels:
    """Makes several classes one."""

    original_classes: tuple[int, ...]
    new_class: int

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        changed = tf.reduce_any(example.classes[:, tf.newaxis] == tf.constant(self.original_classes, tf.int32), axis=1)
        return example._replace(classes=tf.where(changed, self.new_class, example.classes))


@dataclass(frozen=True)
class ScaleBoxesToPixelCoordinates:
    """Gives boxes and keypoints in pixels of the image instead of shares of it. No other step takes them then."""

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        shape = tf.cast(tf.shape(example.image)[:2], tf.float32)
        return example._replace(
            boxes=example.boxes * tf.tile(shape, [2]), keypoints=None if example.keypoints is None else example.keypoints * shape
        )


@dataclass(frozen=True)
class ConvertClassLogitsToSoftmax:
    """Makes probabilities of multiclass logits; a larger temperature makes them more alike. Examples without such logits stay."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0.0:
            raise ValueError(f"temperature must be > 0, got {self.temperature:g}")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        if example.multiclass_scores is None:
            return example
        return example._replace(multiclass_scores=tf.nn.softmax(example.multiclass_scores / self.temperature))


@dataclass(frozen=True)
class RandomJitterBoxes:
    """Moves the edges of each box by up to half of `ratio` of its side, and clips to the image.

    `expand` and `shrink` move every edge outwards or inwards; the symmetric modes scale height and width about the centre, the `_xy` ones
    by the same factor, and no further than the image's nearer edge.
    """

    ratio: float = 0.05
    mode: JitterMode = "default"

    def __post_init__(self) -> None:
        check_at_least("ratio", self.ratio, 0.0)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        low, high = example.boxes[:, :2], example.boxes[:, 2:]
        centers = (low + high) / 2.0
        sides = tf.maximum(tf.abs(high - low), 1e-6)
        smallest = 0.0 if self.mode.startswith("expand") else -self.ratio
        largest = 0.0 if self.mode.startswith("shrink") else self.ratio
        count = tf.shape(example.boxes)[0]
        factors = 1.0 + tf.random.stateless_uniform([count, 4], seed, smallest, largest)  # ymin, xmin, ymax, xmax
        if "symmetric" in self.mode:
            factors = self._symmetric(factors[:, :2], centers, sides)
        boxes = tf.concat([centers - sides * factors[:, :2] / 2.0, centers + sides * factors[:, 2:] / 2.0], axis=1)
        return example._replace(boxes=tf.clip_by_value(boxes, 0.0, 1.0))

    def _symmetric(self, factors: tf.Tensor, centers: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
        """Factors [N, 2] for height and width, limited by the image, for both edges: [N, 4]."""
        limits = tf.abs(tf.minimum(2.0 * centers / sides, 2.0 * (1.0 - centers) / sides))
        if self.mode.endswith("_xy"):
            factors = tf.repeat(factors[:, :1], 2, axis=1)
            limits = tf.repeat(tf.reduce_min(limits, axis=1, keepdims=True), 2, axis=1)
        return tf.tile(tf.clip_by_value(factors, -limits, limits), [1, 2])
