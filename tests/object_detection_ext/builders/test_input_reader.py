"""Readers of the config -> data sets, and what is said when the config and the records do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from object_detection_ext.augment.geometric import RandomHorizontalFlip
from object_detection_ext.builders.input_reader import EvalInput, TrainInput, build_eval_input, build_train_input
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.data.resize import FixedShapeResizer, IdentityResizer, ImageResizer
from object_detection_ext.errors import InputError
from object_detection_ext.protos import eval_pb2, input_reader_pb2, train_pb2
from tests.object_detection_ext.data.records import NAMES, example, jpeg, numbered, write

READER = 'label_map_path: "map.pbtxt" tf_record_input_reader { input_path: "a.record-?????-of-00002" }'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with two shards of 5 and 4 records and a label map."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.record-00000-of-00002", numbered(9)[:5])
    write(tmp_path / "a.record-00001-of-00002", numbered(9)[5:])
    LabelMap.from_names(NAMES).save(tmp_path / "map.pbtxt")
    return tmp_path


def _train(reader: str = READER, config: str = "batch_size: 2", *, resizer: ImageResizer | None = None, **settings: Any) -> TrainInput:
    return build_train_input(
        text_format.Parse(reader, input_reader_pb2.InputReader()),
        text_format.Parse(config, train_pb2.TrainConfig()),
        num_classes=3,
        resizer=resizer or FixedShapeResizer(8, 8),
        normalize=lambda image: image,
        **settings,
    )


def _eval(reader: str = READER, config: str = "", **settings: Any) -> EvalInput:
    return build_eval_input(
        text_format.Parse(reader, input_reader_pb2.InputReader()),
        text_format.Parse(config, eval_pb2.EvalConfig()),
        num_classes=3,
        resizer=FixedShapeResizer(8, 8),
        normalize=lambda image: image,
        **settings,
    )


def test_train_input() -> None:
    train = _train(READER + "max_number_of_boxes: 7", "batch_size: 2 seed: 3 data_augmentation_options { random_horizontal_flip {} }")
    assert (len(train.index), train.batch_size, train.max_boxes, train.seed, train.shuffle) == (9, 2, 7, 3, True)
    assert train.augmentation.steps == (RandomHorizontalFlip(),)
    assert train.label_map is not None and train.label_map.name_of(2) == "green"
    first, second = (next(iter(train.dataset(step))).source_ids.numpy().tolist() for step in (0, 4))
    assert len(first) == 2 and first != second


def test_shuffle_false_keeps_the_order_of_the_files() -> None:
    assert next(iter(_train(READER + "shuffle: false").dataset(2))).source_ids.numpy().tolist() == [b"4", b"5"]


def test_eval_input() -> None:
    evaluation = _eval()
    assert [int(batch.source_ids[0]) for batch in evaluation.dataset()] == list(range(9))  # eval_config.batch_size is 1 by default
    assert [int(batch.source_ids[0]) for batch in evaluation.dataset()] == list(range(9))  # and again at the next checkpoint
    evaluation.raise_input_errors()


def test_one_of_n_from_the_reader_and_from_the_flag() -> None:
    assert len(_eval(READER + "sample_1_of_n_examples: 4").index) == 3
    assert len(_eval(READER + "sample_1_of_n_examples: 4", sample_1_of_n_examples=9).index) == 1


@pytest.mark.parametrize(
    ("reader", "config", "message"),
    [
        ("", "batch_size: 2", "train_input_reader must hold one of tf_record_input_reader"),
        ("external_input_reader {}", "batch_size: 2", "train_input_reader.external_input_reader is not supported"),
        (READER.replace("a.rec", "b.rec"), "", "train_input_reader.tf_record_input_reader.input_path: 'b.record-.*' matches no file"),
        ("tf_record_input_reader {}", "", "train_input_reader.tf_record_input_reader.input_path: no path given"),
        (
            READER.replace("map.pbtxt", "nap.pbtxt"),
            "",
            "train_input_reader.label_map_path: there is no file 'nap.pbtxt' .current directory: /",
        ),
        (READER + "num_epochs: 2", "", "train_input_reader.num_epochs is not supported for training, got 2; set train_config.num_steps"),
        (READER + "max_number_of_boxes: 0", "", "train_input_reader.max_number_of_boxes must be >= 1, got 0"),
        (READER + "sample_1_of_n_examples: 0", "", "train_input_reader.sample_1_of_n_examples must be >= 1, got 0"),
        (READER, "batch_size: 0", "train_config.batch_size must be >= 1, got 0"),
        (READER, "seed: 3000000000", "train_config.seed must be <= 2147483647, got 3000000000"),
        (READER, "data_augmentation_options {}", r"train_config.data_augmentation_options\[0\] must hold one of"),
    ],
)
def test_refuses(reader: str, config: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _train(reader, config)


def test_many_sizes_need_batches_of_one() -> None:
    with pytest.raises(
        InputError, match=r"train_config.batch_size must be 1 for an image resizer that gives images of different sizes, got 2"
    ):
        _train(resizer=IdentityResizer())
    assert next(iter(_train(config="batch_size: 1", resizer=IdentityResizer()).dataset())).images.shape[2] == 32


@pytest.mark.parametrize("build", [_train, _eval])
def test_records_that_do_not_fit_the_label_map_are_named_at_once(folder: Path, build: Any) -> None:
    wrong = example(jpeg(), [[0.0, 0.0, 1.0, 1.0]], [1], object_class_text=[b"blue"], source_id=[b"x7"])
    write(folder / "a.record-00001-of-00002", [*numbered(2), wrong])
    message = (
        r"record 2 \(from 0\) of a.record-00001-of-00002 \(source id 'x7'\): object 0 \(from 0\): "
        'class label 1 is "red" in the label map, but the class text is "blue"'
    )
    with pytest.raises(InputError, match=message):
        build()
