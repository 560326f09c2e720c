"""Lists of the images that belong to a split."""

from __future__ import annotations

from pathlib import Path

from object_detection_ext.errors import InputError

_LONGEST_LINE = 4096  # characters; of a path on Linux


def read_split_file(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, stripped, with their numbers from 1; at least one."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8: {error}") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    for number, line in lines:
        if len(line) > _LONGEST_LINE:
            raise InputError(
                f"{path}:{number}: a line of a list of images is a name, this one has {len(line):,} characters: {line[:40]!r}..."
            )
    if not lines:
        raise InputError(f"{path} lists no image")
    return lines
