"""The one interface between a problem (detection, segmentation, ...) and the loop that trains it. The loop knows no boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras

# TensorBoard tags of the losses that the loop adds to a task's own.
REGULARIZATION = "Loss/regularization_loss"
TOTAL = "Loss/total_loss"


class Evaluation(Protocol):
    """Collects one pass over the evaluation set."""

    def update(self, batch: Any, outputs: Any) -> None:
        """Adds a batch and the task's `predict` outputs for it, both as nests of numpy arrays."""
        ...

    def result(self) -> dict[str, float]:
        """The metrics by TensorBoard tag."""
        ...

    def images(self) -> Mapping[str, np.ndarray]:
        """A few pictures of what was predicted: tag -> `[n, H, W, 3]` uint8."""
        ...

    def summary(self) -> str:
        """The metrics as a table for people."""
        ...


class Task(Protocol):
    """What the loop asks of a problem. A batch is whatever nest of tensors its datasets yield."""

    @property
    def network(self) -> tf_keras.Model:
        """The network that is trained."""
        ...

    @property
    def loss_tags(self) -> tuple[str, ...]:
        """The keys of `losses`."""
        ...

    def train_dataset(self, start_step: int) -> tf.data.Dataset:
        """Endless batches; the first is that of `start_step`, whatever ran before."""
        ...

    def eval_dataset(self) -> tf.data.Dataset:
        """One pass over the evaluation set."""
        ...

    def losses(self, batch: Any, *, training: bool) -> dict[str, tf.Tensor]:
        """Scalar losses by TensorBoard tag, already weighted; their sum is minimised (with the network's regularisation)."""
        ...

    def predict(self, batch: Any) -> tuple[Any, dict[str, tf.Tensor]]:
        """Final outputs for a batch, and its losses, in inference mode."""
        ...

    def evaluation(self) -> Evaluation:
        """A fresh collector."""
        ...

    def draw(self, batch: Any) -> tf.Tensor:
        """What training sees: `[n, H, W, 3]` uint8 pictures of the first images of a batch, as graph operations."""
        ...

    def batch_size(self) -> int:
        """Images in a training batch over all replicas."""
        ...

    def raise_input_errors(self) -> None:
        """Raises the `InputError` that a background reader met, if any (a TensorFlow error hides its cause)."""
        ...
