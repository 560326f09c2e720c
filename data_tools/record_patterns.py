"""The record files that a user means by a file, a prefix of shards, a glob pattern or a folder."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from data_tools.shards import find_shards
from object_detection_ext.errors import InputError

_SHARD = re.compile(r"(?P<prefix>.*)-(?P<index>[0-9]{5})-of-(?P<number>[0-9]{5})")
_RECORD_NAME = re.compile(r".*(\.records?|\.tfrecords?|-[0-9]{5}-of-[0-9]{5})$")


def find_record_files(patterns: Sequence[Path]) -> list[Path]:
    """The files that the patterns mean, each once, those of a pattern in alphabetical order.

    Args:
        patterns: files, prefixes such as `train.record` for `train.record-00000-of-00004` and so on, globs, or folders of record files.

    Raises:
        InputError: a pattern matches nothing, of a set of shards some are missing, or there are two sets with one prefix.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        found = _match(pattern)
        if not found:
            raise InputError(f"no record file matches {pattern}; give a file, a prefix of shards, a pattern in quotes, or a folder")
        files |= dict.fromkeys(found)
    _check_shards(list(files))
    return list(files)


def _match(pattern: Path) -> list[Path]:
    if pattern.is_file():
        return [pattern]
    if pattern.is_dir():
        return sorted(path for path in pattern.iterdir() if path.is_file() and is_record_name(path.name))
    return find_shards(pattern) or [path for name in sorted(glob.glob(str(pattern))) if (path := Path(name)).is_file()]


def is_record_name(name: str) -> bool:
    """Whether a file's name says that it has records; hidden files have none."""
    return not name.startswith(".") and _RECORD_NAME.match(name) is not None


def _check_shards(files: Sequence[Path]) -> None:
    present: dict[tuple[Path, str], dict[int, set[int]]] = {}  # prefix -> number of shards that names say -> indices
    for path in files:
        match = _SHARD.fullmatch(path.name)
        if match:
            sets = present.setdefault((path.parent, match["prefix"]), {})
            sets.setdefault(int(match["number"]), set()).add(int(match["index"]))
    for (folder, prefix), sets in present.items():
        if len(sets) > 1:
            numbers = " and of ".join(map(str, sorted(sets)))
            raise InputError(f"{folder}/{prefix} has sets of {numbers} shards, of several runs; remove one, or choose with a pattern")
        ((number, indices),) = sets.items()
        missing = next((index for index in range(number) if index not in indices), None)
        if missing is not None:
            name = f"{folder}/{prefix}-{missing:05d}-of-{number:05d}"
            raise InputError(f"{name} is missing; {len(indices)} of {number} shards are there")
