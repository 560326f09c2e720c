"""No field is ignored in silence: what the code does not read is in a table of `config_support`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from object_detection_ext.config import check_supported, load_config, old_runtime_settings, settings_done_otherwise
from object_detection_ext.config_support import (
    ALLOWED_VALUES,
    DONE_OTHERWISE,
    FIRST_ONLY,
    NOT_SUPPORTED,
    OLD_RUNTIME_ONLY,
    ONLY_WITH,
    VALUES_DONE_OTHERWISE,
)
from object_detection_ext.errors import InputError
from object_detection_ext.protos import pipeline_pb2, preprocessor_pb2

ROOT = Path(__file__).resolve().parents[2]
READERS = ("object_detection_ext/builders", "pipelines/train.py", "pipelines/evaluate.py")
SSD = "model { ssd { num_classes: 1 } }\n"


def _fields(descriptor: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    """Every field that a config can set, without those inside of messages that are not read."""
    for field in descriptor.fields:
        yield field
        key = f"{descriptor.name}.{field.name}"
        if field.message_type is not None and key not in NOT_SUPPORTED | DONE_OTHERWISE and field.message_type.full_name not in seen:
            seen.add(field.message_type.full_name)
            yield from _fields(field.message_type, seen)


FIELDS = {f"{field.containing_type.name}.{field.name}": field for field in _fields(pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR, set())}


def _names_read() -> set[str]:
    """Attributes and whole strings in the code that turns configs into objects."""
    names: set[str] = set()
    paths = [path for reader in READERS for path in ([ROOT / reader] if reader.endswith(".py") else sorted((ROOT / reader).rglob("*.py")))]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    return names


# Messages whose settings reach a dataclass by their names, and fields that are what is left after the others.
READ_AS_A_WHOLE = {field.message_type.name for field in preprocessor_pb2.PreprocessingStep.DESCRIPTOR.fields}
READ_AS_THE_REST = {"Regularizer.l2_regularizer"}


def test_every_field_is_read_or_in_a_table():
    known = NOT_SUPPORTED.keys() | DONE_OTHERWISE.keys() | OLD_RUNTIME_ONLY | ONLY_WITH.keys() | ALLOWED_VALUES.keys() | READ_AS_THE_REST
    read = _names_read()
    ignored = {key for key, field in FIELDS.items() if key not in known and field.name not in read}
    assert {key for key in ignored if key.partition(".")[0] not in READ_AS_A_WHOLE} == set()


def test_the_builder_of_the_augmentation_refuses_the_same_steps():
    from object_detection_ext.builders.preprocessor import build_augmentation

    for field in preprocessor_pb2.PreprocessingStep.DESCRIPTOR.fields:
        step = preprocessor_pb2.PreprocessingStep()
        getattr(step, field.name).SetInParent()
        try:
            build_augmentation([step])
            refused = False
        except InputError as error:  # also for settings that the step needs
            refused = "is not supported" in str(error)
        assert refused == (f"PreprocessingStep.{field.name}" in NOT_SUPPORTED), field.name


def test_the_tables_name_fields_that_exist():
    tables = (
        NOT_SUPPORTED,
        DONE_OTHERWISE,
        OLD_RUNTIME_ONLY,
        ONLY_WITH,
        ALLOWED_VALUES,
        FIRST_ONLY,
        VALUES_DONE_OTHERWISE,
        ONLY_WITH.values(),
    )
    assert set().union(*tables) - FIELDS.keys() == set()
    assert not NOT_SUPPORTED.keys() & (OLD_RUNTIME_ONLY | DONE_OTHERWISE.keys())
    assert not OLD_RUNTIME_ONLY & DONE_OTHERWISE.keys()
    assert all(set(values) <= set(ALLOWED_VALUES[key]) for key, values in VALUES_DONE_OTHERWISE.items())
    assert all(
        name in {value.name for value in FIELDS[key].enum_type.values}
        for key, values in ALLOWED_VALUES.items()
        if FIELDS[key].enum_type
        for name in values
    )


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def check_text(text: str) -> list[str]:
        Path("pipeline.config").write_text(SSD + text)
        return check_supported(load_config("pipeline.config"))

    return check_text


def _value(field: FieldDescriptor, *, default: bool) -> str:
    """Text that sets the field, to its default or to something else."""
    if field.message_type is not None:
        return f"{field.name} {{}}"
    if isinstance(field.default_value, list):
        value = '"x"' if field.type == FieldDescriptor.TYPE_STRING else "1"
    elif field.enum_type is not None:
        others = [number.name for number in field.enum_type.values if number.number != field.default_value]
        value = field.enum_type.values_by_number[field.default_value].name if default else others[0]
    elif field.type == FieldDescriptor.TYPE_STRING:
        value = f'"{field.default_value}"' if default else '"something"'
    elif field.type == FieldDescriptor.TYPE_BOOL:
        value = str(field.default_value if default else not field.default_value).lower()
    else:
        value = repr(field.default_value if default else field.default_value + 1)
    return f"{field.name}: {value}"


def _text(key: str, *, default: bool) -> str:
    """A config that sets one field, by the shortest way to its message."""
    setting = _value(FIELDS[key], default=default)
    for name in reversed(_way_to(FIELDS[key].containing_type)):
        setting = f"{name} {{ {setting} }}"
    return setting


def _path_of(key: str) -> str:
    return ".".join([*_way_to(FIELDS[key].containing_type), FIELDS[key].name])


def _way_to(message: Descriptor) -> list[str]:
    ways: list[tuple[Descriptor, list[str]]] = [(pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR, [])]
    for descriptor, way in ways:
        if descriptor.full_name == message.full_name:
            return way
        ways += [(field.message_type, [*way, field.name]) for field in descriptor.fields if field.message_type is not None and len(way) < 8]
    raise AssertionError(message.full_name)


@pytest.mark.parametrize("key", NOT_SUPPORTED)
def test_what_is_not_supported_is_refused_with_its_place_and_reason(check, key):
    with pytest.raises(InputError) as caught:
        check(_text(key, default=False))
    message = str(caught.value)
    assert message.startswith("pipeline.config:2: ")
    assert FIELDS[key].name in message
    assert message.endswith(f" is not supported: {NOT_SUPPORTED[key]}")


@pytest.mark.parametrize(
    "key", [key for key in NOT_SUPPORTED if FIELDS[key].message_type is None and not isinstance(FIELDS[key].default_value, list)]
)
def test_a_default_is_accepted(check, key):
    assert check(_text(key, default=True)) == []


@pytest.mark.parametrize("key", DONE_OTHERWISE)
def test_what_is_done_otherwise_is_accepted_and_said(check, key):
    assert check(_text(key, default=False)) == []
    (said,) = settings_done_otherwise(load_config("pipeline.config"))
    assert said.startswith(_path_of(key)) and said.endswith(f" (pipeline.config:2): {DONE_OTHERWISE[key]}")
    if FIELDS[key].message_type is None and not isinstance(FIELDS[key].default_value, list):
        check(_text(key, default=True))
        assert settings_done_otherwise(load_config("pipeline.config")) == []


@pytest.mark.parametrize("metrics", sorted(VALUES_DONE_OTHERWISE["EvalConfig.metrics_set"]))
def test_other_metrics_of_boxes_are_accepted_and_said(check, metrics):
    assert check(f"eval_config {{ metrics_set: 'coco_detection_metrics' metrics_set: '{metrics}' }}") == []
    assert settings_done_otherwise(load_config("pipeline.config")) == [
        "eval_config.metrics_set[1] (pipeline.config:2): evaluation computes COCO's metrics; mAP@.50IOU comes nearest"
    ]


@pytest.mark.parametrize("key", sorted(OLD_RUNTIME_ONLY))
def test_what_steered_the_old_runtime_is_named_and_accepted(check, key):
    (named,) = check(_text(key, default=False))
    assert named.endswith("(pipeline.config:2)")
    assert FIELDS[key].name in named
    assert check(_text(key, default=True)) == []


@pytest.mark.parametrize("key", sorted(ONLY_WITH))
def test_what_says_nothing_alone_is_accepted(check, key):
    assert check(_text(key, default=False)) == []


def test_several_settings_are_refused_in_one_line(check):
    with pytest.raises(InputError) as caught:
        check(
            "train_config {\n  merge_multiple_label_boxes: true\n  use_multiclass_scores: true\n}\n"
            "eval_config { metrics_set: 'coco_mask_metrics' }"
        )
    assert str(caught.value) == (
        "pipeline.config: 3 settings are not supported: "
        "train_config.merge_multiple_label_boxes (line 3): a box has one class; "
        "train_config.use_multiclass_scores (line 4): class targets are one-hot; "
        f"eval_config.metrics_set[0] (line 6): got coco_mask_metrics, allowed: {', '.join(ALLOWED_VALUES['EvalConfig.metrics_set'])}"
    )


def test_a_refused_message_is_named_once(check):
    with pytest.raises(InputError) as caught:
        check("model { ssd { mask_head_config { mask_height: 5 mask_width: 8 } } }")
    assert str(caught.value).count("mask_h") == 1


def test_a_second_evaluation_set_is_not_left_out_in_silence(check):
    reader = 'eval_input_reader { tf_record_input_reader { input_path: "a" } }\n'
    assert check(reader) == []
    with pytest.raises(InputError, match=r"^pipeline.config:3: eval_input_reader\[1\] is not supported: evaluation reads one set"):
        check(reader * 2)


def test_the_published_mobilenet_config_needs_no_change_but_its_paths(test_data):
    config = load_config(test_data / "odapi" / "configs" / "ssd_mobilenet_v2_320x320_coco17_tpu-8.config")
    check_supported(config)
    assert old_runtime_settings(config) == [
        "model.ssd.matcher.argmax_matcher.use_matmul_gather",
        "model.ssd.inplace_batchnorm_update",
        "train_config.sync_replicas",
        "train_config.startup_delay_steps",
        "train_config.replicas_to_aggregate",
        "train_config.unpad_groundtruth_tensors",
        "train_config.fine_tune_checkpoint_version",
    ]


def test_what_published_configs_ask_for_and_get_otherwise(test_data):
    said: dict[str, list[str]] = {}
    for path in sorted((test_data / "odapi" / "configs").glob("*ssd*.config")):
        config = load_config(path)
        check_supported(config)
        for text in settings_done_otherwise(config):
            said.setdefault(text.partition(" ")[0], []).append(path.name)
    assert {setting: len(names) for setting, names in said.items()} == {
        "train_config.use_bfloat16": 7,
        "eval_config.metrics_set[0]": 1,
    }
    assert said["eval_config.metrics_set[0]"] == ["ssd_resnet101_v1_fpn_shared_box_predictor_oid_512x512_sync.config"]
