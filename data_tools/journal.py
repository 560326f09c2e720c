"""How far an unfinished conversion has come, so that `--resume` goes on there."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from object_detection_ext.errors import InputError

_INTERVAL = 2.0  # seconds of work that a killed run loses at most
_KEYS = {"fingerprint", "num_done", "shards", "summary"}  # of what is written, as `conversion` makes it
_MOST_COST = 0.02  # of the run's time may go into journals


@dataclass
class Journal:
    """A small JSON file that is replaced as a whole: a kill leaves the earlier one or the later one."""

    path: Path

    def __post_init__(self) -> None:
        self._due = time.monotonic() + _INTERVAL

    @property
    def is_due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() >= self._due

    def read(self) -> Mapping[str, Any] | None:
        """What the last run has left; None where there is nothing that can be used."""
        try:
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) and content.keys() == _KEYS else None

    def write(self, content: Mapping[str, Any]) -> None:
        """Replaces what stands there."""
        start = time.monotonic()
        draft = self.path.with_name(f"{self.path.name}.new")
        draft.write_text(json.dumps(content))
        os.replace(draft, self.path)
        now = time.monotonic()
        self._due = now + max(_INTERVAL, (now - start) / _MOST_COST)

    def remove(self) -> None:
        """Takes it away, whether there is one or not."""
        for path in (self.path, self.path.with_name(f"{self.path.name}.new")):
            path.unlink(missing_ok=True)


def fingerprint(settings: Mapping[str, object], entries: Sequence[object], inputs: Sequence[Path]) -> dict[str, str]:
    """What a run depends on, each by its name: equal fingerprints give equal records.

    Args:
        settings: kept word by word, for messages.
        entries: of the data set; counted, and told apart by what they show of themselves (`repr`) and the files that they name.
        inputs: annotation files, and folders of them; told apart by names, sizes and times of change.
    """
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(repr(entry).encode(errors="surrogatepass"))
        for part in entry if isinstance(entry, tuple) else (entry,):
            if isinstance(part, Path):
                digest.update("".join(_describe_files(part)).encode(errors="surrogateescape"))
    files = hashlib.sha256()
    for path in inputs:
        for line in _describe_files(path):
            files.update(line.encode(errors="surrogateescape"))
    texts = dict(pair for name, value in settings.items() for pair in _texts(name, value))
    return texts | {"annotation files": files.hexdigest()[:12], "list of images": f"{len(entries):,} ({digest.hexdigest()[:12]})"}


def difference(earlier: Mapping[str, object], now: Mapping[str, str]) -> str:
    """The first thing that differs between two fingerprints, in words; empty where none does."""
    for name in [*now, *(name for name in earlier if name not in now)]:
        if earlier.get(name) != now.get(name):
            return f"{name} was {earlier.get(name, 'not given')}, now {now.get(name, 'not given')}"
    return ""


def check_same(earlier: object, now: Mapping[str, str]) -> None:
    """Checks that a run may go on with what an earlier one has left.

    Raises:
        InputError: arguments or annotations have changed; names the first change.
    """
    change = difference(earlier if isinstance(earlier, dict) else {}, now)
    if change:
        message = "--resume: arguments or annotations have changed since the run that was stopped"
        raise InputError(f"{message}: {change}; give them as they were, or leave out --resume to start over")


def _describe_files(path: Path) -> Iterator[str]:
    """One line a file, in a fixed order; hidden files, such as those of the journal itself, do not count."""
    with contextlib.suppress(FileNotFoundError):
        if not path.is_dir():
            stat = path.stat()
            yield f"{path} {stat.st_size} {stat.st_mtime_ns}\n"
            return
        with os.scandir(path) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_file() or entry.is_dir(follow_symlinks=False):  # a linked folder may lead back here
                yield from _describe_files(Path(entry.path))


def _texts(name: str, value: object) -> Iterator[tuple[str, str]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _texts(f"{name}.{field.name}", getattr(value, field.name))
    elif value is not None:
        yield name, str(value)
