"""The wire format of tf.Example and of a record, written by hand so that no tool here has to import TensorFlow.

A tf.Example (tensorflow/core/example/example.proto) is `features: {feature: map<string, Feature>}`; a Feature is one of three lists.
Field numbers: Example.features 1, Features.feature 1, map entry key 1 and value 2, Feature.bytes_list 1, .float_list 2, .int64_list 3,
every list's value 1 (numbers packed). Every field is length-delimited (wire type 2), so a field's tag is `number << 3 | 2`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import google_crc32c

from object_detection_ext.errors import InputError

Feature = bytes | tuple[bytes, ...]  # serialized, whole or in pieces
FeatureValues = list[Any]  # bytes, floats or ints, all of one kind

_FIELD_1, _FIELD_2, _FIELD_3 = b"\x0a", b"\x12", b"\x1a"
_CRC_MASK_DELTA = 0xA282EAD8  # tensorflow/tsl lib/hash/crc32c.h: a CRC stored next to its data is rotated and shifted


def bytes_feature(values: Sequence[bytes]) -> bytes:
    """A serialized Feature holding a list of byte strings."""
    return _field(_FIELD_1, b"".join([_field(_FIELD_1, value) for value in values]))


def large_bytes_feature(value: bytes) -> tuple[bytes, bytes]:
    """A serialized Feature holding one byte string, in two pieces: an image is not copied to stand behind a few bytes."""
    head = _FIELD_1 + _varint(len(value))
    return _FIELD_1 + _varint(len(head) + len(value)) + head, value


def text_feature(values: Sequence[str]) -> bytes:
    """A serialized Feature holding a list of texts, in UTF-8; quick for lists that come again and again."""
    return _text_feature(tuple(values))


def float_feature(values: Sequence[float]) -> bytes:
    """A serialized Feature holding a list of float32 numbers."""
    return _float_head(len(values)) + struct.pack(f"<{len(values)}f", *values)


def int64_feature(values: Sequence[int]) -> bytes:
    """A serialized Feature holding a list of int64 numbers; quick for lists that come again and again, such as flags."""
    return _int64_feature(tuple(values))


def encode_example(features: Mapping[str, Feature]) -> bytes:
    """A serialized tf.Example; keys are sorted, so equal features give equal bytes."""
    return b"".join(_example_pieces(features))


def encode_record(features: Mapping[str, Feature]) -> bytes:
    """One record of a TFRecord file: `frame_record(encode_example(features))`, with one copy of the image less."""
    pieces = _example_pieces(features)
    crc = 0
    for piece in pieces:
        crc = google_crc32c.extend(crc, piece)
    length = struct.pack("<Q", sum(map(len, pieces)))
    return b"".join((length, masked_crc(length), *pieces, _mask(crc)))


def _example_pieces(features: Mapping[str, Feature]) -> list[bytes]:
    """The large ones as they are, the small ones between them joined."""
    pieces, small, total = [b""], list[bytes](), 0
    for key in _sorted(tuple(features)):
        value = features[key]
        if isinstance(value, bytes):
            length = len(value)
            head = _entry_head(key, length)
            small += (head, value)
        else:
            length = sum(map(len, value))
            head = _entry_head(key, length)
            pieces += (b"".join((*small, head, *value[:-1])), value[-1])
            small.clear()
        total += len(head) + length
    pieces[0] = _FIELD_1 + _varint(total)
    return [*pieces, b"".join(small)]


def frame_record(payload: bytes) -> bytes:
    """One record of a TFRecord file: length, its CRC, payload, its CRC (tensorflow/core/lib/io/record_writer.h)."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, masked_crc(length), payload, masked_crc(payload)))


def masked_crc(data: bytes) -> bytes:
    """The checksum of a TFRecord file, as the four bytes that stand in it."""
    return _mask(google_crc32c.value(data))


def _mask(crc: int) -> bytes:
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _CRC_MASK_DELTA) & 0xFFFFFFFF)


def parse_example(payload: bytes) -> dict[str, FeatureValues]:
    """The features of a serialized tf.Example; a feature without a kind has an empty list.

    Raises:
        InputError: the bytes are no tf.Example.
    """
    return {key: parse_feature(feature) for key, feature in split_example(payload).items()}


