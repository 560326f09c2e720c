"""tf.Example -> `Example`, with the meaning that the API's decoder gives to each key.

Bad ground truth is found twice: inside the graph, where every record passes for a few microseconds and only a yes or no is possible, and by
`ExampleDecoder.find_problem` in Python, which says what is wrong. The graph drops the record; whoever notices asks for the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.errors import InputError
from object_detection_ext.types import Example

_BOX_KEYS = (schema.OBJECT_YMIN, schema.OBJECT_XMIN, schema.OBJECT_YMAX, schema.OBJECT_XMAX)
_INT_KEYS = (schema.OBJECT_CLASS_LABEL, schema.OBJECT_IS_CROWD, schema.OBJECT_DIFFICULT)
_FLOAT_KEYS = (*_BOX_KEYS, schema.OBJECT_WEIGHT, schema.OBJECT_AREA)
_OPTIONAL_KEYS = (schema.OBJECT_IS_CROWD, schema.OBJECT_DIFFICULT, schema.OBJECT_WEIGHT, schema.OBJECT_AREA)


@dataclass(frozen=True)
class ExampleDecoder:
    """Decodes serialised records.

    Labels are label-map ids, 1 to `num_classes`. Where a record has no labels, the class texts are looked up in the label map (names
    first, then display names). Missing weights are 1, missing flags False, a missing area is that of the box. Images of any number of
    channels become RGB.
    """

    num_classes: int
    label_map: LabelMap | None = None

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be >= 1, got {self.num_classes}")

    def __call__(self, serialized: tf.Tensor) -> Example:
        """Decodes one record; works inside tf.data.

        Args:
            serialized: [] string, a tf.Example.

        Raises:
            tf.errors.InvalidArgumentError: the image cannot be decoded, or the ground truth is wrong (`find_problem` says how).
        """
        features = self._parse(serialized)
        boxes = tf.stack([features[key] for key in _BOX_KEYS], axis=1)
        with tf.control_dependencies([self._assert_objects(features, boxes)]):
            # As the API: libjpeg's fast integer DCT for JPEG, and PNG, GIF and BMP by their magic numbers.
            image = tf.io.decode_image(features[schema.IMAGE_ENCODED], channels=3, expand_animations=False)
        image.set_shape([None, None, 3])
        shape = tf.shape(image)[:2]
        count = tf.shape(boxes)[0]
        sides = (boxes[:, 2:] - boxes[:, :2]) * tf.cast(shape, tf.float32)
        return Example(
            image=image,
            boxes=boxes,
            classes=tf.cast(self._labels(features) - 1, tf.int32),
            weights=_or_default(features[schema.OBJECT_WEIGHT], tf.ones([count])),
            is_crowd=_or_default(features[schema.OBJECT_IS_CROWD], tf.zeros([count], tf.int64)) > 0,
            difficult=_or_default(features[schema.OBJECT_DIFFICULT], tf.zeros([count], tf.int64)) > 0,
            area=_or_default(features[schema.OBJECT_AREA], sides[:, 0] * sides[:, 1]),
            original_shape=shape,
            source_id=_first_filled(features[schema.IMAGE_SOURCE_ID], features[schema.IMAGE_FILENAME]),
        )

    def _parse(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        def per_object(dtype: tf.DType) -> tf.io.FixedLenSequenceFeature:
            return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)

        features = {key: per_object(tf.float32) for key in _FLOAT_KEYS}
        features |= {key: per_object(tf.int64) for key in _INT_KEYS}
        features |= {
            schema.OBJECT_CLASS_TEXT: per_object(tf.string),
            schema.IMAGE_ENCODED: tf.io.FixedLenFeature([], tf.string, default_value=""),
            schema.IMAGE_SOURCE_ID: tf.io.FixedLenFeature([], tf.string, default_value=""),
            schema.IMAGE_FILENAME: tf.io.FixedLenFeature([], tf.string, default_value=""),
        }
        return tf.io.parse_single_example(serialized, features)

    def _labels(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        """Label-map ids, [N] int64; 0 for a text that the label map lacks."""
        labels, texts = features[schema.OBJECT_CLASS_LABEL], features[schema.OBJECT_CLASS_TEXT]
        if self.label_map is None:
            return labels
        names = tf.constant([text for text, _ in self._text_ids])
        ids = tf.constant([0, *(class_id for _, class_id in self._text_ids)], tf.int64)

        def look_up() -> tf.Tensor:
            same = tf.pad(texts[:, tf.newaxis] == names, [[0, 0], [1, 0]])  # [N, 1 + texts]
            return tf.gather(ids, tf.argmax(tf.cast(same, tf.int32), axis=1))

        return tf.cond((tf.size(labels) == 0) & (tf.size(texts) > 0), look_up, lambda: labels)

    def _assert_objects(self, features: dict[str, tf.Tensor], boxes: tf.Tensor) -> tf.Operation:
        labels, texts = self._labels(features), features[schema.OBJECT_CLASS_TEXT]
        count = tf.shape(boxes)[0]
        in_range = (labels >= 1) & (labels <= self.num_classes)
        lengths = tf.stack([tf.size(features[key]) for key in _OPTIONAL_KEYS] + ([tf.size(texts)] if self.label_map else []))
        checks = [
            tf.reduce_all(boxes[:, :2] <= boxes[:, 2:]),  # False for NaN too
            tf.reduce_all(in_range),
            tf.size(labels) == count,
            tf.reduce_all((lengths == 0) | (lengths == count)),
        ]
        if self.label_map is not None:
            checks.append(tf.reduce_all(self._texts_agree(tf.where(in_range, labels, 0), texts)))
        return tf.debugging.Assert(tf.reduce_all(tf.stack(checks)), ["bad ground truth"])

    def _texts_agree(self, labels: tf.Tensor, texts: tf.Tensor) -> tf.Tensor:
        """[N] bool: the label has an item in the map, and the text (if there is one) is its name or display name."""
        names, display_names = (tf.gather(tf.constant(column), labels) for column in self._names_by_id)
        known = names != ""
        filled = tf.cond(tf.size(texts) == tf.size(labels), lambda: texts, lambda: tf.fill(tf.shape(labels), ""))
        return known & ((filled == "") | (filled == names) | (filled == display_names))

    @cached_property
    def _text_ids(self) -> list[tuple[str, int]]:
        """(text, id) for every text a record may use."""
        assert self.label_map is not None
        by_text = {item.display_name: item.id for item in self.label_map.items if item.display_name}
        by_text |= {item.name: item.id for item in self.label_map.items}
        return list(by_text.items())

    @cached_property
    def _names_by_id(self) -> tuple[list[str], list[str]]:
        """Names and display names by id, both of num_classes + 1 entries, "" for an id without an item."""
        assert self.label_map is not None
        names, display_names = [""] * (self.num_classes + 1), [""] * (self.num_classes + 1)
        for item in self.label_map.items:
            if item.id <= self.num_classes:
                names[item.id], display_names[item.id] = item.name, item.display_name or item.name
        return names, display_names

    def find_problem(self, serialized: bytes) -> str | None:
        """What is wrong with a record's ground truth, None when nothing is; the image is not looked at."""
        try:
            features = tf.train.Example.FromString(serialized).features.feature
        except DecodeError as error:
            return f"the data are no tf.Example ({error})"
        counts = [len(features[key].float_list.value) for key in _BOX_KEYS]
        if len(set(counts)) > 1:
            return f"the box coordinates differ in number: {dict(zip(_BOX_KEYS, counts, strict=True))}"
        return self._find_length_problem(features, counts[0]) or self._find_object_problem(features)

    def _find_length_problem(self, features: Mapping[str, Any], count: int) -> str | None:
        for key in (*_OPTIONAL_KEYS, schema.OBJECT_CLASS_LABEL, schema.OBJECT_CLASS_TEXT):
            length = len(_values(features[key]))
            if length not in (0, count):
                return f"{key} has {length} values for {count} boxes"
        texts, labels = (len(_values(features[key])) for key in (schema.OBJECT_CLASS_TEXT, schema.OBJECT_CLASS_LABEL))
        if count and not labels and not (texts and self.label_map):
            without = " (there are texts, but no label map is given: set label_map_path)" if texts else ""
            return f"{schema.OBJECT_CLASS_LABEL} is empty for {count} boxes{without}"
        return None

    def _find_object_problem(self, features: Mapping[str, Any]) -> str | None:
        boxes = np.array([features[key].float_list.value for key in _BOX_KEYS], np.float32).T  # [N, 4]
        ordered = np.all(boxes[:, :2] <= boxes[:, 2:], axis=1)
        if not ordered.all():
            bad = int(np.argmin(ordered))
            values = ", ".join(f"{value:g}" for value in boxes[bad])
            return f"object {bad} (from 0): the box [ymin, xmin, ymax, xmax] = [{values}] is upside down or not a number"
        labels: Sequence[int | None] = list(features[schema.OBJECT_CLASS_LABEL].int64_list.value) or [None] * len(boxes)
        texts = [text.decode(errors="replace") for text in features[schema.OBJECT_CLASS_TEXT].bytes_list.value] or [""] * len(boxes)
        classes = list(zip(labels, texts, strict=True))
        for each in dict.fromkeys(classes):
            problem = self._find_class_problem(*each)
            if problem:
                return f"object {classes.index(each)} (from 0): {problem}"
        return None

    def _find_class_problem(self, label: int | None, text: str) -> str | None:
        text_id = None
        if self.label_map is not None and text:
            try:
                text_id = self.label_map.id_of(text)
            except InputError as error:
                return str(error)
        class_id = text_id if label is None else label
        if class_id is None:
            return "it has neither a class label nor a class text"
        if not 1 <= class_id <= self.num_classes:
            return f"class label {class_id} is out of range; num_classes {self.num_classes} allows 1 to {self.num_classes}"
        if self.label_map is None:
            return None
        names = {column[class_id] for column in self._names_by_id} - {""}
        if not names:
            return f"class label {class_id} has no item in the label map"
        if text and text not in names:
            return f'class label {class_id} is "{self._names_by_id[0][class_id]}" in the label map, but the class text is "{text}"'
        return None


def source_id_of(serialized: bytes) -> str:
    """The record's source id or, failing that, its file name; empty when it has neither or is no tf.Example."""
    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except DecodeError:  # not a tf.Example: there is no name to tell
        return ""
    for key in (schema.IMAGE_SOURCE_ID, schema.IMAGE_FILENAME):
        for value in features[key].bytes_list.value:
            if value:
                return value.decode(errors="replace")
    return ""


def _or_default(values: tf.Tensor, default: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.size(values) > 0, lambda: values, lambda: default)


def _first_filled(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.strings.length(first) > 0, first, second)


def _values(feature: Any) -> Sequence[Any]:
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value if kind else ()
