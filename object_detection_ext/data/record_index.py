"""Where every record of a set of TFRecord files lies, so that any record can be read by its number.

Only the 12-byte frame headers are read (one `pread` a record), so indexing costs a few microseconds a record and a training
run needs neither a shuffle buffer nor a pass over the data to resume. No TensorFlow in here.
"""

from __future__ import annotations

import glob
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np

from object_detection_ext.errors import InputError

# Frame of a record (tensorflow/core/lib/io/record_writer.h): uint64 length, uint32 masked CRC of the length, data, uint32
# masked CRC of the data; all little-endian, CRC-32C (Castagnoli).
_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_SHARD = re.compile(r"-(?P<shard>\?{5}|\*)-of-(?P<count>\d{5})$")


@dataclass(frozen=True, eq=False)
class RecordIndex:
    """Positions of N records in their order in the files, files in the order of `paths`."""

    paths: tuple[str, ...]
    file_ids: np.ndarray  # [N] int32, index into paths
    offsets: np.ndarray  # [N] int64, bytes from the start of the file to the record's frame
    lengths: np.ndarray  # [N] int64, bytes of the record's data
    numbers: np.ndarray  # [N] int64, 0-based number of the record in its file

    def __len__(self) -> int:
        return len(self.offsets)

    def every(self, n: int) -> RecordIndex:
        """Records 0, n, 2n, ...; the whole index for n = 1."""
        return RecordIndex(self.paths, self.file_ids[::n], self.offsets[::n], self.lengths[::n], self.numbers[::n])

    def describe(self, record: int) -> str:
        """`record 17 (from 0) of train.record-00000-of-00002`, for messages."""
        return f"record {self.numbers[record]} (from 0) of {self.paths[self.file_ids[record]]}"

    def read(self, record: int) -> bytes:
        """The data of one record.

        Raises:
            InputError: the data do not match their checksum, or the file has become shorter since it was indexed.
        """
        length = int(self.lengths[record])
        with open(self.paths[self.file_ids[record]], "rb", buffering=0) as file:
            frame = os.pread(file.fileno(), length + _FOOTER.size, int(self.offsets[record]) + _HEADER.size)
        data = frame[:length]
        if len(frame) != length + _FOOTER.size:
            raise InputError(f"{self.describe(record)}: the file has become shorter since it was opened")
        if _masked_crc(data) != _FOOTER.unpack(frame[length:])[0]:
            raise InputError(f"{self.describe(record)}: the data do not match their checksum; the file is damaged")
        return data


def index_records(input_paths: Sequence[str], *, where: str = "input_path") -> RecordIndex:
    """Indexes all records of the files that `input_paths` name.

    Args:
        input_paths: paths, glob patterns (`?`, `*`, `[...]`) or comma lists of them. The files of one pattern are sorted.
        where: the config field or flag the paths come from, for messages.

    Raises:
        InputError: nothing matches, a shard is missing, a file is no TFRecord, is compressed or cut short, or there is no record.
    """
    paths = expand_paths(input_paths, where=where)
    indexed = [_index_file(path) for path in paths]
    counts = [len(offsets) for offsets, _ in indexed]
    if sum(counts) == 0:
        raise InputError(f"{where}: no records in {', '.join(paths)}; the data set is empty")
    return RecordIndex(
        paths=paths,
        file_ids=np.repeat(np.arange(len(paths), dtype=np.int32), counts),
        offsets=np.concatenate([offsets for offsets, _ in indexed]),
        lengths=np.concatenate([lengths for _, lengths in indexed]),
        numbers=np.concatenate([np.arange(count, dtype=np.int64) for count in counts]),
    )


def expand_paths(input_paths: Sequence[str], *, where: str = "input_path") -> tuple[str, ...]:
    """File paths that the patterns name, in the order of the patterns; one that is named twice is there twice, as in the API.

    Raises:
        InputError: there is no pattern, one matches no file, or one like `train-?????-of-00002` finds fewer shards than it says.
    """
    patterns = [part for text in input_paths for part in _split_commas(text)]
    if not patterns:
        raise InputError(f"{where}: no path given; name at least one TFRecord file or glob pattern")
    found: list[str] = []
    for pattern in patterns:
        files = [pattern] if Path(pattern).is_file() else sorted(filter(os.path.isfile, glob.glob(pattern)))
        if not files:
            raise InputError(f"{where}: {pattern!r} matches no file (current directory: {Path.cwd()})")
        _check_shards(pattern, files, where=where)
        found += files
    return tuple(found)


def _split_commas(text: str) -> list[str]:
    if "," not in text or os.path.isfile(text):
        return [text] if text else []
    return [part.strip() for part in text.split(",") if part.strip()]


def _check_shards(pattern: str, files: Sequence[str], *, where: str) -> None:
    """A set of shards that is incomplete would be trained on in silence."""
    match = _SHARD.search(pattern)
    if match is None:
        return
    count = int(match["count"])
    present = {int(file[-14:-9]) for file in files if file[-14:-9].isdigit()}
    missing = [f"{shard:05d}" for shard in range(count) if shard not in present]
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(f"{where}: {pattern!r} finds {len(present)} of {count} shards; missing: {names}")


def _index_file(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and data lengths, both [n] int64, of the records of one file."""
    offsets: list[int] = []
    lengths: list[int] = []
    with open(path, "rb", buffering=0) as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        offset = 0
        while offset < size:
            header = os.pread(descriptor, _HEADER.size, offset)
            if len(header) < _HEADER.size:
                raise InputError(_truncated(path, len(offsets), offset, size, _HEADER.size))
            length, checksum = _HEADER.unpack(header)
            if _masked_crc(header[:8]) != checksum:
                raise InputError(_damaged(path, len(offsets), offset, header))
            end = offset + _HEADER.size + length + _FOOTER.size
            if end > size:
                raise InputError(_truncated(path, len(offsets), offset, size, end - offset))
            offsets.append(offset)
            lengths.append(length)
            offset = end
    return np.array(offsets, np.int64), np.array(lengths, np.int64)


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _truncated(path: str, record: int, offset: int, size: int, needed: int) -> str:
    return (
        f"{path} is cut short: record {record} (from 0) at byte {offset} needs {needed} bytes, but the file ends at byte {size};"
        f" write the file again"
    )


def _damaged(path: str, record: int, offset: int, header: bytes) -> str:
    if offset == 0 and header[:2] == b"\x1f\x8b":
        return f"{path} is gzip-compressed; only uncompressed TFRecord files can be read by record number"
    if offset == 0:
        return f"{path} is not a TFRecord file: its first bytes are no record header"
    return f"{path} is damaged: the header of record {record} (from 0) at byte {offset} does not match its checksum"
