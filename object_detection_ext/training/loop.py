"""The training run: steps, checkpoints, evaluation in the same process, summaries, and a clean end whatever happens.

The steps themselves run in Orbit's inner loop (`Trainer`). The outer loop is ours because Orbit's Controller prints its own lines,
neither stops on a signal nor sizes its inner loops by time.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import tensorflow as tf
import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.training.checkpoints import latest_checkpoint
from object_detection_ext.training.evaluator import Evaluator
from object_detection_ext.training.progress import ProgressLine
from object_detection_ext.training.resume import resume
from object_detection_ext.training.task import Task
from object_detection_ext.training.trainer import TOTAL, Trainer


@dataclass(frozen=True)
class LoopSettings:
    """How long to train and how often to look up. Intervals are in steps; evaluation and pictures may be 0 for never."""

    num_steps: int
    checkpoint_every_n: int = 1000
    eval_every_n: int = 1000
    summary_every_n: int = 100
    max_to_keep: int = 7
    keep_every_n_hours: float | None = None
    record_pictures: bool = True
    clip_norm: float = 0.0
    add_regularization: bool = True
    seconds_per_call: float = 2.0  # an inner loop lasts about this long, so that signals and the progress line are served

    def __post_init__(self) -> None:
        for name in ("num_steps", "checkpoint_every_n", "summary_every_n"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.eval_every_n < 0:
            raise ValueError(f"eval_every_n must be >= 0, got {self.eval_every_n}")

    def steps_until_stop(self, step: int) -> int:
        """Steps from `step` to the next point where the loop has something to do."""
        every = [self.checkpoint_every_n, self.summary_every_n] + [self.eval_every_n] * bool(self.eval_every_n)
        return min(self.num_steps - step, *(n - step % n for n in every))


class Interrupted(Exception):
    """Training was asked to stop (SIGTERM or Ctrl-C); what was trained is saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.exit_code = 128 + signal_number


@dataclass(frozen=True)
class TrainingResult:
    """Where a run ended: the step, its last checkpoint, and the last evaluation's metrics (empty without evaluation)."""

    step: int
    checkpoint: str
    metrics: dict[str, float]


def train(
    task: Task,
    optimizer: tf_keras.optimizers.legacy.Optimizer,
    *,
    model_dir: Path,
    settings: LoopSettings,
    evaluator: Evaluator | None = None,
    trained: Sequence[tf.Variable] | None = None,
    instead_of: str = "",
) -> TrainingResult:
    """Trains until `settings.num_steps`, going on from the newest checkpoint in `model_dir`.

    Call inside the strategy's scope. A checkpoint of the API in `model_dir` is gone on with too: its weights must all fit, its step
    counts, optimizer slots are fresh.

    Args:
        trained: the variables that steps change; None for all trainable ones.
        instead_of: what a run without a checkpoint would have started from; named in the line that says where this one starts.

    Raises:
        InputError: the checkpoint belongs to another model, the data cannot be read or the loss is no longer finite.
        Interrupted: after a signal.
    """
    checkpoint = tf.train.Checkpoint(step=optimizer.iterations, model=task.network, optimizer=optimizer)
    manager = tf.train.CheckpointManager(
        checkpoint, str(model_dir), max_to_keep=settings.max_to_keep, keep_checkpoint_every_n_hours=settings.keep_every_n_hours
    )
    progress = ProgressLine(settings.num_steps, task.batch_size())
    start_step = 0
    if latest_checkpoint(model_dir) is not None:
        what, start_step = resume(checkpoint, manager.directory)
        progress.say(f"going on from {what}{', not from ' + instead_of if instead_of else ''}")
    trainer = Trainer(
        task,
        optimizer,
        start_step=start_step,
        clip_norm=settings.clip_norm,
        add_regularization=settings.add_regularization,
        picture_every_n=settings.summary_every_n if settings.record_pictures else 0,
        trained=trained,
    )
    run = _Run(task, optimizer, settings, manager, trainer, progress, evaluator if settings.eval_every_n else None)
    writer = tf.summary.create_file_writer(str(model_dir / "train"))
    try:
        with _signals() as received, writer.as_default():
            return run.until_end(start_step, received)
    finally:
        writer.close()
        progress.close()


