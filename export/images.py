"""Photographs of the config's own records: to calibrate with and to compare on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from object_detection_ext.config import Config
from object_detection_ext.data import schema
from object_detection_ext.data.record_index import RecordIndex, index_records


class RecordSource(NamedTuple):
    """Records of one input reader."""

    name: str  # `train` or `evaluation`, for messages
    records: RecordIndex


def train_records(config: Config) -> RecordSource:
    """The records that the config trains on.

    Raises:
        InputError: It names none, or they cannot be read.
    """
    reader = config.proto.train_input_reader
    field = "train_input_reader.tf_record_input_reader.input_path"
    where = f"{config.where(field)}: {field}"
    return RecordSource("train", index_records(list(reader.tf_record_input_reader.input_path), where=where))


def eval_records(config: Config) -> RecordSource:
    """The records of the config's evaluation readers; those it trains on where there are none."""
    paths = [path for reader in config.proto.eval_input_reader for path in reader.tf_record_input_reader.input_path]
    if not paths:
        return train_records(config)
    field = "eval_input_reader[0].tf_record_input_reader.input_path"
    return RecordSource("evaluation", index_records(paths, where=f"{config.where(field)}: {field}"))


def draw_images(source: RecordSource, count: int) -> Iterator[np.ndarray]:
    """Up to `count` images spread evenly over the records, always the same ones; broken ones are left out.

    Yields:
        [H, W, 3] uint8.
    """
    picks = np.unique(np.linspace(0, len(source.records) - 1, num=min(count, len(source.records))).round().astype(int))
    for record in picks:
        image = _decode(source.records.read(int(record)))
        if image is not None:
            yield image


def _decode(serialized: bytes) -> np.ndarray | None:
    features = tf.train.Example.FromString(serialized).features.feature
    encoded = features[schema.IMAGE_ENCODED].bytes_list.value
    try:
        return tf.io.decode_image(encoded[0], channels=3, expand_animations=False).numpy()
    except (IndexError, tf.errors.InvalidArgumentError):
        return None
