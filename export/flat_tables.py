"""FlatBuffers tables by field number, for schemas too small to generate code for: written from plain values, read without trust.

The format: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import number_types

_FLAGS = {np.int8: number_types.Int8Flags, np.int32: number_types.Int32Flags, np.uint32: number_types.Uint32Flags}
_FLAGS |= {np.uint8: number_types.Uint8Flags, np.float32: number_types.Float32Flags, np.bool_: number_types.BoolFlags}


@dataclass(frozen=True)
class Table:
    """A table to be written.

    Attributes:
        fields: by field number (an integer from 0). A numpy scalar or vector gives the field's type; bytes are a vector aligned to 16.
            An empty list is left out.
    """

    fields: Mapping[Any, Value]


Outside = str | bytes | np.ndarray | Table | Sequence[str] | Sequence[Table]  # the table holds its offset
Value = np.generic | Outside


def pack_table(root: Table, identifier: bytes) -> bytes:
    """The buffer whose root is `root`; `identifier` has four bytes."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, root), identifier)
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, value: Outside) -> int:
    """Writes what is kept outside of a table and returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, bytes):
        builder.Prep(16, len(value))
        return builder.CreateByteVector(value)
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    if isinstance(value, Table):
        return _write_table(builder, value)
    offsets = [_write(builder, entry) for entry in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _write_table(builder: flatbuffers.Builder, table: Table) -> int:
    fields = {number: value for number, value in table.fields.items() if not (isinstance(value, list | tuple) and not value)}
    offsets = {number: _write(builder, value) for number, value in fields.items() if not isinstance(value, np.generic)}
    builder.StartObject(max(fields, default=-1) + 1)
    for number, value in fields.items():
        if isinstance(value, np.generic):
            builder.PrependSlot(_FLAGS[type(value)], number, value.item(), 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, offsets[number], 0)
    return builder.EndObject()


class BrokenTableError(ValueError):
    """The bytes are no such table."""


@dataclass(frozen=True)
class TableReader:
    """One table of a buffer. Every method raises `BrokenTableError` where it would read outside of the buffer."""

    buffer: bytes
    position: int

    @staticmethod
    def of_root(buffer: bytes, identifier: bytes | None = None) -> TableReader:
        """The root table; `identifier` is checked where it is given."""
        if identifier is not None and buffer[4:8] != identifier:
            raise BrokenTableError(f"expected the identifier {identifier!r}, found {bytes(buffer[4:8])!r}")
        return TableReader(buffer, _unpack("<I", buffer, 0))

    def table(self, number: int) -> TableReader | None:
        """The table in a field, None where the field is not set."""
        place = self._place(number)
        return None if place is None else TableReader(self.buffer, place + _unpack("<I", self.buffer, place))

    def tables(self, number: int) -> list[TableReader]:
        """The tables of a vector."""
        start, length = self._vector(number, 4)
        places = range(start, start + 4 * length, 4)
        return [TableReader(self.buffer, place + _unpack("<I", self.buffer, place)) for place in places]

    def numbers(self, number: int, dtype: type[np.generic]) -> np.ndarray:
        """A vector of numbers, empty where the field is not set."""
        start, length = self._vector(number, np.dtype(dtype).itemsize)
        return np.frombuffer(self.buffer, np.dtype(dtype).newbyteorder("<"), length, start if length else 0)

    def text(self, number: int) -> str:
        """A string; "" where the field is not set."""
        start, length = self._vector(number, 1)
        try:
            return str(self.buffer[start : start + length], "utf-8")
        except UnicodeDecodeError as error:
            raise BrokenTableError("a text that is not UTF-8") from error

    def byte(self, number: int) -> int:
        """A byte, as enumerations and kinds of unions are stored; 0 where the field is not set."""
        place = self._place(number)
        return 0 if place is None else int(_unpack("<B", self.buffer, place))

    def integer(self, number: int) -> int:
        """An unsigned integer of 32 bits; 0 where the field is not set."""
        place = self._place(number)
        return 0 if place is None else int(_unpack("<I", self.buffer, place))

    def _place(self, number: int) -> int | None:
        vtable = self.position - _unpack("<i", self.buffer, self.position)
        entry = 4 + 2 * number
        if entry + 2 > _unpack("<H", self.buffer, vtable):
            return None
        offset = _unpack("<H", self.buffer, vtable + entry)
        return self.position + offset if offset else None

    def _vector(self, number: int, item_size: int) -> tuple[int, int]:
        place = self._place(number)
        if place is None:
            return 0, 0
        start = place + _unpack("<I", self.buffer, place)
        length = int(_unpack("<I", self.buffer, start))
        if start + 4 + item_size * length > len(self.buffer):
            raise BrokenTableError(f"a vector of {length} entries reaches beyond its {len(self.buffer)} bytes")
        return start + 4, length


def _unpack(kind: str, buffer: bytes, place: int) -> int:
    if not 0 <= place <= len(buffer) - struct.calcsize(kind):
        raise BrokenTableError(f"an offset leads to byte {place} of {len(buffer)}")
    return struct.unpack_from(kind, buffer, place)[0]
