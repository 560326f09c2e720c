"""The wire format of tf.Example and of a record, written by hand so that no tool here has to import TensorFlow.

A tf.Example (tensorflow/core/example/example.proto) is `features: {feature: map<string, Feature>}`; a Feature is one of three lists.
Field numbers: Example.features 1, Features.feature 1, map entry key 1 and value 2, Feature.bytes_list 1, .float_list 2, .int64_list 3,
every list's value 1 (numbers packed). Every field is length-delimited (wire type 2), so a field's tag is `number << 3 | 2`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence

import google_crc32c

_FIELD_1, _FIELD_2, _FIELD_3 = b"\x0a", b"\x12", b"\x1a"
_CRC_MASK_DELTA = 0xA282EAD8  # tensorflow/tsl lib/hash/crc32c.h: a CRC stored next to its data is rotated and shifted


def bytes_feature(values: Sequence[bytes]) -> bytes:
    """A serialized Feature holding a list of byte strings."""
    return _field(_FIELD_1, b"".join([_field(_FIELD_1, value) for value in values]))


def text_feature(values: Sequence[str]) -> bytes:
    """A serialized Feature holding a list of texts, in UTF-8; quick for texts that come again and again, such as class names."""
    return _field(_FIELD_1, b"".join([_text_field(value) for value in values]))


def float_feature(values: Sequence[float]) -> bytes:
    """A serialized Feature holding a list of float32 numbers."""
    return _field(_FIELD_2, _field(_FIELD_1, struct.pack(f"<{len(values)}f", *values)) if values else b"")


def int64_feature(values: Sequence[int]) -> bytes:
    """A serialized Feature holding a list of int64 numbers."""
    if not values:
        return _field(_FIELD_3, b"")
    if min(values) >= 0 and max(values) < 0x80:  # one byte each
        return _field(_FIELD_3, _field(_FIELD_1, bytes(values)))
    return _field(_FIELD_3, _field(_FIELD_1, b"".join([_varint(value) for value in values])))


def encode_example(features: Mapping[str, bytes]) -> bytes:
    """A serialized tf.Example of serialized features; keys are sorted, so equal features give equal bytes."""
    pieces, total = [], 0
    for key in sorted(features):
        key_field, value = _text_field(key), features[key]
        value_head = _FIELD_2 + _varint(len(value))
        entry_length = len(key_field) + len(value_head) + len(value)
        entry_head = _FIELD_1 + _varint(entry_length)
        pieces += (entry_head, key_field, value_head, value)
        total += len(entry_head) + entry_length
    return b"".join((_FIELD_1, _varint(total), *pieces))


def frame_record(payload: bytes) -> bytes:
    """One record of a TFRecord file: length, its CRC, payload, its CRC (tensorflow/core/lib/io/record_writer.h)."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, _masked_crc(length), payload, _masked_crc(payload)))


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _CRC_MASK_DELTA) & 0xFFFFFFFF)


@functools.lru_cache(maxsize=4096)
def _text_field(text: str) -> bytes:
    return _field(_FIELD_1, text.encode())


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    value &= 0xFFFFFFFFFFFFFFFF  # negative numbers in two's complement, ten bytes
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))
