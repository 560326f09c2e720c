"""Small records for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

Feature = tf.train.Feature
NAMES = ("red", "green", "blue")


def jpeg(color: Sequence[int] = (200, 30, 30), *, size: tuple[int, int] = (24, 32), channels: int = 3) -> bytes:
    """A JPEG of one color."""
    image = np.broadcast_to(np.array(color[:channels], np.uint8), (*size, channels))
    return tf.io.encode_jpeg(image).numpy()


def example(encoded: bytes, boxes: Sequence[Sequence[float]] = (), labels: Sequence[int] = (), **features: Any) -> bytes:
    """A serialised tf.Example; `features` are keys with `_` for `/`, as `object_weight=[0.5]`."""
    values: dict[str, Any] = {
        "encoded": [encoded],
        "format": [b"jpeg"],
        "object_bbox_ymin": [box[0] for box in boxes],
        "object_bbox_xmin": [box[1] for box in boxes],
        "object_bbox_ymax": [box[2] for box in boxes],
        "object_bbox_xmax": [box[3] for box in boxes],
        "object_class_label": list(labels),
        **features,
    }
    slashes = {"source_id": "source_id", "object_is_crowd": "object/is_crowd"}
    keys = {name: "image/" + slashes.get(name, name.replace("_", "/")) for name in values}
    return tf.train.Example(
        features=tf.train.Features(feature={keys[name]: _feature(value) for name, value in values.items() if value})
    ).SerializeToString()


def write(path: Path, records: Iterable[bytes]) -> str:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return str(path)


def numbered(count: int, *, broken: Sequence[int] = ()) -> list[bytes]:
    """Records with source ids "0", "1", ..., one box each; those in `broken` hold half a JPEG."""
    records = []
    for number in range(count):
        encoded = jpeg((number * 7 % 256, 128, 255 - number * 7 % 256), size=(24 + number % 3, 32))
        if number in broken:
            encoded = encoded[: len(encoded) // 2]
        label = number % 3 + 1
        records.append(
            example(
                encoded,
                [[0.25, 0.25, 0.75, 0.75]],
                [label],
                source_id=[str(number).encode()],
                object_class_text=[NAMES[label - 1].encode()],
            )
        )
    return records


def _feature(values: Sequence[Any]) -> tf.train.Feature:
    if isinstance(values[0], bytes):
        return Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return Feature(float_list=tf.train.FloatList(value=values))
    return Feature(int64_list=tf.train.Int64List(value=values))
