"""What a config alone tells: one mistake after the other merged over a config that has none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from object_detection_ext.config import Config, load_config
from object_detection_ext.diagnosis import config_checks, detection_checks, flip_checks, input_checks, memory_checks, schedule_checks
from object_detection_ext.diagnosis.config_checks import Job, check_config
from object_detection_ext.diagnosis.flip_checks import check_flips
from object_detection_ext.diagnosis.input_checks import ReaderFiles, nearest_files, reader_files
from object_detection_ext.diagnosis.memory_checks import check_memory, estimate_memory
from object_detection_ext.diagnosis.schedule_checks import check_steps
from object_detection_ext.findings import Finding, Severity

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "configs" / "ssdlite_mobilenet_v2_035_320x320_bccd.config"

NMS = "model {{ ssd {{ post_processing {{ batch_non_max_suppression {{ {} }} }} }} }}".format
RATE = "train_config {{ optimizer {{ momentum_optimizer {{ learning_rate {{ {} }} }} }} }}".format
COSINE = "cosine_decay_learning_rate {{ learning_rate_base: 0.1 {} }}".format
MANUAL = "manual_step_learning_rate {{ initial_learning_rate: 0.1 {} }}".format
EXPONENTIAL = "exponential_decay_learning_rate {{ initial_learning_rate: 0.1 {} }}".format

FAULTS = [
    (
        "train_config { fine_tune_checkpoint: 'PATH_TO_BE_CONFIGURED/ckpt' }",
        "unconfigured_path",
        "train_config.fine_tune_checkpoint still holds",
    ),
    (
        "eval_config { metrics_set: 'mine' }",
        "unsupported_setting",
        r"eval_config.metrics_set\[1\]: got mine, allowed: coco_detection_metrics",
    ),
    ("train_config { use_bfloat16: true }", "setting_done_otherwise", "train_config.use_bfloat16: training computes in float32"),
    ("model { ssd { num_classes: 0 } }", "no_num_classes", "model.ssd.num_classes must be >= 1, got 0"),
    ("train_config { batch_size: 0 }", "bad_batch_size", "train_config.batch_size must be >= 1, got 0"),
    ("eval_config { batch_size: 0 }", "bad_batch_size", "eval_config.batch_size must be >= 1, got 0"),
    (
        "model { ssd { image_resizer { keep_aspect_ratio_resizer { min_dimension: 320 max_dimension: 640 } } } }",
        "bad_batch_size",
        "train_config.batch_size must be 1 for a resizer that gives images of different sizes, got 8",
    ),
    ("train_config { fine_tune_checkpoint: 'nowhere/ckpt-0' }", "bad_fine_tune_checkpoint", "no checkpoint at nowhere/ckpt-0"),
    (
        "train_config { fine_tune_checkpoint: 'imagenet' fine_tune_checkpoint_type: 'all' }",
        "bad_fine_tune_checkpoint",
        "train_config.fine_tune_checkpoint_type must be",
    ),
    ("train_input_reader { shuffle: false }", "train_not_shuffled", "training reads the records in their order"),
    ("eval_input_reader { }", "unsupported_setting", "evaluation reads one set"),
    ("eval_config { num_examples: 50 }", "sampled_evaluation", "eval_config.num_examples 50 has no effect"),
    (NMS("max_detections_per_class: 0"), "bad_nms", "max_detections_per_class must be >= 1, got 0: nothing can be detected"),
    (NMS("max_total_detections: 0"), "bad_nms", "max_total_detections must be >= 1, got 0"),
    (NMS("max_detections_per_class: 300"), "bad_nms", "max_detections_per_class 300 must be <= max_total_detections 100"),
    (NMS("score_threshold: 1.0"), "bad_nms", "score_threshold is 1: no score exceeds 1"),
    (NMS("iou_threshold: 1.5"), "bad_nms", r"iou_threshold must be in \[0, 1\], got 1.5"),
    (NMS("score_threshold: 0.5"), "high_score_threshold", "score_threshold is 0.5"),
    (NMS("iou_threshold: 0"), "odd_iou_threshold", "iou_threshold is 0"),
    (NMS("iou_threshold: 0.95"), "odd_iou_threshold", "iou_threshold is 0.95"),
    (NMS("max_detections_per_class: 20"), "few_detections", "max_detections_per_class is 20"),
    (
        "model { ssd { post_processing { score_converter: IDENTITY } } }",
        "score_converter_mismatch",
        "score_converter is IDENTITY, the loss weighted_s",
    ),
    ("model { ssd { post_processing { score_converter: SOFTMAX } } }", "score_converter_mismatch", "goes with SIGMOID"),
    ("train_config { num_steps: 0 }", "no_num_steps", "train_config.num_steps is 0"),
    ("train_config { num_steps: 600 }", "schedule_outlives_training", "total_steps is 1,200, num_steps 600"),
    ("train_config { num_steps: 2000 }", "schedule_ends_early", "total_steps is 1,200, num_steps 2,000: 800 steps with rate 0"),
    (
        RATE(COSINE("warmup_steps: 1200")),
        "bad_schedule",
        r"total_steps must be larger than warmup_steps \+ hold_base_rate_steps, got 1,200 and 1,200",
    ),
    (RATE(COSINE("warmup_learning_rate: 0.2")), "bad_schedule", "warmup_learning_rate 0.2 must be at most learning_rate_base 0.1"),
    (RATE("cosine_decay_learning_rate { learning_rate_base: 0 }"), "bad_schedule", "learning_rate_base must be > 0, got 0"),
    (RATE(MANUAL("")), "bad_schedule", r"schedule steps must be positive and strictly increasing, at least one, got \[\]"),
    (RATE(MANUAL("schedule { step: 9 } schedule { step: 9 }")), "bad_schedule", r"got \[9, 9\]"),
    (
        RATE(MANUAL("schedule { step: 9 } schedule { step: 1200 }")),
        "schedule_outlives_training",
        "the rates from step 1,200 are never reached",
    ),
    (RATE(EXPONENTIAL("")), "schedule_outlives_training", "decay_steps is 4,000,000, num_steps 1,200: with staircase the rate never falls"),
    (RATE("constant_learning_rate { learning_rate: -1 }"), "bad_schedule", "learning_rate must be > 0, got -1"),
]


def config_with(override: str = "") -> Config:
    return load_config(CONFIG, override=override)


def found(config: Config, job: Job = config_checks.EVERYTHING) -> list[Finding]:
    """Without the estimate of memory, which depends on the machine."""
    return [finding for finding in check_config(config, job) if finding.check != "batch_memory"]


def test_a_sound_config_has_no_finding():
    assert found(config_with()) == []


@pytest.mark.parametrize(("override", "check", "message"), FAULTS, ids=[f"{check}: {message[:30]}" for _, check, message in FAULTS])
def test_a_mistake_is_found(override, check, message):
    findings = found(config_with(override))
    matching = [each for each in findings if each.check == check and re.search(message, each.message)]
    assert len(matching) == 1, findings
    assert matching[0].where.startswith(("--config_override", str(CONFIG)))
    assert {each.check for each in findings} == {check}


def test_a_published_schedule_that_ends_a_step_beside_is_fine():
    assert found(config_with("train_config { num_steps: 1199 }")) == []


def test_a_field_that_is_set_twice(tmp_path):
    path = tmp_path / "twice.config"
    path.write_text(CONFIG.read_text().replace("batch_size: 8", "batch_size: 8\n  batch_size: 16"))
    (finding,) = found(load_config(path))
    assert (finding.check, finding.message) == (
        "setting_twice",
        f"train_config.batch_size is set in {path}:{_line(path, 'batch_size: 8')} too",
    )


def _line(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), start=1) if text in line)


def test_a_config_of_another_model(tmp_path):
    path = tmp_path / "empty.config"
    path.write_text("train_config { num_steps: 5 optimizer { adam_optimizer { learning_rate { constant_learning_rate { } } } } }")
    checks = {finding.check: finding for finding in found(load_config(path))}
    assert checks["unsupported_setting"].message.startswith("model.ssd is not set")
    assert set(checks) == {"unsupported_setting", "no_evaluation"}


def test_a_config_without_optimizer_or_evaluation(tmp_path):
    path = tmp_path / "short.config"
    text = CONFIG.read_text()
    path.write_text(text[: text.index("train_config {")] + "train_config { num_steps: 5 }")
    assert {finding.check for finding in found(load_config(path))} == {"bad_schedule", "no_evaluation"}


def test_what_a_job_does_not_read_is_not_checked():
    train = "train_config { num_steps: 0 batch_size: 0 fine_tune_checkpoint: 'PATH_TO_BE_CONFIGURED' }"
    config = config_with(f"{train} eval_config {{ num_examples: 5 batch_size: 0 }}")
    assert [each.check for each in found(config, Job(trains=False, evaluates=False))] == []
    assert {each.check for each in found(config, Job(trains=False))} == {"sampled_evaluation", "bad_batch_size"}
    trains = Job(evaluates=False, num_train_steps=1200, starts_fresh=False)
    assert {each.check for each in found(config, trains)} == {"bad_batch_size"}


def test_memory_by_hand():
    """8 images of 320x320 at depth 0.35: 8 * 102,400 * 0.35 * 1,700 bytes, and 900 MiB for the process."""
    ssd = config_with().proto.model.ssd
    assert estimate_memory(ssd, 8) == (900 << 20) + round(8 * 102_400 * 1700 * ssd.feature_extractor.depth_multiplier)
    ssd.feature_extractor.type = "mine"
    assert estimate_memory(ssd, 8) is None


def test_a_batch_that_does_not_fit():
    (finding,) = check_memory(config_with("train_config { batch_size: 1000 }"), available=10_000_000_000)
    assert finding.message == "a batch of 1000 needs about 61.9 GB, 10.0 GB are free"
    assert list(check_memory(config_with(), available=2_000_000_000)) == []


@pytest.mark.parametrize(
    ("names", "step", "told"),
    [
        (["left hand", "right hand", "cat"], "random_horizontal_flip", "'left hand', 'right hand'"),
        (["HandLeft", "cat"], "random_horizontal_flip", "'HandLeft'"),
        (["turn_left_sign"], "random_rotation90", "'turn_left_sign'"),
        (["arrow up", "arrow down"], "random_vertical_flip", "'arrow up', 'arrow down'"),
        (["arrow up", "arrow down"], "random_horizontal_flip", None),
        (["leftover", "bright", "copyright"], "random_horizontal_flip", None),
        (["left hand"], "ssd_random_crop", None),
    ],
)
def test_flips_that_make_one_class_of_another(names, step, told):
    config = load_config(CONFIG)
    config.proto.train_config.ClearField("data_augmentation_options")
    config = config.merged(f"train_config {{ data_augmentation_options {{ {step} {{ }} }} }}", source="--config_override")
    findings = list(check_flips(config, names))
    assert [finding.message for finding in findings] == ([f"{step} with the classes {told}"] if told else [])


@pytest.mark.parametrize(
    ("num_images", "check", "message"),
    [
        (9600, None, None),
        (9601, "few_epochs", "1,200 steps of 8 see 9,600 of 9,601 images"),
        (7, "batch_larger_than_set", "batch_size 8 for 7 images"),
        (0, None, None),
    ],
)
def test_steps_against_images(num_images, check, message):
    findings = [(finding.check, finding.message) for finding in check_steps(config_with(), num_images=num_images)]
    assert findings == ([(check, message)] if check else [])


def test_files_that_are_not_there(tmp_path):
    (tmp_path / "train.record-00000-of-00001").touch()
    (tmp_path / "val.record").touch()
    pattern = str(tmp_path / "trian.record-?????-of-00001")
    text = CONFIG.read_text().replace("data/bccd/train.record-?????-of-00002", pattern)
    path = tmp_path / "a.config"
    path.write_text(text.replace("data/bccd/test.record-?????-of-00001", str(tmp_path / "train.record-*")))
    finding, train, evaluation = reader_files(load_config(path))
    assert isinstance(finding, Finding)
    assert (finding.check, finding.severity) == ("no_record_files", Severity.ERROR)
    assert f"'{pattern}' matches no file" in finding.message
    assert finding.advice.endswith(f"the nearest in {tmp_path}: train.record-00000-of-00001")
    assert train == ReaderFiles("train", "train_input_reader", (), "data/bccd/train_label_map.pbtxt")
    assert evaluation.paths == (str(tmp_path / "train.record-00000-of-00001"),)


def test_readers_that_are_missing(tmp_path):
    path = tmp_path / "a.config"
    path.write_text("eval_input_reader { label_map_path: 'PATH_TO_BE_CONFIGURED/map' }")
    first, second, evaluation = reader_files(load_config(path))
    assert [first.check, second.check] == ["no_input_reader", "no_input_reader"]
    assert evaluation == ReaderFiles("eval", "eval_input_reader[0]", (), "")
    assert list(reader_files(load_config(path), trains=False, evaluates=False)) == []


def test_nearest_files_go_up_to_a_folder_that_exists(tmp_path):
    (tmp_path / "data").mkdir()
    assert nearest_files(str(tmp_path / "dat" / "mine" / "a.record")) == f"the nearest in {tmp_path}: data/"
    assert nearest_files(str(tmp_path / "data" / "a.record")) == f"the folder {tmp_path / 'data'} is empty"


def test_every_check_of_a_config_has_a_test():
    modules = (config_checks, detection_checks, flip_checks, input_checks, memory_checks, schedule_checks)
    names = [check.name for module in modules for check in module.CHECKS if check is not flip_checks.FLIPPED_SIDES]
    assert [name for name in names if f'"{name}"' not in Path(__file__).read_text()] == []
