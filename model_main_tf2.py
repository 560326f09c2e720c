"""Trains a detector from a pipeline.config, or evaluates its checkpoints: the API's command with the API's flags."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from object_detection_ext.command_line import run
from object_detection_ext.flag_parsing import parse_flags, usage_error

if TYPE_CHECKING:
    from pipelines.train import Start

USAGE = """Trains the detector of a pipeline.config and evaluates it at every checkpoint.

With --checkpoint_dir it only evaluates: the newest checkpoint now, then each new one until none has come for --eval_timeout seconds.
A model_dir that holds a checkpoint is gone on with; else training starts from train_config.fine_tune_checkpoint, else from random weights.
--from_scratch, --fine_tune and --resume say which of the three is meant; a run that would do another is refused."""

STARTS: tuple[Start, ...] = ("from_scratch", "fine_tune", "resume")


def define_flags() -> flags.FlagValues:
    """The API's flags with its defaults, then our own."""
    values = flags.FlagValues()
    string, integer, boolean = flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_boolean
    string("pipeline_config_path", None, "The pipeline.config to train or evaluate.", flag_values=values)
    string("model_dir", None, "Folder for checkpoints, events and the effective pipeline.config.", flag_values=values)
    integer("num_train_steps", None, "Steps to train; without it, train_config.num_steps.", flag_values=values)
    string("checkpoint_dir", None, "Evaluate the checkpoints of this folder instead of training.", flag_values=values)
    integer("eval_timeout", 3600, "Seconds to wait for a new checkpoint; 0 evaluates the newest and ends.", flag_values=values)
    boolean("eval_on_train_data", False, "Evaluate on the training records too.", flag_values=values)
    integer("sample_1_of_n_eval_examples", None, "Evaluate one of n evaluation images.", flag_values=values)
    integer("sample_1_of_n_eval_on_train_examples", 5, "One of n training images with --eval_on_train_data.", flag_values=values)
    boolean("use_tpu", False, "Train on a TPU.", flag_values=values)
    string("tpu_name", None, "Name of the Cloud TPU.", flag_values=values)
    integer("num_workers", 1, "With more than one, MultiWorkerMirroredStrategy (TF_CONFIG tells who is who).", flag_values=values)
    integer("checkpoint_every_n", 1000, "Steps between checkpoints.", lower_bound=1, flag_values=values)
    boolean("record_summaries", True, "Write pictures of the training images; losses are always written.", flag_values=values)
    integer(
        "eval_every_n",
        None,
        "Steps between evaluations while training; 0 for never, default --checkpoint_every_n.",
        lower_bound=0,
        flag_values=values,
    )
    string("config_override", "", "Text of a pipeline.config merged over the file.", flag_values=values)
    integer(
        "seed",
        None,
        "Order, augmentation and initial weights follow from it; default train_config.seed.",
        lower_bound=0,
        flag_values=values,
    )
    boolean("skip_checks", False, "Train without the doctor's fast checks of config, label map and first records.", flag_values=values)
    boolean("from_scratch", False, "Start from random weights, whatever fine_tune_checkpoint says.", flag_values=values)
    boolean("fine_tune", False, "Start from fine_tune_checkpoint, which must be set.", flag_values=values)
    boolean("resume", False, "Go on from the checkpoint in model_dir, which must hold one.", flag_values=values)
    flags.mark_flags_as_required(["pipeline_config_path", "model_dir"], flag_values=values)
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    values = define_flags()
    rest = parse_flags(values, argv, USAGE)
    if rest:
        usage_error(f"unexpected argument {rest[0]!r}")
    if values.num_train_steps is not None and values.num_train_steps < 1:
        usage_error(f"--num_train_steps must be >= 1, got {values.num_train_steps}")
    starts: list[Start] = [name for name in STARTS if values[name].value]
    if len(starts) > 1:
        usage_error(f"at most one of --{', --'.join(STARTS)}, got --{' and --'.join(starts)}")
    if starts and values.checkpoint_dir:
        usage_error(f"--{starts[0]} is for training; with --checkpoint_dir nothing is trained")
    if not values.skip_checks and not _passes_checks(values):
        return 1
    if not values.checkpoint_dir:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # read when TensorFlow is imported; see object_detection_ext/training/cpu.py
    from pipelines.train import TrainOptions, evaluate_checkpoints, train  # TensorFlow takes seconds; flags must not wait for it

    options = TrainOptions(
        pipeline_config_path=values.pipeline_config_path,
        model_dir=values.model_dir,
        num_train_steps=values.num_train_steps,
        checkpoint_every_n=values.checkpoint_every_n,
        eval_every_n=values.checkpoint_every_n if values.eval_every_n is None else values.eval_every_n,
        record_summaries=values.record_summaries,
        config_override=values.config_override,
        seed=values.seed,
        num_workers=values.num_workers,
        use_tpu=values.use_tpu,
        tpu_name=values.tpu_name,
        eval_on_train_data=values.eval_on_train_data,
        sample_1_of_n_eval_examples=values.sample_1_of_n_eval_examples,
        sample_1_of_n_eval_on_train_examples=values.sample_1_of_n_eval_on_train_examples,
        start=starts[0] if starts else "auto",
    )
    if values.checkpoint_dir:
        return evaluate_checkpoints(options, checkpoint_dir=values.checkpoint_dir, timeout=values.eval_timeout)
    return train(options)


def _passes_checks(values: flags.FlagValues) -> bool:
    """Looks at what can be seen without TensorFlow, so that a mistake is told in a second."""
    from object_detection_ext.config import load_config
    from object_detection_ext.diagnosis.config_checks import Job
    from pipelines.fast_checks import passes_fast_checks

    eval_every_n = values.checkpoint_every_n if values.eval_every_n is None else values.eval_every_n
    job = Job(
        trains=not values.checkpoint_dir,
        evaluates=bool(values.checkpoint_dir or eval_every_n),
        num_train_steps=values.num_train_steps,
        starts_fresh=not (values.from_scratch or os.path.isfile(os.path.join(values.model_dir, "checkpoint"))),
    )
    return passes_fast_checks(load_config(values.pipeline_config_path, override=values.config_override), job)


if __name__ == "__main__":
    sys.exit(run(main))
