"""What a pipeline config alone tells, before any record is read: settings that cannot work, or hardly as meant. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from object_detection_ext.builders.warm_start import FIELD as WARM_START_FIELD
from object_detection_ext.builders.warm_start import build_warm_start
from object_detection_ext.config import Config, check_supported, settings_done_otherwise, unconfigured_paths, unsupported_settings
from object_detection_ext.diagnosis import detection_checks, memory_checks, schedule_checks
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Check, Finding, Severity

UNCONFIGURED = Check(
    "unconfigured_path",
    Severity.ERROR,
    "a field that still holds PATH_TO_BE_CONFIGURED",
    "fill in the path",
)
UNSUPPORTED = Check(
    "unsupported_setting",
    Severity.ERROR,
    "a setting that this project does not honour, such as an unknown metrics_set",
    "change or remove it",
)
SET_TWICE = Check(
    "setting_twice",
    Severity.WARNING,
    "a field that the file sets twice: the second counts",
    "remove one",
)
DONE_OTHERWISE = Check(
    "setting_done_otherwise",
    Severity.INFO,
    "an accepted setting in whose place something else happens",
    "nothing, if that is as good",
)
NO_CLASSES = Check(
    "no_num_classes",
    Severity.ERROR,
    "model.ssd.num_classes below 1",
    "set it to the largest id of the label map",
)
BAD_WARM_START = Check(
    "bad_fine_tune_checkpoint",
    Severity.ERROR,
    "a fine_tune_checkpoint that is not there, or of an unknown type",
    "give the prefix of a checkpoint, a folder, a file with weights, or imagenet; or remove it to start from random weights",
)
BAD_BATCH_SIZE = Check(
    "bad_batch_size",
    Severity.ERROR,
    "a batch size below 1, or above 1 for a resizer that gives images of different sizes",
    "set train_config.batch_size and eval_config.batch_size; use fixed_shape_resizer, or pad_to_max_dimension",
)
NOT_SHUFFLED = Check(
    "train_not_shuffled",
    Severity.WARNING,
    "train_input_reader.shuffle: false; batches of like images teach badly",
    "remove shuffle: false",
)
NO_EVALUATION = Check(
    "no_evaluation",
    Severity.INFO,
    "no eval_input_reader: nothing tells whether what was learnt holds for other images",
    "add eval_input_reader with images that are not trained on",
)
SAMPLED_EVALUATION = Check(
    "sampled_evaluation",
    Severity.INFO,
    "an evaluation of a part of the set, or num_examples, which has no effect: all records count here",
    "remove sample_1_of_n_examples for final numbers",
)
CHECKS = (
    UNCONFIGURED,
    UNSUPPORTED,
    SET_TWICE,
    DONE_OTHERWISE,
    NO_CLASSES,
    BAD_WARM_START,
    BAD_BATCH_SIZE,
    NOT_SHUFFLED,
    NO_EVALUATION,
    SAMPLED_EVALUATION,
)


@dataclass(frozen=True)
class Job:
    """What a config is about to be used for."""

    trains: bool = True
    evaluates: bool = True
    num_train_steps: int | None = None  # takes the place of train_config.num_steps, as the flag does
    starts_fresh: bool = True  # fine_tune_checkpoint will be read: not where a run goes on from its own checkpoint


EVERYTHING = Job()
_PARTS = ("train_config", "train_input_reader", "eval_config", "eval_input_reader")


def check_config(config: Config, job: Job = EVERYTHING) -> Iterator[Finding]:
    """Yields what is wrong with a config, overrides included, for a job."""
    unconfigured = [path for path in unconfigured_paths(config) if _is_read(path, job)]
    for path in unconfigured:
        yield UNCONFIGURED(config.where(path), f"{path} still holds PATH_TO_BE_CONFIGURED")
    yield from _check_support(config)
    for path, earlier, later in config.overwritten:
        yield SET_TWICE(later, f"{path} is set in {earlier} too")
    if config.proto.model.HasField("ssd"):
        yield from _check_model(config, job)
        yield from detection_checks.check_detections(config)
    if job.evaluates:
        yield from _check_evaluation(config)
    if job.trains:
        if config.proto.HasField("train_input_reader") and not config.proto.train_input_reader.shuffle:
            where = config.where("train_input_reader.shuffle")
            yield NOT_SHUFFLED(where, "training reads the records in their order, every epoch the same")
        yield from schedule_checks.check_schedule(config, num_train_steps=job.num_train_steps)
        yield from memory_checks.check_memory(config)
        if job.starts_fresh and WARM_START_FIELD not in unconfigured:
            yield from _check_warm_start(config)


def _is_read(path: str, job: Job) -> bool:
    if path == WARM_START_FIELD:
        return job.trains and job.starts_fresh
    part = path.partition(".")[0].partition("[")[0]
    if part not in _PARTS:
        return True
    return job.trains if part.startswith("train") else job.evaluates


def _check_support(config: Config) -> Iterator[Finding]:
    if not config.proto.model.HasField("ssd"):
        try:
            check_supported(config)
        except InputError as error:
            where, _, message = str(error).partition(": ")
            yield UNSUPPORTED(where, message)
        return
    for path, reason in unsupported_settings(config):
        yield UNSUPPORTED(config.where(path), f"{path}: {reason}")
    for text in settings_done_otherwise(config):
        path = text.partition(" ")[0]
        yield DONE_OTHERWISE(config.where(path), f"{path}: {text.partition('): ')[2]}")


def _check_model(config: Config, job: Job) -> Iterator[Finding]:
    ssd = config.proto.model.ssd
    if ssd.num_classes < 1:
        yield NO_CLASSES(config.where("model.ssd.num_classes"), f"model.ssd.num_classes must be >= 1, got {ssd.num_classes}")
    keep = ssd.image_resizer.keep_aspect_ratio_resizer
    differs = ssd.image_resizer.WhichOneof("image_resizer_oneof") == "keep_aspect_ratio_resizer" and not keep.pad_to_max_dimension
    for path, size, is_read in (
        ("train_config.batch_size", config.proto.train_config.batch_size, job.trains),
        ("eval_config.batch_size", config.proto.eval_config.batch_size, job.evaluates),
    ):
        if not is_read:
            continue
        if size < 1:
            yield BAD_BATCH_SIZE(config.where(path), f"{path} must be >= 1, got {size}")
        elif size > 1 and differs:
            yield BAD_BATCH_SIZE(config.where(path), f"{path} must be 1 for a resizer that gives images of different sizes, got {size}")


def _check_evaluation(config: Config) -> Iterator[Finding]:
    proto = config.proto
    if not proto.eval_input_reader:
        yield NO_EVALUATION(config.path, "there is no eval_input_reader")
        return
    sample = proto.eval_input_reader[0].sample_1_of_n_examples
    if sample > 1:
        yield SAMPLED_EVALUATION(config.where("eval_input_reader[0].sample_1_of_n_examples"), f"one image of {sample} is evaluated")
    if proto.eval_config.HasField("num_examples"):
        message = f"eval_config.num_examples {proto.eval_config.num_examples} has no effect: every record is evaluated"
        yield SAMPLED_EVALUATION(config.where("eval_config.num_examples"), message)


def _check_warm_start(config: Config) -> Iterator[Finding]:
    try:
        warm_start = build_warm_start(config.proto)
        if warm_start is not None:
            warm_start.check_path()
    except InputError as error:
        yield BAD_WARM_START(config.where(WARM_START_FIELD), str(error))
