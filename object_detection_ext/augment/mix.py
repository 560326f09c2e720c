"""Steps that make one image out of several, or of one image several times."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.augment.checks import check_probability
from object_detection_ext.augment.objects import per_object
from object_detection_ext.types import Example


@dataclass(frozen=True)
class RandomSelfConcatImage:
    """Puts the image below itself, and beside itself, each with its own probability."""

    concat_vertical_probability: float = 0.1
    concat_horizontal_probability: float = 0.1

    def __post_init__(self) -> None:
        check_probability("concat_vertical_probability", self.concat_vertical_probability)
        check_probability("concat_horizontal_probability", self.concat_horizontal_probability)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        below, beside = tf.unstack(tf.random.stateless_uniform([2], seed), num=2)
        current = example
        example = tf.cond(below < self.concat_vertical_probability, lambda: _concat(current, axis=0), lambda: current)
        taller = example
        return tf.cond(beside < self.concat_horizontal_probability, lambda: _concat(taller, axis=1), lambda: taller)


def _concat(example: Example, *, axis: int) -> Example:
    """The example twice along the image's axis 0 (y) or 1 (x)."""
    half = tf.constant([0.5, 1.0] if axis == 0 else [1.0, 0.5])
    everything = {name: tf.concat([values, values], axis=0) for name, values in per_object(example).items()}
    boxes = example.boxes * tf.tile(half, [2])
    everything["boxes"] = tf.concat([boxes, boxes + tf.tile(1.0 - half, [2])], axis=0)
    if example.masks is not None:
        empty = tf.zeros_like(example.masks)
        first, second = (tf.concat(pair, axis + 1) for pair in ([example.masks, empty], [empty, example.masks]))
        everything["masks"] = tf.concat([first, second], axis=0)
    if example.keypoints is not None:
        everything["keypoints"] = tf.concat([example.keypoints * half, example.keypoints * half + 1.0 - half], axis=0)
    return example._replace(image=tf.concat([example.image, example.image], axis=axis), **everything)
