"""A training run from a pipeline.config: load, build, loop. `model_main_tf2.py` is its command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
import tf_keras

from object_detection_ext.builders.detection_task import TaskOptions, build_detection_task
from object_detection_ext.builders.optimizer import build_optimizer
from object_detection_ext.config import Config, check_paths_configured, check_supported, load_config
from object_detection_ext.errors import InputError
from object_detection_ext.training import checkpoints, loop
from object_detection_ext.training.cpu import use_small_network_threads, use_training_kernels
from object_detection_ext.training.detection import DetectionTask
from object_detection_ext.training.evaluator import Evaluator
from object_detection_ext.training.strategy import build_strategy


@dataclass(frozen=True)
class TrainOptions:
    """What the command line says beside the config; see the flags of `model_main_tf2.py`."""

    pipeline_config_path: str
    model_dir: str
    num_train_steps: int | None = None
    checkpoint_every_n: int = 1000
    eval_every_n: int = 1000
    record_summaries: bool = True
    config_override: str = ""
    seed: int | None = None
    num_workers: int = 1
    use_tpu: bool = False
    tpu_name: str | None = None
    eval_on_train_data: bool = False
    sample_1_of_n_eval_examples: int | None = None
    sample_1_of_n_eval_on_train_examples: int = 5


def train(options: TrainOptions) -> int:
    """Trains to the end and returns the exit code: 0, or 128 + signal after SIGTERM or Ctrl-C."""
    config = _load(options, for_training=True)
    seed = config.proto.train_config.seed if options.seed is None else options.seed
    settings = _loop_settings(config, options)
    model_dir = Path(options.model_dir)
    strategy = build_strategy(num_workers=options.num_workers, use_tpu=options.use_tpu, tpu_name=options.tpu_name)
    with strategy.scope():
        tf_keras.utils.set_random_seed(seed)
        with_eval = bool(settings.eval_every_n) and config.proto.eval_input_reader
        task = build_detection_task(
            config,
            TaskOptions(seed=seed, with_training=True, with_evaluation=bool(with_eval), sample_1_of_n=options.sample_1_of_n_eval_examples),
        )
        optimizer = build_optimizer(config.proto.train_config.optimizer)
        if hasattr(optimizer, "shadow_copy"):
            optimizer.shadow_copy(task.network)
        model_dir.mkdir(parents=True, exist_ok=True)
        config.save(model_dir / "pipeline.config")
        evaluator = _evaluator(task, config, model_dir, optimizer) if with_eval else None
        try:
            result = loop.train(task, optimizer, model_dir=model_dir, settings=settings, evaluator=evaluator)
        except loop.Interrupted as interrupted:
            return interrupted.exit_code
        if options.eval_on_train_data:
            _evaluate_on_train_data(options, config, result.step)
    print(f"trained to step {result.step}: {result.checkpoint}")
    return 0


def evaluate_checkpoints(options: TrainOptions, *, checkpoint_dir: str, timeout: int) -> int:
    """Evaluates the newest checkpoint of a folder, then each new one within seconds, until none has come for `timeout` seconds."""
    config = _load(options, for_training=False)
    if not Path(checkpoint_dir).is_dir() and timeout == 0:
        raise InputError(f"--checkpoint_dir {checkpoint_dir} is not a folder")
    task = build_detection_task(config, TaskOptions(with_evaluation=True, sample_1_of_n=options.sample_1_of_n_eval_examples))
    evaluator = _evaluator(task, config, Path(options.model_dir), optimizer=None)
    averaged = config.proto.eval_config.use_moving_averages
    evaluated = 0
    for prefix in tf.train.checkpoints_iterator(checkpoint_dir, min_interval_secs=0, timeout=timeout):
        if not Path(prefix + ".index").exists():  # already replaced by a newer one
            continue
        checkpoints.restore_network(task.network, prefix, use_moving_averages=averaged)
        step = checkpoints.step_of(prefix)
        evaluator.run(step)
        evaluated += 1
    if not evaluated:
        raise InputError(f"no checkpoint appeared in {checkpoint_dir} within {timeout} s")
    print(f"no new checkpoint in {checkpoint_dir} for {timeout} s; {evaluated} evaluated", file=sys.stderr)
    return 0


def _load(options: TrainOptions, *, for_training: bool) -> Config:
    config = load_config(options.pipeline_config_path, override=options.config_override)
    evaluates = not for_training or bool(options.eval_every_n and config.proto.eval_input_reader)
    check_paths_configured(config, for_training=for_training, for_evaluation=evaluates)
    ignored = check_supported(config)
    if ignored:
        print(f"without effect here (they steered the API's runtime): {', '.join(ignored)}", file=sys.stderr)
    if for_training:
        use_training_kernels()
        if _is_small(config):
            use_small_network_threads()
    return config


def _is_small(config: Config) -> bool:
    """Whether one thread per operation is faster on few cores; see `use_small_network_threads`."""
    ssd = config.proto.model.ssd
    size = ssd.image_resizer.fixed_shape_resizer
    return size.height * size.width * ssd.feature_extractor.depth_multiplier <= 160 * 160 * 0.5


def _loop_settings(config: Config, options: TrainOptions) -> loop.LoopSettings:
    train_config = config.proto.train_config
    num_steps = options.num_train_steps or train_config.num_steps
    if not num_steps:
        raise config.error("train_config.num_steps", "must be >= 1, got 0; or give --num_train_steps")
    return loop.LoopSettings(
        num_steps=num_steps,
        checkpoint_every_n=options.checkpoint_every_n,
        eval_every_n=options.eval_every_n,
        keep_every_n_hours=train_config.keep_checkpoint_every_n_hours,
        record_pictures=options.record_summaries,
        clip_norm=train_config.gradient_clipping_by_norm,
        add_regularization=train_config.add_regularization_loss,
    )


def _evaluator(task: DetectionTask, config: Config, model_dir: Path, optimizer: tf_keras.optimizers.legacy.Optimizer | None) -> Evaluator:
    averaged = config.proto.eval_config.use_moving_averages
    return Evaluator(task, summary_dir=model_dir / "eval", optimizer=optimizer if averaged else None)


def _evaluate_on_train_data(options: TrainOptions, config: Config, step: int) -> None:
    task = build_detection_task(
        config,
        TaskOptions(
            with_evaluation=True,
            evaluate_train_records=True,
            sample_1_of_n=options.sample_1_of_n_eval_on_train_examples,
        ),
    )
    checkpoints.restore_network(task.network, options.model_dir, use_moving_averages=config.proto.eval_config.use_moving_averages)
    print("on the training images:")
    Evaluator(task, summary_dir=Path(options.model_dir) / "eval_train").run(step)
