"""The features of a record as lists, changed and encoded again: what `parse_example` gives, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_tools.checks.record_features import BOX_KEYS, OBJECT_KEYS, POINT_KEYS
from data_tools.tf_example import bytes_feature, encode_example, float_feature, int64_feature
from object_detection_ext.data import schema

FeatureLists = dict[str, list[Any]]


def encode_lists(features: Mapping[str, Sequence[Any]]) -> bytes:
    """A serialized tf.Example; an empty list is a feature without a kind, which readers take as absent."""
    return encode_example({key: _encode_list(values) for key, values in features.items()})


def keep_objects(features: FeatureLists, kept: Sequence[int]) -> FeatureLists:
    """The features with the objects `kept`, in this order; lists of other things stay as they are."""
    count = len(features.get(schema.OBJECT_YMIN, ()))
    changed = dict(features)
    for key in (*BOX_KEYS, *OBJECT_KEYS, *POINT_KEYS):
        values = features.get(key)
        if values:
            each = len(values) // count  # 1, or the keypoints of an object
            changed[key] = [value for index in kept for value in values[index * each : (index + 1) * each]]
    return changed


def _encode_list(values: Sequence[Any]) -> bytes:
    if not values:
        return b""
    if isinstance(values[0], bytes):
        return bytes_feature(values)
    return float_feature(values) if isinstance(values[0], float) else int64_feature(values)
