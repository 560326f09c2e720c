"""Records on their way into shards: counted, hashed, and gone on with where an earlier run was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_tools.shards import AtomicFiles

_CHUNK = 1 << 20  # bytes read at a time


class ShardState(NamedTuple):
    """One shard as far as it is written."""

    num_records: int
    num_bytes: int
    sha256: str  # hexadecimal, of these bytes


class RecordWriter:
    """Writes framed records to the first `num_shards` of `files`."""

    def __init__(self, files: AtomicFiles, num_shards: int) -> None:
        self._files = files
        self._num_records = [0] * num_shards
        self._num_bytes = [0] * num_shards
        self._hashes = [hashlib.sha256() for _ in range(num_shards)]

    def write(self, shard: int, record: bytes) -> None:
        """Appends one record."""
        self._files.write(shard, record)
        self._hashes[shard].update(record)
        self._num_records[shard] += 1
        self._num_bytes[shard] += len(record)

    def states(self) -> list[ShardState]:
        """The shards as they stand, handed to the system."""
        self._files.flush()
        hexadecimal = [each.hexdigest() for each in self._hashes]
        return [ShardState(*state) for state in zip(self._num_records, self._num_bytes, hexadecimal, strict=True)]

    def go_on(self, states: Sequence[ShardState]) -> bool:
        """Cuts the shards of an earlier run back to `states`; where they are not what these say, to nothing, and answers False."""
        for shard, state in enumerate(states):
            found = _hash_start(self._files.partial_path(shard), state.num_bytes)
            if found is None or found.hexdigest() != state.sha256:
                self.clear()
                return False
            self._files.cut(shard, state.num_bytes)
            self._num_records[shard], self._num_bytes[shard], self._hashes[shard] = state.num_records, state.num_bytes, found
        return True

    def clear(self) -> None:
        """Cuts all shards back to nothing."""
        for shard in range(len(self._hashes)):
            self._files.cut(shard, 0)
            self._num_records[shard], self._num_bytes[shard], self._hashes[shard] = 0, 0, hashlib.sha256()


def _hash_start(path: Path, size: int) -> hashlib._Hash | None:
    """The hash of the first `size` bytes; None where the file has fewer."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as file:
        while left and (chunk := file.read(min(left, _CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
    return digest if not left else None
