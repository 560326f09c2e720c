"""Flips and rotation. They keep the image's dtype, so that they can run on uint8 before the (four times larger) float image exists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.augment.checks import check_probability
from object_detection_ext.types import Example


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Mirrors left and right with the given probability.

    `keypoint_permutation[i]` is the point that takes place i after the flip (left eye <-> right eye); needed with keypoints.
    """

    probability: float = 0.5
    keypoint_permutation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        return _apply_randomly(example, seed, self.probability, self.flip)

    def flip(self, example: Example) -> Example:
        y_min, x_min, y_max, x_max = tf.unstack(example.boxes, axis=1)
        return example._replace(
            image=tf.reverse(example.image, axis=[1]),
            boxes=tf.stack([y_min, 1.0 - x_max, y_max, 1.0 - x_min], axis=1),
            masks=None if example.masks is None else tf.reverse(example.masks, axis=[2]),
            keypoints=_permute(example.keypoints, [1.0, -1.0], [0.0, 1.0], self.keypoint_permutation),
        )


@dataclass(frozen=True)
class RandomVerticalFlip:
    """Mirrors top and bottom with the given probability; keypoints as in `RandomHorizontalFlip`."""

    probability: float = 0.5
    keypoint_permutation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        return _apply_randomly(example, seed, self.probability, self.flip)

    def flip(self, example: Example) -> Example:
        y_min, x_min, y_max, x_max = tf.unstack(example.boxes, axis=1)
        return example._replace(
            image=tf.reverse(example.image, axis=[0]),
            boxes=tf.stack([1.0 - y_max, x_min, 1.0 - y_min, x_max], axis=1),
            masks=None if example.masks is None else tf.reverse(example.masks, axis=[1]),
            keypoints=_permute(example.keypoints, [-1.0, 1.0], [1.0, 0.0], self.keypoint_permutation),
        )


@dataclass(frozen=True)
class RandomRotation90:
    """Rotates by 90 degrees counter-clockwise with the given probability; keypoints as in `RandomHorizontalFlip`."""

    probability: float = 0.5
    keypoint_permutation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        return _apply_randomly(example, seed, self.probability, self.rotate)

    def rotate(self, example: Example) -> Example:
        y_min, x_min, y_max, x_max = tf.unstack(example.boxes, axis=1)
        keypoints = None if example.keypoints is None else tf.reverse(example.keypoints, axis=[2])  # (y, x) -> (x, y)
        return example._replace(
            image=tf.reverse(tf.transpose(example.image, [1, 0, 2]), axis=[0]),
            boxes=tf.stack([1.0 - x_max, y_min, 1.0 - x_min, y_max], axis=1),
            masks=None if example.masks is None else tf.reverse(tf.transpose(example.masks, [0, 2, 1]), axis=[1]),
            keypoints=_permute(keypoints, [-1.0, 1.0], [1.0, 0.0], self.keypoint_permutation),
        )


def _apply_randomly(example: Example, seed: tf.Tensor, probability: float, change: Callable[[Example], Example]) -> Example:
    chosen = tf.random.stateless_uniform([], seed) < probability
    return tf.cond(chosen, lambda: change(example), lambda: example)


def _permute(points: tf.Tensor | None, scale: list[float], offset: list[float], permutation: tuple[int, ...]) -> tf.Tensor | None:
    """Points [N, P, 2] times `scale` plus `offset`, in the permuted order."""
    if points is None:
        return None
    moved = points * scale + offset
    return tf.gather(moved, permutation, axis=1) if permutation else moved
