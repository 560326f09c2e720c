"""The learning-rate schedule against the number of steps, and the steps against the data. No TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from object_detection_ext.config import Config
from object_detection_ext.findings import Check, Finding, Severity
from object_detection_ext.protos import optimizer_pb2

NO_STEPS = Check(
    "no_num_steps",
    Severity.ERROR,
    "neither train_config.num_steps nor --num_train_steps: training would not end",
    "set train_config.num_steps",
)
BAD_SCHEDULE = Check(
    "bad_schedule",
    Severity.ERROR,
    "no optimizer or learning rate, a rate that is not above 0, a warm-up that takes all steps of the schedule, steps that do not rise",
    "correct the field that is named",
)
OUTLIVES = Check(
    "schedule_outlives_training",
    Severity.WARNING,
    "a learning-rate schedule with more steps than the training: it stops while the rate is still high",
    "set the schedule's steps to num_steps",
)
UNDERSHOOTS = Check(
    "schedule_ends_early",
    Severity.WARNING,
    "a cosine schedule with fewer steps than the training: from its end on the rate is 0, and nothing is learnt",
    "set total_steps to num_steps",
)
FEW_EPOCHS = Check(
    "few_epochs",
    Severity.WARNING,
    "fewer steps than it takes to see each image once",
    "raise num_steps or batch_size",
)
LARGE_BATCH = Check(
    "batch_larger_than_set",
    Severity.WARNING,
    "a batch larger than the training set: it holds images more than once",
    "lower batch_size, or add images",
)
CHECKS = (NO_STEPS, BAD_SCHEDULE, OUTLIVES, UNDERSHOOTS, FEW_EPOCHS, LARGE_BATCH)

_FIELD = "train_config.optimizer"
_SLACK = 0.02  # of the steps: published schedules end a step or a hundred beside num_steps


def check_schedule(config: Config, *, num_train_steps: int | None = None) -> Iterator[Finding]:
    """Yields what is wrong with steps and learning rate; `num_train_steps` takes the place of the config's."""
    train = config.proto.train_config
    num_steps = num_train_steps or train.num_steps
    if not num_steps:
        yield NO_STEPS(config.where("train_config.num_steps"), "train_config.num_steps is 0")
    kind = train.optimizer.WhichOneof("optimizer")
    if kind is None:
        yield BAD_SCHEDULE(config.where(_FIELD), f"{_FIELD} holds no optimizer")
        return
    rate = getattr(train.optimizer, kind).learning_rate
    field = f"{_FIELD}.{kind}.learning_rate"
    schedule = rate.WhichOneof("learning_rate")
    if schedule is None:
        yield BAD_SCHEDULE(config.where(field), f"{field} holds no schedule")
    elif schedule == "cosine_decay_learning_rate":
        yield from _check_cosine(config, rate.cosine_decay_learning_rate, f"{field}.{schedule}", num_steps)
    elif schedule == "manual_step_learning_rate":
        yield from _check_manual(config, rate.manual_step_learning_rate, f"{field}.{schedule}", num_steps)
    elif schedule == "exponential_decay_learning_rate":
        yield from _check_exponential(config, rate.exponential_decay_learning_rate, f"{field}.{schedule}", num_steps)
    else:
        yield from _check_positive(config, f"{field}.{schedule}.learning_rate", rate.constant_learning_rate.learning_rate)


def check_steps(config: Config, *, num_images: int, num_train_steps: int | None = None) -> Iterator[Finding]:
    """Yields what is wrong between steps, batch size and the number of training images."""
    train = config.proto.train_config
    num_steps = num_train_steps or train.num_steps
    seen = num_steps * train.batch_size
    if train.batch_size > num_images > 0:
        message = f"batch_size {train.batch_size} for {num_images:,} images"
        yield LARGE_BATCH(config.where("train_config.batch_size"), message)
    elif num_steps and seen < num_images:
        message = f"{num_steps:,} steps of {train.batch_size} see {seen:,} of {num_images:,} images"
        yield FEW_EPOCHS(config.where("train_config.num_steps"), message)


def _check_cosine(config: Config, cosine: optimizer_pb2.CosineDecayLearningRate, field: str, num_steps: int) -> Iterator[Finding]:
    yield from _check_positive(config, f"{field}.learning_rate_base", cosine.learning_rate_base)
    total, before = cosine.total_steps, cosine.warmup_steps + cosine.hold_base_rate_steps
    where = config.where(f"{field}.total_steps")
    if before >= total:
        message = f"total_steps must be larger than warmup_steps + hold_base_rate_steps, got {total:,} and {before:,}"
        yield BAD_SCHEDULE(where, message)
        return
    if cosine.warmup_steps and cosine.warmup_learning_rate > cosine.learning_rate_base:
        message = f"warmup_learning_rate {cosine.warmup_learning_rate:g} must be at most learning_rate_base {cosine.learning_rate_base:g}"
        yield BAD_SCHEDULE(config.where(f"{field}.warmup_learning_rate"), message)
    if num_steps and total > num_steps * (1 + _SLACK):
        yield OUTLIVES(where, f"total_steps is {total:,}, num_steps {num_steps:,}")
    elif num_steps > total * (1 + _SLACK):
        yield UNDERSHOOTS(where, f"total_steps is {total:,}, num_steps {num_steps:,}: {num_steps - total:,} steps with rate 0")


def _check_manual(config: Config, manual: optimizer_pb2.ManualStepLearningRate, field: str, num_steps: int) -> Iterator[Finding]:
    steps = [each.step for each in manual.schedule]
    where = config.where(field)
    if not steps or steps[0] <= 0 or any(a >= b for a, b in itertools.pairwise(steps)):
        yield BAD_SCHEDULE(where, f"schedule steps must be positive and strictly increasing, at least one, got {steps}")
        return
    unreached = [step for step in steps if num_steps and step >= num_steps]
    if unreached:
        listed = ", ".join(f"{step:,}" for step in unreached)
        yield OUTLIVES(where, f"the rates from step {listed} are never reached, num_steps is {num_steps:,}")


def _check_exponential(
    config: Config, exponential: optimizer_pb2.ExponentialDecayLearningRate, field: str, num_steps: int
) -> Iterator[Finding]:
    yield from _check_positive(config, f"{field}.initial_learning_rate", exponential.initial_learning_rate)
    yield from _check_positive(config, f"{field}.decay_steps", exponential.decay_steps)
    if num_steps and exponential.decay_steps > num_steps and exponential.staircase:
        message = f"decay_steps is {exponential.decay_steps:,}, num_steps {num_steps:,}: with staircase the rate never falls"
        yield OUTLIVES(config.where(f"{field}.decay_steps"), message)


def _check_positive(config: Config, field: str, value: float) -> Iterator[Finding]:
    if not value > 0:
        yield BAD_SCHEDULE(config.where(field), f"{field.rpartition('.')[2]} must be > 0, got {value:g}")