@dataclass
class _Run:
    task: Task
    optimizer: tf_keras.optimizers.legacy.Optimizer
    settings: LoopSettings
    manager: tf.train.CheckpointManager
    trainer: Trainer
    progress: ProgressLine
    evaluator: Evaluator | None
    steps_per_second: float = 0.0

    def until_end(self, step: int, received: list[int]) -> TrainingResult:
        metrics: dict[str, float] = {}
        last_summary, pending = step, []
        path = self.manager.latest_checkpoint
        while step < self.settings.num_steps:
            count = self._call_size(step)
            losses = self._steps(count)
            step += count
            _check_finite(losses, step)
            pending.append((count, losses))
            at_end = step == self.settings.num_steps
            if at_end or received or step % self.settings.summary_every_n == 0:
                self._summarise(pending, step)
                last_summary, pending = step, []
            self._show(step, losses, force=at_end or step == last_summary)
            if at_end or received or step % self.settings.checkpoint_every_n == 0:
                path = self.manager.save(checkpoint_number=step)
            if received:
                self.progress.say(f"stopped at step {step}; saved {path}. The same command goes on from there.")
                raise Interrupted(received[0])
            if self.evaluator and (at_end or step % self.settings.eval_every_n == 0):
                self.progress.close()
                metrics = self.evaluator.run(step)
        assert path is not None
        return TrainingResult(step, path, metrics)

    def _call_size(self, step: int) -> int:
        by_time = max(1, int(self.steps_per_second * self.settings.seconds_per_call))
        return min(self.settings.steps_until_stop(step), by_time)

    def _steps(self, count: int) -> dict[str, float]:
        begin = time.perf_counter()
        try:
            losses = self.trainer.train(tf.constant(count, tf.int32))
        except tf.errors.OpError:
            self.task.raise_input_errors()
            raise
        self.task.raise_input_errors()
        first = self.steps_per_second == 0.0
        rate = count / (time.perf_counter() - begin)
        # The first call traces the graph, so its rate says nothing; 10 steps a second is a guess for sizing the second call.
        self.steps_per_second = min(rate * 10, 10.0) if first else 0.5 * (self.steps_per_second + rate) if count < 10 else rate
        assert losses is not None
        return losses

    def _learning_rate(self) -> float:
        inner = getattr(self.optimizer, "_optimizer", self.optimizer)  # Model Garden's moving average wraps the real one
        return float(inner.learning_rate(self.optimizer.iterations))

    def _show(self, step: int, losses: dict[str, float], *, force: bool) -> None:
        values = {**losses, "learning_rate": self._learning_rate()}
        self.progress.show(step, values, steps_per_second=self.steps_per_second, force=force)

    def _summarise(self, pending: list[tuple[int, dict[str, float]]], step: int) -> None:
        """Writes the mean losses since the last summary under the API's tags."""
        total = sum(count for count, _ in pending)
        for tag in pending[0][1]:
            tf.summary.scalar(tag, sum(count * losses[tag] for count, losses in pending) / total, step=step)
        tf.summary.scalar("learning_rate", self._learning_rate(), step=step)
        tf.summary.scalar("steps_per_sec", self.steps_per_second, step=step)
        tf.summary.flush()


def _check_finite(losses: dict[str, float], step: int) -> None:
    if not math.isfinite(losses[TOTAL]):
        bad = ", ".join(f"{tag} {value:g}" for tag, value in losses.items() if not math.isfinite(value))
        raise InputError(
            f"the loss is no longer finite at step {step} ({bad}): lower the learning rate, lengthen the warm-up or set "
            "train_config.gradient_clipping_by_norm; the last checkpoint is untouched"
        )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGTERM and the first Ctrl-C; a second Ctrl-C ends at once."""
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
