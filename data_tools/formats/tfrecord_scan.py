"""One look at all records of a data set: where they lie, and which features they have; images and masks are passed over."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from data_tools.record_file import RecordPosition, record_positions
from data_tools.tf_example import parse_feature, split_example
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

_HEAD = 12  # bytes of a frame before the payload
_FLOATS = 0x12  # tag of Feature.float_list
_CLASS_KEYS = ((schema.OBJECT_CLASS_TEXT, schema.OBJECT_CLASS_LABEL), (schema.IMAGE_CLASS_TEXT, schema.IMAGE_CLASS_LABEL))


class RecordEntry(NamedTuple):
    """One record of a file."""

    path: Path
    position: RecordPosition

    def __str__(self) -> str:
        return f"{self.path}: record {self.position.number}"


class RecordScan(NamedTuple):
    """The records of a data set, and their features."""

    entries: list[RecordEntry]
    num_records: Mapping[str, int]  # by the key of a feature: how many have it
    object_floats: frozenset[str]  # keys of floats with one value for each box, in all records
    class_labels: Mapping[tuple[bytes, int], RecordEntry]  # each class text with its label, and the first record that has both


def scan_records(paths: Iterable[Path]) -> RecordScan:
    """Reads the heads of all records and the keys of their features.

    Raises:
        InputError: a file is damaged, as far as heads tell, or a record is no tf.Example; names the record.
    """
    entries: list[RecordEntry] = []
    num_records, num_parallel = Counter[str](), Counter[str]()
    class_labels: dict[tuple[bytes, int], RecordEntry] = {}
    for path in paths:
        for entry, payload in _payloads(path):
            try:
                features = split_example(payload)
                num_records.update(features.keys())
                num_parallel.update(_object_floats(features))
                for pair in _class_labels(features):
                    class_labels.setdefault(pair, entry)
            except InputError as error:
                raise InputError(f"{entry}: {error}") from None
            entries.append(entry)
    object_floats = frozenset(key for key, number in num_parallel.items() if number == len(entries))
    return RecordScan(entries, num_records, object_floats, class_labels)


def read_texts(paths: Iterable[Path], key: str) -> list[str]:
    """The text of feature `key` of every record, empty where there is none; raises `InputError` as `scan_records`."""
    texts = []
    for path in paths:
        for entry, payload in _payloads(path):
            try:
                values = parse_feature(split_example(payload).get(key, b""))
            except InputError as error:
                raise InputError(f"{entry}: {error}") from None
            texts.append(values[0].decode(errors="replace") if values and isinstance(values[0], bytes) else "")
    return texts


def _payloads(path: Path) -> Iterator[tuple[RecordEntry, memoryview]]:
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    for position in record_positions(path):
        start = position.offset + _HEAD
        yield RecordEntry(path, position), content[start : start + position.length]


def _object_floats(features: Mapping[str, bytes | memoryview]) -> list[str]:
    """The keys of features of floats with one value for each box."""
    num_boxes = _count(features, schema.OBJECT_XMIN)
    keys = []
    for key, feature in features.items():
        is_empty, is_floats = len(feature) == 0, len(feature) > 0 and feature[0] == _FLOATS
        if key.startswith("image/object/") and (is_floats or (is_empty and not num_boxes)) and _count(features, key) == num_boxes:
            keys.append(key)
    return keys


def _class_labels(features: Mapping[str, bytes | memoryview]) -> Iterator[tuple[bytes, int]]:
    """The texts of the classes of objects and image with their labels, where both are there and as many; what is odd the reader refuses."""
    for text_key, label_key in _CLASS_KEYS:
        if text_key not in features or label_key not in features:
            continue
        texts, labels = parse_feature(features[text_key]), parse_feature(features[label_key])
        if len(texts) == len(labels) and texts and isinstance(texts[0], bytes) and isinstance(labels[0], int):
            yield from {pair for pair in zip(texts, labels, strict=True) if pair[0]}


def _count(features: Mapping[str, bytes | memoryview], key: str) -> int:
    return len(parse_feature(features[key])) if key in features else 0
