"""Output files that appear all together, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Self

from contextlib2 import ExitStack

from object_detection_ext.errors import InputError

_RECORD_SUFFIXES = (".record", ".tfrecord", ".tfrecords")
_PARTIAL, _REPLACED = ".partial", ".replaced"
_SHARD_NUMBERS = "-" + "[0-9]" * 5 + "-of-" + "[0-9]" * 5  # as a glob pattern


def shard_paths(prefix: Path, num_shards: int) -> list[Path]:
    """`PREFIX-00000-of-00004` and so on: the names that the API's tools write and its glob patterns expect."""
    return [prefix.with_name(f"{prefix.name}-{index:05d}-of-{num_shards:05d}") for index in range(num_shards)]


def find_shards(prefix: Path) -> list[Path]:
    """All shards that stand at `prefix`, of whatever number."""
    return sorted(prefix.parent.glob(glob.escape(prefix.name) + _SHARD_NUMBERS))


def label_map_path(prefix: Path) -> Path:
    """`PREFIX_label_map.pbtxt`, without the prefix's record suffix: `train.record` has `train_label_map.pbtxt` beside it."""
    name = prefix.stem if prefix.suffix in _RECORD_SUFFIXES else prefix.name
    return prefix.with_name(f"{name}_label_map.pbtxt")


class AtomicFiles:
    """Files written under hidden temporary names in the folder of `prefix`; `commit` gives them their names.

    Leaving the context without `commit`, by an exception or not, removes the temporary files and leaves earlier output untouched. A killed
    process leaves them behind, hidden and without the final names, until the next run with this prefix removes them.

    Raises:
        InputError: a file cannot be written (disk full, no permission), or another run is writing with this prefix.
    """

    def __init__(self, prefix: Path, targets: Sequence[Path]) -> None:
        self._prefix = prefix
        self._targets = tuple(targets)
        self._files: list[IO[bytes]] = []
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack, self._clear_errors():
            self._prefix.parent.mkdir(parents=True, exist_ok=True)
            self._lock(stack)
            for leftover in self._leftovers():
                leftover.unlink()
            stack.callback(self._discard)
            for target in self._targets:
                self._files.append(_hidden(target, _PARTIAL).open("wb"))
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def write(self, index: int, data: bytes) -> None:
        """Appends to the file of target `index`."""
        with self._clear_errors():
            self._files[index].write(data)

    def partial_path(self, index: int) -> Path:
        """Where target `index` lies until `commit`, for writers that want a path."""
        return _hidden(self._targets[index], _PARTIAL)

    def commit(self) -> None:
        """Puts everything on disk and renames it; if a rename fails, those before it are undone."""
        with self._clear_errors():
            for file in self._files:
                file.flush()
                os.fsync(file.fileno())
                file.close()
            # Earlier files go first: a kill between two renames must not leave a mixture of old and new.
            with ExitStack() as undo:
                for target in self._targets:
                    if target.exists():
                        target.rename(_hidden(target, _REPLACED))
                        undo.callback(_hidden(target, _REPLACED).rename, target)
                for target in self._targets:
                    _hidden(target, _PARTIAL).rename(target)
                    undo.callback(target.unlink)
                undo.pop_all()
            for target in self._targets:
                _hidden(target, _REPLACED).unlink(missing_ok=True)

    def _lock(self, stack: ExitStack) -> None:
        path = self._prefix.with_name(f".{self._prefix.name}.lock")
        file = stack.enter_context(path.open("wb"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another run is writing {self._prefix}; wait for it or choose another --output") from None
        stack.callback(path.unlink, missing_ok=True)

    def _leftovers(self) -> list[Path]:
        pattern = f".{glob.escape(self._prefix.name)}{_SHARD_NUMBERS}"
        return [path for suffix in (_PARTIAL, _REPLACED) for path in self._prefix.parent.glob(pattern + suffix)]

    def _discard(self) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):  # a full disk fails again on the last buffer
                file.close()
        for target in self._targets:
            _hidden(target, _PARTIAL).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"cannot write {self._prefix}: {error.strerror or error}"
            raise InputError(f"{message}; the unfinished files were removed, earlier ones are as they were") from error


def _hidden(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}{suffix}")
