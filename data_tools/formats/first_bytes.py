"""The start of a file, to tell one format from another."""

from __future__ import annotations

import stat
from pathlib import Path

_COUNT = 1024


def first_bytes(path: Path) -> bytes:
    """The first 1024 bytes; none of what is no regular file (a link may lead anywhere, a pipe never ends) or cannot be read."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(_COUNT)
    except OSError:
        return b""
