"""Flips and rotation. They keep the image's dtype, so that they can run on uint8 before the (four times larger) float image exists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.augment.checks import check_probability
from object_detection_ext.types import Example


@dataclass(frozen=True)
class _RandomMove(ABC):
    """Moves the whole example with the given probability.

    `keypoint_permutation[i]` is the point that takes place i afterwards (left eye <-> right eye); empty for the order as it is. The API
    moves visibilities along in horizontal flips only; here they stay with their points in all.
    """

    probability: float = 0.5
    keypoint_permutation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        chosen = tf.random.stateless_uniform([], seed) < self.probability
        return tf.cond(chosen, lambda: self._permuted(self.move(example)), lambda: example)

    @abstractmethod
    def move(self, example: Example) -> Example:
        """The example after the move, keypoints in their old order."""

    def _permuted(self, example: Example) -> Example:
        points = {name: getattr(example, name) for name in ("keypoints", "keypoint_visibilities")}
        if not self.keypoint_permutation:
            return example
        permutation = tf.constant(self.keypoint_permutation)
        return example._replace(**{name: tf.gather(values, permutation, axis=1) for name, values in points.items() if values is not None})


@dataclass(frozen=True)
class RandomHorizontalFlip(_RandomMove):
    """Mirrors left and right."""

    def move(self, example: Example) -> Example:
        return _mirrored(example, axis=1)


@dataclass(frozen=True)
class RandomVerticalFlip(_RandomMove):
    """Mirrors top and bottom."""

    def move(self, example: Example) -> Example:
        return _mirrored(example, axis=0)


@dataclass(frozen=True)
class RandomRotation90(_RandomMove):
    """Rotates by 90 degrees counter-clockwise: mirrors along the diagonal, then top and bottom."""

    def move(self, example: Example) -> Example:
        masks, keypoints = example.masks, example.keypoints
        transposed = example._replace(
            image=tf.transpose(example.image, [1, 0, 2]),
            boxes=tf.gather(example.boxes, [1, 0, 3, 2], axis=1),
            masks=None if masks is None else tf.transpose(masks, [0, 2, 1]),
            keypoints=None if keypoints is None else tf.reverse(keypoints, axis=[2]),
        )
        return _mirrored(transposed, axis=0)


def _mirrored(example: Example, *, axis: int) -> Example:
    """Top and bottom (axis 0) or left and right (axis 1) exchanged."""
    sign, offset = ([-1.0, 1.0], [1.0, 0.0]) if axis == 0 else ([1.0, -1.0], [0.0, 1.0])
    exchanged = [2, 1, 0, 3] if axis == 0 else [0, 3, 2, 1]  # the minimum becomes the maximum
    return example._replace(
        image=tf.reverse(example.image, axis=[axis]),
        boxes=tf.gather(example.boxes, exchanged, axis=1) * (sign + sign) + (offset + offset),
        masks=None if example.masks is None else tf.reverse(example.masks, axis=[axis + 1]),
        keypoints=None if example.keypoints is None else example.keypoints * sign + offset,
    )
