"""Augmentation: a chain of steps, each a pure function of (example, seed)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

from object_detection_ext.types import Example


class AugmentationStep(Protocol):
    """One step; the same example and seed always give the same result. Images are uint8 or float32 in [0, 255]."""

    def __call__(self, example: Example, seed: tf.Tensor) -> Example: ...


@dataclass(frozen=True)
class Augmentation:
    """Applies the steps in order, each with its own seed."""

    steps: tuple[AugmentationStep, ...] = ()

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        """Augments one example.

        Args:
            example: a decoded record.
            seed: [2] int32 or int64, as the `tf.random.stateless_*` functions take it.
        """
        if not self.steps:
            return example
        seeds = tf.unstack(tf.random.split(seed, len(self.steps)), num=len(self.steps))
        for step, step_seed in zip(self.steps, seeds, strict=True):
            example = step(example, step_seed)
        return example
