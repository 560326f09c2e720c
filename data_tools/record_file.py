"""TFRecord files read record by record, checksums included, without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from data_tools.tf_example import masked_crc
from object_detection_ext.errors import InputError

_HEAD, _TAIL = 12, 4  # bytes: length and its checksum before the payload, the payload's checksum after it
LARGEST_RECORD = 1 << 30  # bytes; tf.data gives up at 2 GiB


def read_records(path: Path) -> Iterator[bytes]:
    """Yields the payload of every record of an uncompressed TFRecord file, in order.

    Raises:
        InputError: the file cannot be read, ends within a record, or a checksum does not fit; names the record and its place in the file.
    """
    try:
        with path.open("rb") as file:
            index = 0
            while (payload := _read_record(file, f"{path}: record {index} at byte {file.tell()}")) is not None:
                yield payload
                index += 1
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


class RecordPosition(NamedTuple):
    """Where the frame of one record lies."""

    number: int  # of the record in its file, from 0
    offset: int  # bytes
    length: int  # bytes of the payload


def record_positions(path: Path) -> Iterator[RecordPosition]:
    """Yields the place of every record from the frame heads alone, a few microseconds each; payloads are not read.

    Raises:
        InputError: as `read_records`, but for damaged payloads.
    """
    try:
        with path.open("rb") as file:
            size, index, offset = path.stat().st_size, 0, 0
            while (length := _read_length(file, where := f"{path}: record {index} at byte {offset}")) is not None:
                end = offset + _HEAD + length + _TAIL
                if end > size:
                    raise _cut_off(where, size - offset - _HEAD, length)
                yield RecordPosition(index, offset, length)
                file.seek(end)
                index, offset = index + 1, end
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def read_record_at(path: Path, position: RecordPosition) -> bytes:
    """The payload of one record; raises `InputError` as `read_records` does."""
    with path.open("rb") as file:
        file.seek(position.offset)
        payload = _read_record(file, f"{path}: record {position.number} at byte {position.offset}")
    if payload is None:
        raise InputError(f"{path}: record {position.number}: the file has become shorter since it was opened")
    return payload


def _read_record(file: IO[bytes], where: str) -> bytes | None:
    length = _read_length(file, where)
    if length is None:
        return None
    body = file.read(length + _TAIL)
    if len(body) < length + _TAIL:
        raise _cut_off(where, len(body), length)
    payload = body[:length]
    if masked_crc(payload) != body[length:]:
        raise InputError(f"{where}: the checksum of the data does not fit; the file is damaged here")
    return payload


def _read_length(file: IO[bytes], where: str) -> int | None:
    head = file.read(_HEAD)
    if not head:
        return None
    if len(head) < _HEAD:
        raise InputError(f"{where}: the file ends within the head of this record; it was cut off, or it is no TFRecord file")
    length_bytes, length_crc = head[:8], head[8:]
    if masked_crc(length_bytes) != length_crc:
        if head.startswith(b"\x1f\x8b"):
            raise InputError(f"{where}: the file is compressed (gzip); unpack it first")
        raise InputError(f"{where}: the checksum of the length does not fit; the file is damaged here, or it is no TFRecord file")
    (length,) = struct.unpack("<Q", length_bytes)
    if length > LARGEST_RECORD:
        raise InputError(f"{where}: says it has {length:,} bytes, more than the {LARGEST_RECORD:,} that are read")
    return length


def _cut_off(where: str, present: int, length: int) -> InputError:
    return InputError(f"{where}: the file ends within this record, after {present:,} of {length + _TAIL:,} bytes; it was cut off")
