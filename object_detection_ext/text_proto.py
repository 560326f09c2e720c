"""Protobuf text format with errors that help: file, line, the bad name and the nearest right one.

`google.protobuf.text_format` does the parsing; the scan of `text_scan.py` runs before it and finds the mistakes a person makes. A field
path is dotted, with an index on repeated fields: `train_config.data_augmentation_options[2].random_horizontal_flip`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from object_detection_ext.errors import InputError
from object_detection_ext.text_scan import ParsedText, Site, is_repeated, scan_text


class SetField(NamedTuple):
    """One field that a message has set, explicitly or by holding something."""

    path: str
    descriptor: FieldDescriptor
    value: object


def merge_text(
    text: str,
    message: Message,
    *,
    source: str,
    known: Mapping[str, Site] | None = None,
    explain: Callable[[str], str | None] = lambda path: None,
    single_line: bool = False,
) -> ParsedText:
    """Merges text-format `text` into `message`, as `text_format.Merge` does: scalars are replaced, repeated fields appended.

    Args:
        text: Protobuf text format.
        message: Changed in place; untouched when an error is raised.
        source: What errors call the text, usually the file's path.
        known: The sites of what `message` already holds (needed to count repeated fields on).
        explain: Given the path of an unknown field, a sentence that says why it is unknown, or None.
        single_line: Leaves line numbers out (a flag's value on one line).

    Raises:
        InputError: `text` is not a valid message; names source, line, the field and the nearest right name.
    """
    parsed = scan_text(
        text, cast(Descriptor, message.DESCRIPTOR), source=source, known=known or {}, explain=explain, single_line=single_line
    )
    merged = type(message)()
    merged.CopyFrom(message)
    try:
        text_format.Merge(text, merged)
    except text_format.ParseError as error:  # what the scan does not look at, such as a broken escape in a string
        line, column = error.GetLine(), error.GetColumn()
        at = f"{source}:{line}:{column}" if line is not None else source
        raise InputError(f"{at}: {re.sub(r'^[0-9]+:[0-9]+ : ', '', str(error))}") from error
    message.CopyFrom(merged)
    return parsed


def set_fields(message: Message, prefix: str = "") -> Iterator[SetField]:
    """Yields every set field in field-number order, outer before inner; repeated fields once per element, maps once."""
    for descriptor, value in message.ListFields():
        path = f"{prefix}.{descriptor.name}" if prefix else descriptor.name
        is_map = descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry
        if is_repeated(descriptor) and not is_map:
            elements = [(f"{path}[{index}]", element) for index, element in enumerate(value)]
        else:
            elements = [(path, value)]
        for element_path, element in elements:
            yield SetField(element_path, descriptor, element)
            if descriptor.message_type is not None and not is_map:
                yield from set_fields(element, element_path)


def save_text(message: Message, path: str | os.PathLike[str]) -> None:
    """Writes the message in text format; the file appears complete or not at all. Makes the folder."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(text_format.MessageToString(message, as_utf8=True), encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        OSError: The file cannot be read.
        InputError: It is not text; a TFRecord or a checkpoint given by mistake.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from error
