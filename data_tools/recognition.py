"""The data set in a folder, recognised by its layout."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_tools.annotated_image import ReadOptions
from data_tools.format_table import FORMATS
from object_detection_ext.errors import InputError

_MOST_PARTS = 20  # folders in a folder that are looked at


def recognise(folder: Path, names: Sequence[str], *, flag: str, instead: str) -> tuple[str, ReadOptions]:
    """The one of the formats `names` that `folder` is laid out as, and where its parts are.

    Records beside annotations are passed over: they were made of these.

    Args:
        folder: of a data set.
        names: keys of `FORMATS`.
        flag: of the command that named the folder, for messages.
        instead: what the user can do where nothing is recognised, as the end of a message.

    Raises:
        InputError: there is no format that fits, or more than one.
    """
    found = {name: options for name in names if (options := FORMATS[name].recognise(folder)) is not None}
    if len(found) > 1:
        found = {name: options for name, options in found.items() if FORMATS[name].has_image_folder}
    if not found:
        what = f"is not laid out as {'any of ' if len(names) > 1 else ''}{', '.join(names)}"
        raise InputError(f"{flag} {folder} {what}{_part_hint(folder, names, flag)}; {instead}")
    if len(found) > 1:
        raise InputError(f"{flag} {folder} can be read in {len(found)} ways: {_list(found)}; choose one with --format")
    ((name, options),) = found.items()
    return name, options


def _list(found: Mapping[str, ReadOptions]) -> str:
    return "; ".join(f"{name} ({options.annotations})" for name, options in found.items())


def _part_hint(folder: Path, names: Sequence[str], flag: str) -> str:
    """Names a folder in `folder` that is a data set, such as one split of an export; empty where none is."""
    for part in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))[:_MOST_PARTS]:
        for name in names:
            with contextlib.suppress(InputError):
                if FORMATS[name].recognise(part):
                    return f" (but {flag} {part} is, as {name})"
    return ""
