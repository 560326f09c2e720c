"""Options that a format has no use for are refused: the user meant something by them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from data_tools.annotated_image import ReadOptions
from object_detection_ext.errors import InputError

_ALWAYS_USED = ("images", "annotations")


def require_file(path: Path, format_name: str, what: str) -> None:
    """Raises `InputError` unless `path` is a file; `what` says which one the format needs."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; the {format_name} format needs {what}")


def refuse_unused(options: ReadOptions, format_name: str, *used: str) -> None:
    """Checks that nothing but `images`, `annotations` and the options named in `used` was given.

    Raises:
        InputError: another option was given; names it as a flag of the command.
    """
    for field in dataclasses.fields(options):
        if field.name not in _ALWAYS_USED + used and getattr(options, field.name) != field.default:
            taken = f"takes --{', --'.join(used)}" if used else "has no options of its own"
            raise InputError(f"the {format_name} format has no use for --{field.name}; it {taken}")
