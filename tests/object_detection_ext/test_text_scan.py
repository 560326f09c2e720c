"""The scan agrees with `text_format` on what is legal, and says better what is not."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from object_detection_ext.errors import InputError
from object_detection_ext.protos import eval_pb2, pipeline_pb2, train_pb2
from object_detection_ext.text_proto import merge_text, set_fields
from object_detection_ext.text_scan import Site, nearest


def _lines(text: str, message) -> dict[str, int]:
    return {path: site.line for path, site in merge_text(text, message, source="f").sites.items()}


LEGAL = """# a comment with { braces } and "quotes"
train_config: {  # the colon is optional
  batch_size: 0x10; num_steps: 5,
  freeze_variables: ["a", 'b"}']
  freeze_variables: "c" "d"  # adjacent strings are one
  data_augmentation_options < random_horizontal_flip < > >
  data_augmentation_options [{ ssd_random_crop {} }, { random_rgb_to_gray { probability: .5f } }]
  gradient_clipping_by_norm: -1e-3
  keep_checkpoint_every_n_hours: inf
  sync_replicas: True
  fine_tune_checkpoint_version: 2
}
eval_input_reader { name: "first" } eval_input_reader {
  name: "second\\n\\"quoted\\" # no comment"
}
eval_config { super_categories { key: "animal" value: "cat,dog" } }
"""


def test_legal_text_gives_the_same_message_and_the_line_of_every_field():
    message, expected = pipeline_pb2.TrainEvalPipelineConfig(), pipeline_pb2.TrainEvalPipelineConfig()
    text_format.Merge(LEGAL, expected)
    lines = _lines(LEGAL, message)
    assert message == expected
    assert lines == {
        "train_config": 2,
        "train_config.batch_size": 3,
        "train_config.num_steps": 3,
        "train_config.freeze_variables[0]": 4,
        "train_config.freeze_variables[1]": 4,
        "train_config.freeze_variables[2]": 5,
        "train_config.data_augmentation_options[0]": 6,
        "train_config.data_augmentation_options[0].random_horizontal_flip": 6,
        "train_config.data_augmentation_options[1]": 7,
        "train_config.data_augmentation_options[1].ssd_random_crop": 7,
        "train_config.data_augmentation_options[2]": 7,
        "train_config.data_augmentation_options[2].random_rgb_to_gray": 7,
        "train_config.data_augmentation_options[2].random_rgb_to_gray.probability": 7,
        "train_config.gradient_clipping_by_norm": 8,
        "train_config.keep_checkpoint_every_n_hours": 9,
        "train_config.sync_replicas": 10,
        "train_config.fine_tune_checkpoint_version": 11,
        "eval_input_reader[0]": 13,
        "eval_input_reader[0].name": 13,
        "eval_input_reader[1]": 13,
        "eval_input_reader[1].name": 14,
        "eval_config": 16,
        "eval_config.super_categories[0]": 16,
        "eval_config.super_categories[0].key": 16,
        "eval_config.super_categories[0].value": 16,
    }


def test_windows_line_ends_count_once():
    assert _lines("batch_size: 1\r\nnum_steps: 2\r\n", train_pb2.TrainConfig()) == {"batch_size": 1, "num_steps": 2}


def test_merging_goes_on_counting_repeated_fields():
    message = train_pb2.TrainConfig()
    first = merge_text('freeze_variables: "a"\nfreeze_variables: "b"', message, source="f")
    second = merge_text('freeze_variables: "c"', message, source="g", known=first.sites, single_line=True)
    assert list(message.freeze_variables) == ["a", "b", "c"]
    assert second.sites == {
        "freeze_variables[0]": Site("f", 1),
        "freeze_variables[1]": Site("f", 2),
        "freeze_variables[2]": Site("g", 0),
    }


def test_a_oneof_member_set_later_clears_what_was_known_of_the_other():
    message = train_pb2.TrainConfig()
    first = merge_text("optimizer { adam_optimizer { epsilon: 1 } }", message, source="f")
    second = merge_text("optimizer {\n momentum_optimizer {}\n}", message, source="g", known=first.sites)
    assert second.sites == {"optimizer": Site("f", 1), "optimizer.momentum_optimizer": Site("g", 2)}
    assert {field.path for field in set_fields(message)} == set(second.sites)


def test_a_scalar_set_twice_counts_the_second_time_and_is_told():
    message = train_pb2.TrainConfig()
    parsed = merge_text("batch_size: 1\nnum_steps: 3\nbatch_size: 2", message, source="f")
    assert message.batch_size == 2
    assert parsed.overwritten == (("batch_size", Site("f", 1), Site("f", 3)),)


def test_maps_are_one_field_when_walked():
    message = eval_pb2.EvalConfig(super_categories={"a": "b"})
    assert [field.path for field in set_fields(message)] == ["super_categories"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("batch_sise: 1", 'f:1: unknown field "batch_sise" (did you mean "batch_size"?)'),
        ("Batch_Size: 1", 'f:1: unknown field "Batch_Size" (did you mean "batch_size"?)'),
        ("\n\n  decay_steps: 3", 'f:3: unknown field "decay_steps" ("decay_steps" belongs in optimizer.rms_prop_optimizer.learning_rate'),
        (
            "optimizer { batch_size: 3 }",
            'f:1: unknown field "batch_size" in optimizer ("batch_size" stands outside of every other message: is a',
        ),
        (
            "optimizer { zzz: 3 }",
            'f:1: unknown field "zzz" in optimizer (allowed: rms_prop_optimizer, momentum_optimizer, adam_optimizer, use',
        ),
        ("batch_size: 1.5", "f:1: batch_size must be an integer from 0 to 4294967295, got 1.5"),
        ("batch_size: -1", "f:1: batch_size must be an integer from 0 to 4294967295, got -1"),
        ("batch_size: 4294967296", "f:1: batch_size must be an integer from 0 to 4294967295, got 4294967296"),
        ('batch_size: "8"', 'f:1: batch_size must be an integer from 0 to 4294967295, got "8"'),
        ("sync_replicas: yes", "f:1: sync_replicas must be true or false, got yes"),
        ("gradient_clipping_by_norm: big", "f:1: gradient_clipping_by_norm must be a number, got big"),
        ("fine_tune_checkpoint: model/ckpt-1", "f:1: fine_tune_checkpoint must be a string in quotes, got model"),
        (
            "fine_tune_checkpoint_version: v2",
            'f:1: fine_tune_checkpoint_version has no value "v2" (did you mean "V2"? allowed: UNKNOWN, V1, V2)',
        ),
        ("fine_tune_checkpoint_version: 7", 'f:1: fine_tune_checkpoint_version has no value "7" (allowed: UNKNOWN, V1, V2)'),
        ("batch_size: [1, 2]", "f:1: batch_size takes one value, not a list"),
        ("batch_size 8", 'f:1:12: expected ":" after batch_size, got "8"'),
        ("num_steps: 1\nbatch_size:\n\n", "f:2:12: expected a value for batch_size, got the end of the text"),
        ("batch_size: }", 'f:1:13: expected a value for batch_size, got "}"'),
        ("optimizer: 3", 'f:1:12: optimizer is a group of fields: expected "{", got "3"'),
        ("optimizer {\n adam_optimizer {\n}", 'f:1:11: "{" of optimizer is never closed with "}"'),
        ("optimizer < }", 'f:1:13: "}" stands where ">" belongs'),
        ("batch_size: 1 }", 'f:1:15: "}" closes nothing'),
        ('batch_size: 1\n"x"', 'f:2:1: expected a field name, got "x"'),
        ('fine_tune_checkpoint: "abc\nbatch_size: 1', "f:1:23: a string is not closed on its line"),
        ('freeze_variables: ["a" "b"; "c"]', 'f:1:27: expected "," or "]" in the list of freeze_variables, got ";"'),
        ('fine_tune_checkpoint: "\\xzz"', "f:1:23: "),
    ],
)
def test_errors_name_place_and_cure(text, error):
    message = train_pb2.TrainConfig(num_steps=7)
    with pytest.raises(InputError) as caught:
        merge_text(text, message, source="f")
    assert str(caught.value).startswith(error)
    assert "\n" not in str(caught.value)
    assert message == train_pb2.TrainConfig(num_steps=7), "a refused text changes nothing"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("RELU6", "RELU_6"), ("relu_6", "RELU_6"), ("tanh", None)],
)
def test_nearest(name, expected):
    assert nearest(name, ["NONE", "RELU", "RELU_6", "SWISH"]) == expected
