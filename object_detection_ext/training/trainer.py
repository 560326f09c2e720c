"""Orbit's inner loop for a task: many steps inside one `tf.function`, losses averaged over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orbit
import tensorflow as tf
import tf_keras

from object_detection_ext.training.task import REGULARIZATION, TOTAL, Task


class Trainer(orbit.StandardTrainer):
    """Runs steps of `task` and reports the mean losses of each call to `train`.

    The regularisation loss is the sum of the network's own losses, as Keras collects them. On several replicas each one divides its
    loss by their number and gradients are summed, so the result is that of the global batch.
    """

    def __init__(
        self,
        task: Task,
        optimizer: tf_keras.optimizers.legacy.Optimizer,
        *,
        start_step: int = 0,
        clip_norm: float = 0.0,
        add_regularization: bool = True,
        picture_every_n: int = 0,
        trained: Sequence[tf.Variable] | None = None,
    ) -> None:
        """Args:
        trained: the variables that steps change; None for all trainable ones. Others have no gradient, no regularisation and no
          optimizer slot. Batch normalisation updates its moving statistics all the same, as in TF 1.
        start_step: where the input starts; the data of a step depend on nothing else.
        clip_norm: gradients are scaled down to this global norm; 0 leaves them.
        picture_every_n: every so many steps the first images of the batch go to the current summary writer; 0 for never.
        """
        self.strategy = tf.distribute.get_strategy()
        dataset = task.train_dataset(start_step)
        if self.strategy.num_replicas_in_sync > 1:
            options = tf.data.Options()  # every worker makes the same global batch and keeps its own part of it
            options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
            dataset = self.strategy.experimental_distribute_dataset(dataset.with_options(options))
        super().__init__(dataset)
        self._task = task
        self._optimizer = optimizer
        self._clip_norm = clip_norm
        self._trained = list(task.network.trainable_variables if trained is None else trained)
        factors = _l2_factors(task.network) if add_regularization else []
        # The closed form serves L2 only; anything else is differentiated as Keras gives it.
        self._differentiate = add_regularization and len(factors) != len(task.network.losses)
        trained_refs = {variable.ref() for variable in self._trained}
        self._l2 = [(kernel, factor) for kernel, factor in factors if kernel.ref() in trained_refs]
        self._picture_every_n = picture_every_n
        self._steps = 0
        self._tags = [*task.loss_tags, REGULARIZATION, TOTAL]
        self._sums = tf.Variable(
            tf.zeros([len(self._tags)]),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        create_slots(optimizer, self._trained)

    def train(self, num_steps: tf.Tensor) -> dict[str, float] | None:
        """Runs `num_steps` steps; returns the mean losses over them by TensorBoard tag."""
        self._steps = int(num_steps)
        return super().train(num_steps)

    def train_loop_begin(self) -> None:
        self._sums.assign(tf.zeros_like(self._sums))

    @tf.autograph.experimental.do_not_convert  # nothing in a step branches on a tensor; converting it would double the tracing time
    def train_step(self, iterator: Any) -> None:
        batch = next(iterator)
        self.strategy.run(self._replica_step, args=(batch,))
        if self._picture_every_n:
            first = self.strategy.experimental_local_results(batch)[0]
            step = self._optimizer.iterations
            with tf.summary.record_if(lambda: tf.equal(step % self._picture_every_n, 0)):
                tf.summary.image("train_input_images", self._task.draw(first), step=step)

    def train_loop_end(self) -> dict[str, float]:
        means = self._sums.numpy() / (self._steps * self.strategy.num_replicas_in_sync)
        return dict(zip(self._tags, means.tolist(), strict=True))

    def _replica_step(self, batch: Any) -> None:
        variables = self._trained
        with tf.GradientTape(watch_accessed_variables=False) as tape:  # nothing is recorded for what is frozen below all that trains
            tape.watch(variables)
            losses = self._task.losses(batch, training=True)
            loss = tf.add_n(list(losses.values()))
            regularization = tf.add_n(self._keras_losses()) if self._differentiate else tf.zeros([])
            scaled = (loss + regularization) / self.strategy.num_replicas_in_sync
        gradients = tape.gradient(scaled, variables)
        if self._l2 and not self._differentiate:
            gradients, regularization = self._add_l2(variables, gradients)
        if self._clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self._record({**losses, REGULARIZATION: regularization, TOTAL: loss + regularization})

    def _keras_losses(self) -> list[tf.Tensor]:
        """The regularisation of every layer that trains, as Keras gives it."""
        trained = {variable.ref() for variable in self._trained}
        layers = [layer for layer in self._task.network.layers if any(variable.ref() in trained for variable in layer.trainable_weights)]
        return [loss for layer in layers for loss in layer.losses] or [tf.zeros([])]

    def _add_l2(self, variables: list[tf.Variable], gradients: list[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Adds the gradient of `sum(l2 * sum(w^2))`, which is `2 * l2 * w`, without differentiating a hundred small graphs."""
        factors = {variable.ref(): factor for variable, factor in self._l2}
        replicas = self.strategy.num_replicas_in_sync
        result, terms = [], []
        for variable, gradient in zip(variables, gradients, strict=True):
            factor = factors.get(variable.ref())
            if factor is not None:
                gradient = gradient + (2.0 * factor / replicas) * variable
                terms.append(2.0 * factor * tf.nn.l2_loss(variable))
            result.append(gradient)
        return result, tf.add_n(terms)

    def _record(self, losses: dict[str, tf.Tensor]) -> None:
        """Adds the step's losses to one vector: a variable per loss would cost more than the sum."""
        self._sums.assign_add(tf.stack([losses[tag] for tag in self._tags]))


def create_slots(optimizer: tf_keras.optimizers.legacy.Optimizer, variables: Sequence[tf.Variable]) -> None:
    """Makes the optimizer's variables now: `tf.function` traces a step twice where its first call creates variables."""
    inner = getattr(optimizer, "_optimizer", optimizer)  # Model Garden's moving average wraps the real one
    inner._create_all_weights(variables)


_REGULARIZED = (("kernel_regularizer", "kernel"), ("depthwise_regularizer", "depthwise_kernel"), ("bias_regularizer", "bias"))


def _l2_factors(network: tf_keras.Model) -> list[tuple[tf.Variable, float]]:
    """The trainable weights with an L2 regulariser, and its factor (loss = factor * sum(w^2))."""
    found = []
    for layer in network.layers:
        for attribute, name in _REGULARIZED:
            regularizer: Any = getattr(layer, attribute, None)
            weight = getattr(layer, name, None)
            if isinstance(regularizer, tf_keras.regularizers.L2) and weight is not None and layer.trainable:
                found.append((weight, float(regularizer.l2)))
    return found
