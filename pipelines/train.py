"""A training run from a pipeline.config: load, build, loop. `model_main_tf2.py` is its command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tensorflow as tf
import tf_keras

from object_detection_ext.builders.detection_task import TaskOptions, build_detection_task
from object_detection_ext.builders.optimizer import build_optimizer
from object_detection_ext.builders.quantization import FIELD as QUANTIZATION_FIELD
from object_detection_ext.builders.quantization import build_quantization
from object_detection_ext.builders.trainable import build_trained_variables
from object_detection_ext.builders.warm_start import FIELD as WARM_START_FIELD
from object_detection_ext.builders.warm_start import build_warm_start
from object_detection_ext.config import Config, check_paths_configured, check_supported, load_config, settings_done_otherwise
from object_detection_ext.errors import InputError
from object_detection_ext.training import checkpoints, loop
from object_detection_ext.training.averages import start_averages
from object_detection_ext.training.cpu import use_small_network_threads, use_training_kernels
from object_detection_ext.training.detection import DetectionTask
from object_detection_ext.training.evaluator import Evaluator
from object_detection_ext.training.strategy import build_strategy
from object_detection_ext.training.trainable import describe_trained
from object_detection_ext.training.warm_start import WarmStart

# How a run begins: "auto" goes on from model_dir's checkpoint, else from fine_tune_checkpoint, else from random weights.
Start = Literal["auto", "from_scratch", "fine_tune", "resume"]


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
    start: Start = "auto"


def train(options: TrainOptions) -> int:
    """Trains to the end and returns the exit code: 0, or 128 + signal after SIGTERM or Ctrl-C."""
    config = _load(options, for_training=True)
    seed = config.proto.train_config.seed if options.seed is None else options.seed
    settings = _loop_settings(config, options)
    _tell_quantization(config, settings.num_steps)
    model_dir = Path(options.model_dir)
    newest = checkpoints.latest_checkpoint(model_dir)
    _check_start(options, config, newest)
    warm_start = _warm_start(config)
    if warm_start and newest is None:
        with _errors_about_warm_start(config):
            warm_start.check_path()
    strategy = build_strategy(num_workers=options.num_workers, use_tpu=options.use_tpu, tpu_name=options.tpu_name)
    with strategy.scope():
        tf_keras.utils.set_random_seed(seed)
        with_eval = bool(settings.eval_every_n) and config.proto.eval_input_reader
        task = build_detection_task(
            config,
            TaskOptions(seed=seed, with_training=True, with_evaluation=bool(with_eval), sample_1_of_n=options.sample_1_of_n_eval_examples),
        )
        optimizer = build_optimizer(config.proto.train_config.optimizer)
        trained = _trained_variables(config, task)
        if warm_start and newest is None:
            with _errors_about_warm_start(config):
                print(warm_start(task.network), file=sys.stderr)
        start_averages(optimizer, trained)  # after the warm start: they begin at its weights
        model_dir.mkdir(parents=True, exist_ok=True)
        config.save(model_dir / "pipeline.config")
        evaluator = _evaluator(task, config, model_dir, optimizer) if with_eval else None
        instead_of = f"{WARM_START_FIELD} {warm_start.path}" if warm_start else ""
        try:
            result = loop.train(
                task, optimizer, model_dir=model_dir, settings=settings, evaluator=evaluator, trained=trained, instead_of=instead_of
            )
        except loop.Interrupted as interrupted:
            return interrupted.exit_code
        if options.eval_on_train_data:
            _evaluate_on_train_data(options, config, result.step)
    print(f"trained to step {result.step}: {result.checkpoint}")
    return 0


def _check_start(options: TrainOptions, config: Config, newest: str | None) -> None:
    """Refuses a wish that the folder or the config contradicts. `newest` is the newest checkpoint of model_dir."""
    flag, folder = f"--{options.start}", f"--model_dir {options.model_dir}"
    if options.start == "resume" and newest is None:
        raise InputError(f"{flag} needs a checkpoint in {folder}, got none (expected a file named checkpoint and ckpt-<step>.index)")
    if options.start in ("from_scratch", "fine_tune") and newest is not None:
        raise InputError(f"{flag} needs a {folder} without checkpoints, got {newest}; name another folder, or go on with --resume")
    if options.start == "fine_tune" and not config.proto.train_config.fine_tune_checkpoint:
        raise config.error(WARM_START_FIELD, f"must be set with {flag}, got nothing")


def _tell_quantization(config: Config, num_steps: int) -> None:
    """Says from which step on training rounds, above all where the run ends before."""
    with config.locate_errors():
        quantization = build_quantization(config.proto.graph_rewriter)
    if quantization is None:
        return
    if quantization.delay < num_steps:
        print(f"fake quantisation from step {quantization.delay + 1} on, ranges are gathered from the first", file=sys.stderr)
    else:
        place = config.where(f"{QUANTIZATION_FIELD}.delay")
        print(
            f"{place}: {QUANTIZATION_FIELD}.delay is {quantization.delay} and the run ends at step {num_steps}: it gathers ranges, "
            "but trains in float to its end",
            file=sys.stderr,
        )


def _warm_start(config: Config) -> WarmStart | None:
    with config.locate_errors():
        return build_warm_start(config.proto)


@contextmanager
def _errors_about_warm_start(config: Config) -> Iterator[None]:
    """Puts field and place in front of errors about the weights to start from."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{config.where(WARM_START_FIELD)}: {WARM_START_FIELD}: {error}") from error


def _trained_variables(config: Config, task: DetectionTask) -> list[tf.Variable]:
    """What the config lets train; told once where it freezes something."""
    train_config = config.proto.train_config
    with config.locate_errors():
        trained = build_trained_variables(train_config, task.network)
    if train_config.freeze_variables or train_config.update_trainable_variables:
        print(describe_trained(task.network, trained), file=sys.stderr)
    return trained


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
    if options.start == "from_scratch":
        config = config.merged('train_config { fine_tune_checkpoint: "" }', source="--from_scratch")
    evaluates = not for_training or bool(options.eval_every_n and config.proto.eval_input_reader)
    check_paths_configured(config, for_training=for_training, for_evaluation=evaluates)
    ignored = check_supported(config)
    if ignored:
        print(f"without effect here (they steered the API's runtime): {', '.join(ignored)}", file=sys.stderr)
    for text in settings_done_otherwise(config):
        print(text, file=sys.stderr)
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
    return Evaluator(
        task,
        summary_dir=model_dir / "eval",
        optimizer=optimizer if averaged else None,
        add_regularization=config.proto.train_config.add_regularization_loss,
    )


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
    add_regularization = config.proto.train_config.add_regularization_loss
    Evaluator(task, summary_dir=Path(options.model_dir) / "eval_train", add_regularization=add_regularization).run(step)
