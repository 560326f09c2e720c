"""`train_input_reader`, `eval_input_reader` and what belongs to them -> objects that make the data sets."""

from __future__ import annotations

import os
from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.augment.pipeline import Augmentation
from object_detection_ext.builders.fields import chosen, errors_at
from object_detection_ext.builders.preprocessor import build_augmentation
from object_detection_ext.data.dataset import Normalize, eval_dataset, train_dataset
from object_detection_ext.data.decode import ExampleDecoder
from object_detection_ext.data.label_map import LabelMap, load_label_map
from object_detection_ext.data.record_index import RecordIndex, index_records
from object_detection_ext.data.record_monitor import RecordMonitor, check_records
from object_detection_ext.data.resize import ImageResizer
from object_detection_ext.errors import InputError
from object_detection_ext.protos import eval_pb2, input_reader_pb2, train_pb2

TRAIN_FIELD = "train_input_reader"
EVAL_FIELD = "eval_input_reader[0]"

_MAX_SEED = 2**31 - 1  # the seed is one int32 half of a stateless seed


@dataclass(frozen=True, eq=False)
class RecordsInput:
    """Records with the means to decode them."""

    index: RecordIndex
    decode: ExampleDecoder
    monitor: RecordMonitor
    resizer: ImageResizer
    normalize: Normalize
    batch_size: int

    @property
    def label_map(self) -> LabelMap | None:
        return self.decode.label_map

    def raise_input_errors(self) -> None:
        """Raises the `InputError` that a reading thread met, if one did."""
        self.monitor.check()


@dataclass(frozen=True, eq=False)
class TrainInput(RecordsInput):
    """Endless training batches."""

    augmentation: Augmentation
    max_boxes: int
    seed: int
    shuffle: bool

    def dataset(self, start_step: int = 0) -> tf.data.Dataset:
        """Batches (`Batch`) of the steps from `start_step` on, always the same for the same step."""
        return train_dataset(
            self.index,
            monitor=self.monitor,
            decode=self.decode,
            augmentation=self.augmentation,
            resizer=self.resizer,
            normalize=self.normalize,
            batch_size=self.batch_size,
            max_boxes=self.max_boxes,
            seed=self.seed,
            shuffle=self.shuffle,
            start_step=start_step,
        )


@dataclass(frozen=True, eq=False)
class EvalInput(RecordsInput):
    """One pass over the evaluation records."""

    def dataset(self) -> tf.data.Dataset:
        """Batches (`Batch`) of every image once, in order; the last may be smaller."""
        return eval_dataset(
            self.index,
            monitor=self.monitor,
            decode=self.decode,
            resizer=self.resizer,
            normalize=self.normalize,
            batch_size=self.batch_size,
        )


def build_train_input(
    reader: input_reader_pb2.InputReader,
    train_config: train_pb2.TrainConfig,
    *,
    num_classes: int,
    resizer: ImageResizer,
    normalize: Normalize,
    max_checked_records: int = 10_000,
) -> TrainInput:
    """Indexes the training records, checks their labels and prepares the augmentation.

    Args:
        reader: `train_input_reader`.
        train_config: its batch size, augmentation and seed.
        num_classes: the model's.
        resizer: the model's.
        normalize: the model's, [H, W, C] float32 in [0, 255] -> network input.
        max_checked_records: records whose labels are read now, evenly spread; the others are checked as they come.

    Raises:
        InputError: names the field or the record.
    """
    if reader.num_epochs:
        raise InputError(f"{TRAIN_FIELD}.num_epochs is not supported for training, got {reader.num_epochs}; set train_config.num_steps")
    _check_batch_size(train_config.batch_size, resizer, field="train_config.batch_size")
    if reader.max_number_of_boxes < 1:
        raise InputError(f"{TRAIN_FIELD}.max_number_of_boxes must be >= 1, got {reader.max_number_of_boxes}")
    if train_config.seed > _MAX_SEED:
        raise InputError(f"train_config.seed must be <= {_MAX_SEED}, got {train_config.seed}")
    augmentation = build_augmentation(train_config.data_augmentation_options)
    index, decode = _open(reader, num_classes=num_classes, field=TRAIN_FIELD)
    check_records(index, decode, max_records=max_checked_records)
    return TrainInput(
        index=index,
        decode=decode,
        monitor=RecordMonitor(index, decode),
        resizer=resizer,
        normalize=normalize,
        batch_size=train_config.batch_size,
        augmentation=augmentation,
        max_boxes=reader.max_number_of_boxes,
        seed=train_config.seed,
        shuffle=reader.shuffle,
    )


def build_eval_input(
    reader: input_reader_pb2.InputReader,
    eval_config: eval_pb2.EvalConfig,
    *,
    num_classes: int,
    resizer: ImageResizer,
    normalize: Normalize,
    sample_1_of_n_examples: int | None = None,
    field: str = EVAL_FIELD,
    max_checked_records: int = 10_000,
) -> EvalInput:
    """Indexes evaluation records and checks their labels.

    All images are evaluated once with all of their boxes: `num_epochs`, `shuffle`, `drop_remainder` and `max_number_of_boxes` of an
    evaluation reader would only change which of them count.

    Args:
        reader: an `eval_input_reader`, or `train_input_reader` to evaluate on training data.
        eval_config: its batch size.
        sample_1_of_n_examples: takes the place of the reader's, as the flags `--sample_1_of_n_eval_*` do.
        field: path of `reader` in the config, for messages.

    Other arguments and errors as in `build_train_input`.
    """
    _check_batch_size(eval_config.batch_size, resizer, field="eval_config.batch_size")
    index, decode = _open(reader, num_classes=num_classes, field=field, sample_1_of_n_examples=sample_1_of_n_examples)
    check_records(index, decode, max_records=max_checked_records)
    return EvalInput(
        index=index,
        decode=decode,
        monitor=RecordMonitor(index, decode),
        resizer=resizer,
        normalize=normalize,
        batch_size=eval_config.batch_size,
    )


def _open(
    reader: input_reader_pb2.InputReader, *, num_classes: int, field: str, sample_1_of_n_examples: int | None = None
) -> tuple[RecordIndex, ExampleDecoder]:
    chosen(reader, field, allowed=("tf_record_input_reader",))
    sample = reader.sample_1_of_n_examples if sample_1_of_n_examples is None else sample_1_of_n_examples
    if sample < 1:
        raise InputError(f"{field}.sample_1_of_n_examples must be >= 1, got {sample}")
    label_map = None
    if reader.label_map_path:
        if not os.path.isfile(reader.label_map_path):
            raise InputError(f"{field}.label_map_path: there is no file {reader.label_map_path!r} (current directory: {os.getcwd()})")
        label_map = load_label_map(reader.label_map_path, use_display_name=reader.use_display_name, num_classes=num_classes)
    index = index_records(reader.tf_record_input_reader.input_path, where=f"{field}.tf_record_input_reader.input_path")
    with errors_at("model.ssd"):
        return index.every(sample), ExampleDecoder(num_classes=num_classes, label_map=label_map)


def _check_batch_size(batch_size: int, resizer: ImageResizer, *, field: str) -> None:
    if batch_size < 1:
        raise InputError(f"{field} must be >= 1, got {batch_size}")
    if batch_size > 1 and resizer.output_shape is None:
        raise InputError(f"{field} must be 1 for an image resizer that gives images of different sizes, got {batch_size}")
