"""One pass over the evaluation set: metrics, losses and pictures, written under `model_dir/eval`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from object_detection_ext.training.averages import averages
from object_detection_ext.training.task import REGULARIZATION, TOTAL, Task


class Evaluator:
    """Evaluates a task's network as it stands; the graph is traced once and used for every run."""

    def __init__(
        self,
        task: Task,
        *,
        summary_dir: Path | None,
        optimizer: tf_keras.optimizers.legacy.Optimizer | None = None,
        add_regularization: bool = True,
        quiet: bool = False,
    ) -> None:
        """Args:
        summary_dir: where TensorBoard events go; None writes none.
        optimizer: with a moving average, the averaged weights are evaluated (`eval_config.use_moving_averages`).
        add_regularization: the network's own losses are among the metrics and count in the total.
        quiet: print neither progress nor table.
        """
        self._task = task
        self._add_regularization = add_regularization
        self._optimizer = optimizer
        self._quiet = quiet
        self._summary_dir = summary_dir

    def run(self, step: int) -> dict[str, float]:
        """Returns the metrics by TensorBoard tag, the mean losses among them, for the weights after `step` steps."""
        begin = time.perf_counter()
        evaluation = self._task.evaluation()
        sums: dict[str, float] = {}
        batches = 0
        with self._averaged_weights():
            for batch in self._batches():
                outputs, losses = self._predict(batch)
                evaluation.update(_to_numpy(batch), _to_numpy(outputs))
                batches += 1
                for tag, value in losses.items():
                    sums[tag] = sums.get(tag, 0.0) + float(value)
            losses = {tag: total / batches for tag, total in sums.items()} | self._regularization()
        metrics = {**evaluation.result(), **losses, TOTAL: sum(losses.values())}
        if not self._quiet:
            print(f"evaluation at step {step} ({time.perf_counter() - begin:.1f} s)\n{evaluation.summary()}", flush=True)
        self._write(step, metrics, evaluation.images())
        return metrics

    def _regularization(self) -> dict[str, float]:
        terms = self._task.network.losses if self._add_regularization else []
        return {REGULARIZATION: float(tf.add_n(terms))} if terms else {}

    @cached_property
    def _dataset(self) -> tf.data.Dataset:
        return self._task.eval_dataset()

    @cached_property
    def _predict(self) -> Callable[[Any], tuple[Any, dict[str, tf.Tensor]]]:
        """Traced once for all batches, which differ in their most boxes and, the last one, in their images."""
        return tf.function(self._task.predict, input_signature=[self._dataset.element_spec], autograph=False)

    @cached_property
    def _writer(self) -> tf.summary.SummaryWriter:
        return tf.summary.create_file_writer(str(self._summary_dir))

    def _batches(self) -> Iterator[Any]:
        iterator = iter(self._dataset)
        show = sys.stderr.isatty() and not self._quiet
        count = 0
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                self._task.raise_input_errors()
                break
            except tf.errors.OpError:
                self._task.raise_input_errors()
                raise
            yield batch
            count += 1
            if show:
                sys.stderr.write(f"\r\x1b[Kevaluating batch {count}")
                sys.stderr.flush()
        if show:
            sys.stderr.write("\r\x1b[K")

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Puts the moving averages in place of the weights and the weights back afterwards.

        Model Garden's own `swap_weights` does the same but refuses TensorFlow's default strategy.
        """
        self._swap_averages()
        try:
            yield
        finally:
            self._swap_averages()

    def _swap_averages(self) -> None:
        for variable, average in averages(self._optimizer):
            weight = tf.identity(variable)
            variable.assign(average)
            average.assign(weight)

    def _write(self, step: int, metrics: dict[str, float], images: Any) -> None:
        if self._summary_dir is None:
            return
        with self._writer.as_default(step=step):
            for tag, value in metrics.items():
                tf.summary.scalar(tag, value)
            for tag, pictures in images.items():
                tf.summary.image(tag, pictures, max_outputs=len(pictures))
        self._writer.flush()


def _to_numpy(nest: Any) -> Any:
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), nest)
