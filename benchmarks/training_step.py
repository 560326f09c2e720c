"""What a training step costs, in parts: the input alone, the network alone, and the whole step.

    python -m benchmarks.training_step --job small

The network alone is forward, backward and the optimizer on one fixed batch, with the mean squares of its outputs as loss: the floor that
targets, losses, regularisation, input and bookkeeping are measured against.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.jobs import JOBS, Job, config_text
from object_detection_ext.command_line import run

if TYPE_CHECKING:
    import tf_keras

    from object_detection_ext.training.task import Task


def time_steps(call: Callable[[int], object], *, num_steps: int, repeats: int) -> float:
    """Seconds a step of `call(num_steps)`, the least of `repeats`; two steps before are not counted."""
    call(2)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call(num_steps)
        seconds.append((time.perf_counter() - start) / num_steps)
    return min(seconds)


def input_alone(task: Task) -> Callable[[int], None]:
    """Takes batches and drops them."""
    batches = iter(task.train_dataset(0))

    def take(num_steps: int) -> None:
        for _ in range(num_steps):
            next(batches)

    return take


def network_alone(network: tf_keras.Model, optimizer: Any, batch_size: int) -> Callable[[int], None]:
    """Forward, backward and update on one batch, as many steps in one graph as asked for."""
    import tensorflow as tf

    images = tf.random.stateless_uniform([batch_size, *network.input_shape[1:]], seed=(0, 0), minval=-1.0)
    variables = network.trainable_variables

    @tf.function
    def step(num_steps: tf.Tensor) -> None:
        for _ in tf.range(num_steps):
            with tf.GradientTape() as tape:
                loss = tf.add_n([tf.reduce_mean(output**2) for output in network(images, training=True)])
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    return lambda num_steps: step(tf.constant(num_steps))


def measure_parts(job: Job, folder: Path, *, num_steps: int, repeats: int) -> dict[str, float]:
    """Seconds a step of each part of `job`."""
    import tensorflow as tf

    from benchmarks.records import make_data_set
    from object_detection_ext.builders.detection_task import TaskOptions, build_detection_task
    from object_detection_ext.builders.optimizer import build_optimizer
    from object_detection_ext.config import load_config
    from object_detection_ext.training.trainer import Trainer

    path = folder / f"{job.name}.config"
    path.write_text(config_text(job, make_data_set(folder / "data")))
    config = load_config(path)
    task = build_detection_task(config, TaskOptions(with_training=True))
    optimizers = [build_optimizer(config.proto.train_config.optimizer) for _ in range(2)]
    trainer = Trainer(task, optimizers[0])
    times = {"num_steps": num_steps, "repeats": repeats}
    return {
        "input alone": time_steps(input_alone(task), **times),
        "network alone": time_steps(network_alone(task.network, optimizers[1], task.batch_size()), **times),
        "whole step": time_steps(lambda count: trainer.train(tf.constant(count)), **times),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_step", description="What a training step costs, in parts.")
    parser.add_argument("--job", choices=[job.name for job in JOBS], default=JOBS[0].name, help=f"default {JOBS[0].name}")
    parser.add_argument("--num_steps", type=int, default=30, metavar="N", help="steps timed together; default 30")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="the best counts; default 5")
    parser.add_argument("--one_thread_per_operation", action="store_true", help="as training chooses for small networks")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/benchmark"), metavar="DIR", help="default runs/benchmark")
    arguments = parser.parse_args(argv)
    if arguments.one_thread_per_operation:
        from object_detection_ext.training.cpu import use_small_network_threads

        use_small_network_threads()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    (job,) = (job for job in JOBS if job.name == arguments.job)
    parts = measure_parts(job, arguments.output_dir.absolute(), num_steps=arguments.num_steps, repeats=arguments.repeats)
    print(f"depth {job.depth_multiplier} at {job.size}, batch 8, best of {arguments.repeats} times {arguments.num_steps} steps")
    for name, seconds in parts.items():
        print(f"{name:<14} {seconds:.4f} s")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
