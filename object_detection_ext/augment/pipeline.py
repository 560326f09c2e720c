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
        return self.after_each_step(example, seed)[-1]

    def after_each_step(self, example: Example, seed: tf.Tensor) -> list[Example]:
        """The example as it is, then after the first step, after the second, and so on; arguments as above."""
        examples = [example]
        if self.steps:
            for step, step_seed in zip(self.steps, tf.unstack(tf.random.split(seed, len(self.steps)), num=len(self.steps)), strict=True):
                examples.append(step(examples[-1], step_seed))
        return examples
