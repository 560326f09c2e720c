"""A record's payload -> the features that training reads, with findings where they cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from data_tools.tf_example import parse_example
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Check, Finding, RecordPlace, Severity

NOT_AN_EXAMPLE = Check(
    "not_an_example",
    Severity.ERROR,
    "a record that is no tf.Example",
    "write the file again; input_path must name detection records only",
)
WRONG_FEATURE_TYPE = Check(
    "wrong_feature_type",
    Severity.ERROR,
    "a feature of another type than the API reads, such as labels stored as floats",
    "write the records again with data_tools.create_tf_record",
)
LIST_LENGTHS = Check(
    "list_lengths",
    Severity.ERROR,
    "parallel lists of different length: coordinates, labels, texts, flags of the objects",
    "write the record again, or let --fix drop it: which value belongs to which box cannot be told",
)
CHECKS = (NOT_AN_EXAMPLE, WRONG_FEATURE_TYPE, LIST_LENGTHS)

BOX_KEYS = (schema.OBJECT_YMIN, schema.OBJECT_XMIN, schema.OBJECT_YMAX, schema.OBJECT_XMAX)
OBJECT_KEYS = (  # one value an object, or none at all
    schema.OBJECT_CLASS_LABEL,
    schema.OBJECT_CLASS_TEXT,
    schema.OBJECT_DIFFICULT,
    schema.OBJECT_TRUNCATED,
    schema.OBJECT_VIEW,
    schema.OBJECT_IS_CROWD,
    schema.OBJECT_GROUP_OF,
    schema.OBJECT_AREA,
    schema.OBJECT_WEIGHT,
    schema.OBJECT_MASK,
    schema.OBJECT_KEYPOINT_NUM,
)
POINT_KEYS = (schema.OBJECT_KEYPOINT_Y, schema.OBJECT_KEYPOINT_X, schema.OBJECT_KEYPOINT_VISIBILITY, schema.OBJECT_KEYPOINT_TEXT)

_FLOATS = (*BOX_KEYS, schema.OBJECT_AREA, schema.OBJECT_WEIGHT, schema.OBJECT_KEYPOINT_Y, schema.OBJECT_KEYPOINT_X)
_INTS = (
    schema.IMAGE_HEIGHT,
    schema.IMAGE_WIDTH,
    schema.OBJECT_CLASS_LABEL,
    schema.OBJECT_DIFFICULT,
    schema.OBJECT_TRUNCATED,
    schema.OBJECT_IS_CROWD,
    schema.OBJECT_GROUP_OF,
    schema.OBJECT_KEYPOINT_NUM,
    schema.OBJECT_KEYPOINT_VISIBILITY,
)
_BYTES = (
    schema.IMAGE_ENCODED,
    schema.IMAGE_FORMAT,
    schema.IMAGE_FILENAME,
    schema.IMAGE_SOURCE_ID,
    schema.IMAGE_KEY_SHA256,
    schema.OBJECT_CLASS_TEXT,
    schema.OBJECT_VIEW,
    schema.OBJECT_MASK,
    schema.OBJECT_KEYPOINT_TEXT,
)
TYPES = {key: type_ for type_, keys in ((float, _FLOATS), (int, _INTS), (bytes, _BYTES)) for key in keys}
_TYPE_NAMES = {float: "floats", int: "int64", bytes: "bytes"}


class RecordFeatures(NamedTuple):
    """One record as training reads it; N boxes."""

    encoded: bytes
    format: str  # as recorded, "" where it is not
    height: int | None  # as recorded
    width: int | None
    filename: str
    source_id: str
    sha256: str
    boxes: np.ndarray  # [N, 4] float32, ymin, xmin, ymax, xmax; N is 0 where the lists differ in length
    labels: tuple[int | None, ...]  # N; None without labels
    texts: tuple[str, ...]  # N; "" without texts
    is_crowd: tuple[bool, ...]  # N

    @property
    def name(self) -> str:
        """What a person knows the image by."""
        return self.source_id or self.filename


NO_FEATURES = RecordFeatures(b"", "", None, None, "", "", "", np.zeros((0, 4), np.float32), (), (), ())


def read_features(payload: bytes, place: RecordPlace) -> tuple[RecordFeatures, tuple[Finding, ...]]:
    """The features of a record, and what is wrong with their form; what cannot be read is as if it were absent."""
    try:
        features = parse_example(payload)
    except InputError as error:
        return NO_FEATURES, (NOT_AN_EXAMPLE(place, str(error), record=place),)
    name = _text(features, schema.IMAGE_SOURCE_ID) or _text(features, schema.IMAGE_FILENAME)
    findings = [
        WRONG_FEATURE_TYPE(place, f"{key} must hold {_TYPE_NAMES[TYPES[key]]}, got {_TYPE_NAMES[kind]}", image=name, record=place)
        for key, kind in _wrong_types(features)
    ]
    features = {key: values for key, values in features.items() if not values or isinstance(values[0], TYPES.get(key, object))}
    problem = find_length_problem(features)
    if problem:
        findings.append(LIST_LENGTHS(place, problem, image=name, record=place))
    return _record(features, has_objects=not problem), tuple(findings)


def find_length_problem(features: Mapping[str, list[Any]]) -> str | None:
    """What differs in length among the lists of objects; None where they run in parallel."""
    counts = {key: len(features.get(key, ())) for key in BOX_KEYS}
    count = counts[schema.OBJECT_YMIN]
    if len(set(counts.values())) > 1:
        return "the box coordinates differ in number: " + ", ".join(f"{key.rpartition('/')[2]} {number}" for key, number in counts.items())
    for key in OBJECT_KEYS:
        if (length := len(features.get(key, ()))) not in (0, count):
            return f"{key} has {length} values for {count} boxes"
    points = {key: len(features[key]) for key in POINT_KEYS if features.get(key)}
    if len(set(points.values())) > 1:
        return "the keypoint lists differ in number: " + ", ".join(f"{key.rpartition('/')[2]} {number}" for key, number in points.items())
    for key, length in points.items():
        if not count or length % count:
            return f"{key} has {length} values for {count} boxes, which must be as many for each box"
    return None


def _wrong_types(features: Mapping[str, list[Any]]) -> list[tuple[str, type]]:
    return [(key, type(values[0])) for key, values in features.items() if values and key in TYPES and type(values[0]) is not TYPES[key]]


def _record(features: Mapping[str, list[Any]], *, has_objects: bool) -> RecordFeatures:
    columns = [features.get(key, []) if has_objects else [] for key in BOX_KEYS]
    count = len(columns[0])
    labels = features.get(schema.OBJECT_CLASS_LABEL, [])
    texts = features.get(schema.OBJECT_CLASS_TEXT, [])
    crowds = features.get(schema.OBJECT_IS_CROWD, [])
    return RecordFeatures(
        encoded=next(iter(features.get(schema.IMAGE_ENCODED, ())), b""),
        format=_text(features, schema.IMAGE_FORMAT),
        height=next(iter(features.get(schema.IMAGE_HEIGHT, ())), None),
        width=next(iter(features.get(schema.IMAGE_WIDTH, ())), None),
        filename=_text(features, schema.IMAGE_FILENAME),
        source_id=_text(features, schema.IMAGE_SOURCE_ID),
        sha256=_text(features, schema.IMAGE_KEY_SHA256),
        boxes=np.array(columns, np.float32).T.reshape(count, 4),
        labels=tuple(labels) if len(labels) == count else (None,) * count,
        texts=tuple(text.decode(errors="replace") for text in texts) if len(texts) == count else ("",) * count,
        is_crowd=tuple(map(bool, crowds)) if len(crowds) == count else (False,) * count,
    )


def _text(features: Mapping[str, list[Any]], key: str) -> str:
    values = features.get(key, ())
    return values[0].decode(errors="replace") if values and isinstance(values[0], bytes) else ""
