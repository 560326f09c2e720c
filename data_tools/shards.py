"""Output files that appear all together, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Self

from contextlib2 import ExitStack

from object_detection_ext.errors import InputError

_RECORD_SUFFIXES = (".record", ".tfrecord", ".tfrecords")
_PARTIAL, _REPLACED = ".partial", ".replaced"
_SHARD_NUMBERS = "-" + "[0-9]" * 5 + "-of-" + "[0-9]" * 5  # as a glob pattern, and as a regular expression
_LARGEST_BUFFER, _ALL_BUFFERS = 1 << 20, 1 << 26  # bytes; Linux takes a megabyte at a time in two thirds of the time of image by image
_COMMITTING = "/committing"  # a line of the lock file that is no file name


def shard_paths(prefix: Path, num_shards: int) -> list[Path]:
    """`PREFIX-00000-of-00004` and so on: the names that the API's tools write and its glob patterns expect."""
    return [prefix.with_name(f"{prefix.name}-{index:05d}-of-{num_shards:05d}") for index in range(num_shards)]


def find_shards(prefix: Path) -> list[Path]:
    """All shards that stand at `prefix`, of whatever number."""
    return sorted(prefix.parent.glob(glob.escape(prefix.name) + _SHARD_NUMBERS))


def split_prefix(prefix: Path, split: str) -> Path:
    """The prefix of one split's shards: of `mine.record`, `mine_train.record`."""
    name, suffix = _parts(prefix)
    return prefix.with_name(f"{name}_{split}{suffix}")


def label_map_path(prefix: Path) -> Path:
    """`PREFIX_label_map.pbtxt`, without the prefix's record suffix: `train.record` has `train_label_map.pbtxt` beside it."""
    return prefix.with_name(f"{_parts(prefix)[0]}_label_map.pbtxt")


def manifest_path(prefix: Path) -> Path:
    """`PREFIX_manifest.json`, without the prefix's record suffix."""
    return prefix.with_name(f"{_parts(prefix)[0]}_manifest.json")


def journal_path(prefix: Path) -> Path:
    """The hidden file that tells how far an unfinished run has come."""
    return prefix.with_name(f".{prefix.name}.journal")


def _parts(prefix: Path) -> tuple[str, str]:
    return (prefix.stem, prefix.suffix) if prefix.suffix in _RECORD_SUFFIXES else (prefix.name, "")


