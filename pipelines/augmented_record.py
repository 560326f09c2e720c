"""One training record and what training makes of it: the same decoding, seeds, steps and resizing as the input pipeline."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from object_detection_ext.builders.feature_extractor import build_feature_extractor
from object_detection_ext.builders.image_resizer import build_image_resizer
from object_detection_ext.builders.input_reader import TrainInput, build_train_input
from object_detection_ext.config import Config
from object_detection_ext.data.dataset import TrainOrder, to_network_input
from object_detection_ext.data.decode import source_id_of
from object_detection_ext.errors import InputError
from object_detection_ext.models.normalization import PixelScaling
from object_detection_ext.types import Example
from pipelines.picture_table import View


@dataclass(frozen=True, eq=False)
class AugmentedRecord:
    """A record of a training reader.

    Fields:
      number: of the record, from 0 over all files of the reader.
      normalize: from pixels to the network's input.
    """

    reader: TrainInput
    number: int
    normalize: PixelScaling

    def __post_init__(self) -> None:
        index = self.reader.index
        if not 0 <= self.number < len(index):
            raise InputError(f"--index must be < {len(index)}, the number of records in {', '.join(index.paths)}, got {self.number}")

    @property
    def source_id(self) -> str:
        return source_id_of(self.reader.index.read(self.number))

    @property
    def names(self) -> dict[int, str]:
        """Label id -> name; empty without a label map."""
        label_map = self.reader.label_map
        return {} if label_map is None else {item.id: label_map.name_of(item.id) for item in label_map.items}

    def decode(self) -> Example:
        """The record as it is stored.

        Raises:
            InputError: its image or its ground truth is broken.
        """
        try:
            return self.reader.decode(tf.constant(self.reader.index.read(self.number)))
        except tf.errors.OpError as error:
            self.reader.monitor.report(np.array([self.number]))  # raises for wrong ground truth
            raise InputError(self.reader.monitor.broken[self.number]) from error

    def positions(self, count: int) -> list[int]:
        """Where training meets the record in its first `count` epochs: numbers of draws, counted over all steps."""
        num_records = len(self.reader.index)
        epochs = TrainOrder(num_records=num_records, batch_size=num_records, seed=self.reader.seed, shuffle=self.reader.shuffle)
        found = []
        for epoch in range(count):
            records = epochs.records(tf.constant(epoch, tf.int64))[:num_records].numpy()
            found.append(epoch * num_records + int(np.flatnonzero(records == self.number)[0]))
        return found

    def augment(self, example: Example, position: int) -> list[Example]:
        """The example as it is and after each step, as training draws it at that position."""
        return self.reader.augmentation.after_each_step(example, tf.constant([self.reader.seed, position], tf.int64))

    def network_view(self, example: Example) -> View:
        """What the network gets of an example: resized, padded, at most `max_number_of_boxes` boxes."""
        reader = self.reader
        batch = to_network_input(example, resizer=reader.resizer, normalize=reader.normalize, max_boxes=reader.max_boxes)
        truth, count = batch.ground_truth, int(batch.ground_truth.num_boxes)
        return _view(self.normalize.inverse(batch.images), truth.boxes[:count], truth.classes[:count])


def view(example: Example) -> View:
    """An example between two steps."""
    return _view(tf.cast(example.image, tf.float32), example.boxes, example.classes)


def open_record(config: Config, *, seed: int | None = None, index: int | None = None, source_id: str | None = None) -> AugmentedRecord:
    """The record with that index or source id, else the first, of the config's `train_input_reader`.

    Raises:
        InputError: a field is wrong, or there is no such record.
    """
    proto = config.proto
    train_config = type(proto.train_config)()
    train_config.CopyFrom(proto.train_config)
    if seed is not None:
        train_config.seed = seed
    with config.locate_errors():
        normalize = build_feature_extractor(proto.model.ssd.feature_extractor).normalize
        reader = build_train_input(
            proto.train_input_reader,
            train_config,
            num_classes=proto.model.ssd.num_classes,
            resizer=build_image_resizer(proto.model.ssd.image_resizer),
            normalize=normalize,
            max_checked_records=1,
        )
    number = index or 0
    if source_id is not None:
        number = _find(reader, source_id)
    return AugmentedRecord(reader, number, normalize)


def _find(reader: TrainInput, source_id: str) -> int:
    seen = []
    for number in range(len(reader.index)):
        seen.append(source_id_of(reader.index.read(number)))
        if seen[-1] == source_id:
            return number
    close = difflib.get_close_matches(source_id, seen, n=1)
    hint = f"the nearest is {close[0]!r}" if close else f"the first is {seen[0]!r}"
    raise InputError(f"--source_id: none of the {len(seen)} records has the source id {source_id!r}; {hint}")


def _view(image: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor) -> View:
    pixels = np.clip(np.asarray(image), 0, 255).round().astype(np.uint8)
    if pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, axis=-1)
    return View(pixels, np.asarray(boxes), np.asarray(classes) + 1)
