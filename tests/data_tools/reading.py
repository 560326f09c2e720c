"""Reads a data set as the converter does and collects what it had to say; anything but an `InputError` fails the test."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path
from unittest import mock

from data_tools.annotated_image import Format, ReadOptions
from data_tools.create_tf_record import create_tf_record
from object_detection_ext.errors import InputError
from tests.data_tools.watch import nothing_opened_outside, time_limit

_LONGEST_MESSAGE = 3000  # characters
_SECONDS = 20.0  # for two images, on a machine that is busy with other tests


def read_everything(format: Format, options: ReadOptions, *, root: Path) -> list[str]:
    """Lists the data set, loads every image and writes all records; the messages of what was refused, each checked to be one clear line.

    Args:
        root: the folder that everything lies in; nothing outside of it is opened. Records go to a folder in it, and are gone afterwards.
    """
    try:
        with nothing_opened_outside(root), time_limit(_SECONDS), contextlib.redirect_stderr(io.StringIO()), mock.patch("os.fsync"):
            return _read(format, options, root / "records" / "train.record")
    finally:
        shutil.rmtree(root / "records", ignore_errors=True)


def _read(format: Format, options: ReadOptions, output: Path) -> list[str]:
    messages = list[str]()
    try:
        source = format.read(options)
    except InputError as error:
        return [checked(str(error))]
    for entry in source.entries:
        try:
            source.load(entry)
        except InputError as error:
            messages.append(checked(str(error)))
    try:
        summary = create_tf_record(source, output)
    except InputError as error:
        return [*messages, checked(str(error))]
    assert not messages, f"an image that cannot be loaded was written: {messages}"
    assert summary.num_images > 0
    return []


def checked(message: str) -> str:
    """The message, checked to be one line for people."""
    assert message.isprintable(), f"not one printable line: {message!r}"
    assert 0 < len(message) < _LONGEST_MESSAGE
    assert " object at 0x" not in message
    return message