def split_example(payload: bytes | memoryview) -> dict[str, bytes | memoryview]:
    """The serialized features of a tf.Example by their keys, for `parse_feature`; those of a memoryview are not copied.

    Raises:
        InputError: the bytes are no tf.Example.
    """
    features: dict[str, bytes | memoryview] = {}
    try:
        for number, body in _fields(payload):
            for entry_number, entry in _fields(body) if number == 1 else ():
                if entry_number == 1:
                    parts = dict(_fields(entry))
                    features[bytes(parts.get(1, b"")).decode()] = parts.get(2, b"")
    except (ValueError, IndexError) as error:
        raise InputError(f"not a tf.Example: {error}") from None
    return features


def parse_feature(feature: bytes | memoryview) -> FeatureValues:
    """The values of a serialized Feature.

    Raises:
        InputError: the bytes are no Feature.
    """
    values: FeatureValues = []
    last_kind = 0
    try:
        for kind, body in _fields(feature):
            if kind != last_kind:  # of several, the last one counts, as wherever protobuf reads a oneof
                values, last_kind = [], kind
            for number, value in _fields(body, wire_type_of_numbers=_WIRE_TYPES.get(kind)):
                if number == 1:
                    values += _parse_values(kind, value)
    except (ValueError, IndexError, struct.error) as error:
        raise InputError(f"not a tf.Example: {error}") from None
    return values


def _parse_values(kind: int, value: bytes | memoryview) -> FeatureValues:
    if kind == 1:
        return [bytes(value)]
    if kind == 2:
        return list(struct.unpack(f"<{len(value) // 4}f", value))
    if kind != 3:
        raise ValueError(f"a feature has the unknown kind {kind}")
    numbers, position = list[int](), 0
    while position < len(value):
        number, position = _read_varint(value, position)
        number &= _UINT64  # ten bytes could hold more, which protobuf drops
        numbers.append(number - (1 << 64) if number >> 63 else number)
    return numbers


def _fields(message: bytes | memoryview, *, wire_type_of_numbers: int | None = None) -> Iterator[tuple[int, bytes | memoryview]]:
    """Yields number and content of every field; a number that stands alone (not packed) comes as its bytes."""
    position, end = 0, len(message)
    while position < end:
        tag, position = _read_varint(message, position)
        wire_type = tag & 7
        if wire_type == 2:
            length, position = _read_varint(message, position)
            stop = position + length
        elif wire_type == wire_type_of_numbers:
            stop = _read_varint(message, position)[1] if wire_type == 0 else position + 4
        else:
            raise ValueError(f"a field of wire type {wire_type} stands where none is expected")
        if stop > end:
            raise ValueError("a field is longer than the message that it stands in")
        yield tag >> 3, message[position:stop]
        position = stop


def _read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than ten bytes")


# What most records have in common is serialized once.


@functools.lru_cache(maxsize=4096)
def _text_feature(values: tuple[str, ...]) -> bytes:
    return _field(_FIELD_1, b"".join([_text_field(value) for value in values]))


@functools.lru_cache(maxsize=4096)
def _text_field(text: str) -> bytes:
    return _field(_FIELD_1, text.encode())


@functools.lru_cache(maxsize=4096)
def _int64_feature(values: tuple[int, ...]) -> bytes:
    return _field(_FIELD_3, _field(_FIELD_1, b"".join([_varint(value) for value in values])) if values else b"")


@functools.lru_cache(maxsize=4096)
def _float_head(num_values: int) -> bytes:
    """All of a Feature but the values."""
    if not num_values:
        return _field(_FIELD_2, b"")
    head = _FIELD_1 + _varint(4 * num_values)
    return _FIELD_2 + _varint(len(head) + 4 * num_values) + head


@functools.lru_cache(maxsize=4096)
def _entry_head(key: str, length: int) -> bytes:
    """All of an entry of Features.feature but its value, a Feature of `length` bytes."""
    head = _text_field(key) + _FIELD_2 + _varint(length)
    return _FIELD_1 + _varint(len(head) + length) + head


@functools.lru_cache(maxsize=256)
def _sorted(keys: tuple[str, ...]) -> list[str]:
    return sorted(keys)


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    value &= _UINT64  # negative numbers in two's complement, ten bytes
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


_UINT64 = (1 << 64) - 1
_WIRE_TYPES = {2: 5, 3: 0}  # of unpacked numbers: floats are fixed32, int64 are varints
_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))
