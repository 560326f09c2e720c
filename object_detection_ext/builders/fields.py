"""Errors of builders start with the path of the config field that is wrong; `Config.locate_errors` adds file and line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import Message

from object_detection_ext.errors import InputError


@contextmanager
def errors_at(path: str) -> Iterator[None]:
    """Turns the ValueError of a dataclass, which starts with the name of its setting, into an InputError about `path.<setting>`."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}.{error}") from error


def chosen(message: Message, path: str, *, allowed: tuple[str, ...]) -> str:
    """The name of the field that is set in the message's only oneof.

    Raises:
        InputError: None is set, or one that is not in `allowed`.
    """
    (oneof,) = message.DESCRIPTOR.oneofs
    name = message.WhichOneof(oneof.name)
    if name is None:
        raise InputError(f"{path} must hold one of {', '.join(allowed)}")
    if name not in allowed:
        raise InputError(f"{path}.{name} is not supported; use one of {', '.join(allowed)}")
    return name