class AtomicFiles:
    """Files written under hidden temporary names in the folder of `prefix`; `commit` gives them their names.

    Leaving the context without `commit`, by an exception or not, removes the temporary files and leaves earlier output untouched. A killed
    process leaves them behind, hidden and without the final names, until the next run with this prefix removes them; if it was killed
    between two renames of `commit`, that run first takes them back. The hidden lock file lists the targets for it.

    Args:
        prefix: what other runs are told apart by.
        targets: the files' final paths, in the folder of `prefix`. They get their names in this order: where the last one is, all are.
        keeps_unfinished: temporary files stay where the context is left without `commit`, and what an earlier run left is appended to.

    Raises:
        InputError: a file cannot be written (disk full, no permission), or another run is writing one of these files.
    """

    def __init__(self, prefix: Path, targets: Sequence[Path], *, keeps_unfinished: bool = False) -> None:
        self._prefix = prefix
        self._targets = tuple(targets)
        self._keeps_unfinished = keeps_unfinished
        self._files: list[IO[bytes]] = []
        self._lock_path = prefix.with_name(f".{prefix.name}.lock")
        self._cleanup = ExitStack()
        self._has_unfinished = False

    def __enter__(self) -> Self:
        with ExitStack() as stack, self._clear_errors():
            self._prefix.parent.mkdir(parents=True, exist_ok=True)
            earlier = self._lock(stack)
            self._roll_back(earlier)
            if not self._keeps_unfinished:
                for leftover in self._leftovers(earlier):
                    leftover.unlink(missing_ok=True)
            stack.callback(self._close)
            buffering = min(_LARGEST_BUFFER, _ALL_BUFFERS // max(len(self._targets), 1))
            for target in self._targets:
                self._files.append(_hidden(target, _PARTIAL).open("ab" if self._keeps_unfinished else "wb", buffering=buffering))
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def write(self, index: int, data: bytes) -> None:
        """Appends to the file of target `index`."""
        try:
            self._files[index].write(data)
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Hands to the system what was written, so that it outlives this process."""
        with self._clear_errors():
            for file in self._files:
                file.flush()

    def cut(self, index: int, size: int) -> None:
        """Keeps the first `size` bytes of the file of target `index`."""
        with self._clear_errors():
            self._files[index].truncate(size)

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
            with self._lock_path.open("a") as lock:
                lock.write(f"{_COMMITTING}\n")
            # Earlier files go first: a kill between two renames must not leave a mixture of old and new.
            with ExitStack() as undo:
                for target in reversed(self._targets):
                    if target.exists():
                        target.rename(_hidden(target, _REPLACED))
                        undo.callback(_hidden(target, _REPLACED).rename, target)
                for target in self._targets:
                    _hidden(target, _PARTIAL).rename(target)
                    undo.callback(target.rename, _hidden(target, _PARTIAL))
                undo.pop_all()
            for target in self._targets:
                _hidden(target, _REPLACED).unlink(missing_ok=True)
            self._has_unfinished = False

    def _lock(self, stack: ExitStack) -> list[str]:
        """Locks every prefix that is written to; answers what the lock file of a killed run lists."""
        others = {_shard_prefix(target) for target in self._targets} - {self._prefix.name}
        for name in [self._prefix.name, *sorted(others)]:
            path = self._prefix.with_name(f".{name}.lock")
            file = stack.enter_context(path.open("a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"another run is writing {self._prefix.with_name(name)}; wait for it or choose another --output"
                raise InputError(message) from None
            stack.callback(self._unlock, path)
        with self._lock_path.open("r+", errors="replace") as lock:
            earlier = lock.read().splitlines()
            lock.seek(0)
            lock.truncate()
            lock.writelines(f"{target.name}\n" for target in self._targets)
        self._has_unfinished = self._keeps_unfinished
        return earlier

    def _unlock(self, path: Path) -> None:
        if not self._has_unfinished or path != self._lock_path:
            path.unlink(missing_ok=True)

    def _roll_back(self, earlier: Sequence[str]) -> None:
        """Undoes the renames of a run that was killed in `commit`."""
        if _COMMITTING not in earlier:
            return
        for target in self._listed(earlier):
            partial, replaced = _hidden(target, _PARTIAL), _hidden(target, _REPLACED)
            if target.exists() and not partial.exists():
                target.rename(partial)
            if replaced.exists() and not target.exists():
                replaced.rename(target)

    def _leftovers(self, earlier: Sequence[str]) -> Iterator[Path]:
        for suffix in (_PARTIAL, _REPLACED):
            for target in (*self._targets, *self._listed(earlier)):
                yield _hidden(target, suffix)
            for prefix in {self._prefix.name, *map(_shard_prefix, self._targets)}:
                yield from self._prefix.parent.glob(f".{glob.escape(prefix)}{_SHARD_NUMBERS}{suffix}")

    def _listed(self, earlier: Sequence[str]) -> list[Path]:
        return [self._prefix.with_name(name) for name in earlier if name and "/" not in name]

    def _close(self) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):  # a full disk fails again on the last buffer
                file.close()
        if not self._keeps_unfinished:
            for target in self._targets:
                _hidden(target, _PARTIAL).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> InputError:
        what = "what is finished is kept for --resume" if self._keeps_unfinished else "the unfinished files were removed"
        return InputError(f"cannot write {self._prefix}: {error.strerror or error}; {what}, earlier ones are as they were")


def _shard_prefix(target: Path) -> str:
    return re.sub(f"{_SHARD_NUMBERS}$", "", target.name)


def _hidden(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}{suffix}")
