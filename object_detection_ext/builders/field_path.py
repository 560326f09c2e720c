"""Errors of builders begin with the path of the config field that is wrong; `Config.locate_errors` adds file and line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from object_detection_ext.errors import InputError


@contextmanager
def field_path(path: str) -> Iterator[None]:
    """Turns a component's `ValueError("depth must be > 0, got 0")` into an `InputError` that says `<path>.depth must be > 0, got 0`."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}.{error}") from error
