"""Protobuf text format with errors that help: file, line, the bad name and the nearest right one.

`google.protobuf.text_format` does the parsing; a token scan that walks the message's descriptor runs before it, finds the mistakes a
person makes (a mistyped field, an unknown enum value, a number where a string belongs) and remembers on which line each field was set.
A field path is dotted, with an index on repeated fields: `train_config.data_augmentation_options[2].random_horizontal_flip`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from object_detection_ext.errors import InputError


class Site(NamedTuple):
    """Where a field was set."""

    source: str  # a file, or the name of a flag
    line: int  # from 1; 0 when the source has a single line and no need of one

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


Sites = dict[str, Site]


class ParsedText(NamedTuple):
    """What `merge_text` learned from a text besides the message itself."""

    sites: Sites  # field path -> where it was set; the last place wins for scalars, the first for messages
    overwritten: tuple[tuple[str, Site, Site], ...]  # (field path, earlier place, the place that counts), within this text


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
    scanner = _Scanner(text, source=source, known=known or {}, explain=explain, single_line=single_line)
    parsed = scanner.scan(message.DESCRIPTOR)
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


def is_repeated(descriptor: FieldDescriptor) -> bool:
    """Whether the field holds a list (or a map)."""
    return isinstance(descriptor.default_value, list)  # `label` is gone from protobuf 7, `is_repeated` younger than protobuf 5


class _Token(NamedTuple):
    kind: str  # "atom" (name, number, word), "string", "symbol"
    text: str
    line: int
    column: int


_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<atom>[+-]?[\w.][\w.+-]*)
      | (?P<symbol>.)""",
    re.VERBOSE,
)


def _tokens(text: str) -> Iterator[_Token]:
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        kind, value = match.lastgroup, match.group()
        if kind != "space":
            yield _Token(str(kind), value, line, match.start() - line_start + 1)
        newlines = value.count("\n")
        if newlines:
            line += newlines
            line_start = match.start() + value.rindex("\n") + 1


class _Scanner:
    """One pass over a text's tokens along a descriptor. Raises InputError at the first mistake."""

    def __init__(self, text: str, *, source: str, known: Mapping[str, Site], explain: Callable[[str], str | None], single_line: bool):
        self._rest = list(_tokens(text))[::-1]
        self._end = _Token("symbol", "the end of the text", max(text.count("\n") + (not text.endswith("\n")), 1), 1)
        self._source = source
        self._single_line = single_line
        self._explain = explain
        self._sites: Sites = dict(known)
        self._from_before = set(known)
        self._counts: dict[str, int] = {}
        self._overwritten: list[tuple[str, Site, Site]] = []

    def scan(self, descriptor: Descriptor) -> ParsedText:
        self._root = descriptor
        self._message(descriptor, "", closing=None, opened=None)
        return ParsedText(self._sites, tuple(self._overwritten))

    def _peek(self) -> _Token:
        return self._rest[-1] if self._rest else self._end

    def _next(self) -> _Token:
        return self._rest.pop() if self._rest else self._end

    def _take(self, *texts: str) -> bool:
        if self._rest and self._rest[-1].kind == "symbol" and self._rest[-1].text in texts:
            self._rest.pop()
            return True
        return False

    def _site(self, token: _Token) -> Site:
        return Site(self._source, 0 if self._single_line else token.line)

    def _syntax_error(self, token: _Token, message: str) -> InputError:
        return InputError(f"{self._source}:{token.line}:{token.column}: {message}")

    def _error(self, token: _Token, message: str) -> InputError:
        return InputError(f"{self._site(token)}: {message}")

    def _message(self, descriptor: Descriptor, path: str, *, closing: str | None, opened: _Token | None) -> None:
        while True:
            token = self._peek()
            if token is self._end:
                if opened is None:
                    return
                raise self._syntax_error(opened, f'"{opened.text}" of {path} is never closed with "{closing}"')
            if closing is not None and self._take(closing):
                return
            if token.kind == "symbol" and token.text in "}>]":
                raise self._syntax_error(
                    token, f'"{token.text}" closes nothing' if opened is None else f'expected "{closing}", got "{token.text}"'
                )
            if token.kind != "atom":
                raise self._syntax_error(token, _unclosed_string(token) or f"expected a field name, got {_quoted(token)}")
            self._field(descriptor, path)
            self._take(",", ";")

    def _field(self, descriptor: Descriptor, path: str) -> None:
        name = self._next()
        field = descriptor.fields_by_name.get(name.text)
        if field is None:
            raise self._unknown_field(name, descriptor, path)
        field_path = f"{path}.{field.name}" if path else field.name
        self._forget_rivals(field, path)
        has_colon = self._take(":")
        if field.message_type is None and not has_colon:
            raise self._syntax_error(self._peek(), f'expected ":" after {field_path}, got {_quoted(self._peek())}')
        if not self._take("["):
            self._value(field, field_path, name)
            return
        if not is_repeated(field):
            raise self._error(name, f"{field_path} takes one value, not a list")
        while not self._take("]"):
            self._value(field, field_path, self._peek())
            if not self._take(",") and self._peek().text != "]":
                raise self._syntax_error(self._peek(), f'expected "," or "]" in the list of {field_path}, got {_quoted(self._peek())}')

    def _value(self, field: FieldDescriptor, path: str, at: _Token) -> None:
        path = self._count(path) if is_repeated(field) else path
        site, before = self._site(at), self._sites.get(path)
        if field.message_type is None:
            if before is not None and path not in self._from_before:
                self._overwritten.append((path, before, site))
            self._sites[path] = site
            self._scalar(field, path)
            return
        self._sites.setdefault(path, site)
        opened = self._next()
        if opened.kind != "symbol" or opened.text not in "{<":
            raise self._syntax_error(opened, f'{path} is a group of fields: expected "{{", got {_quoted(opened)}')
        self._message(field.message_type, path, closing="}" if opened.text == "{" else ">", opened=opened)

    def _count(self, path: str) -> str:
        """The path of the next element of a repeated field."""
        index = self._counts.get(path, 0)
        while index == self._counts.get(path, 0) and f"{path}[{index}]" in self._sites:
            index = self._counts[path] = index + 1
        self._counts[path] = index + 1
        return f"{path}[{index}]"

    def _forget_rivals(self, field: FieldDescriptor, path: str) -> None:
        """Setting one member of a oneof clears the others: their places must not be reported any more."""
        if field.containing_oneof is None:
            return
        for rival in field.containing_oneof.fields:
            rival_path = f"{path}.{rival.name}" if path else rival.name
            if rival is field or rival_path not in self._sites:
                continue
            for table in (self._sites, self._counts):
                for key in [key for key in table if key == rival_path or key.startswith(f"{rival_path}.")]:
                    del table[key]

    def _scalar(self, field: FieldDescriptor, path: str) -> None:
        token = self._next()
        if token is self._end or token.kind == "symbol":
            raise self._syntax_error(token, _unclosed_string(token) or f"expected a value for {path}, got {_quoted(token)}")
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            if token.kind != "string":
                raise self._error(token, f"{path} must be a string in quotes, got {token.text}")
            while self._peek().kind == "string":  # adjacent strings are one
                self._next()
            return
        problem = _enum_problem(field, token) if field.enum_type is not None else _number_problem(field, token)
        if problem:
            raise self._error(token, f"{path} {problem}")

    def _unknown_field(self, name: _Token, descriptor: Descriptor, path: str) -> InputError:
        bad_path = f"{path}.{name.text}" if path else name.text
        explanation = self._explain(bad_path)
        if explanation is not None:
            return self._error(name, f"{bad_path} {explanation}")
        where = f" in {path}" if path else ""
        hint = _field_hint(name.text, path, descriptor=descriptor, root=self._root)
        return self._error(name, f'unknown field "{name.text}"{where} ({hint})')


def nearest(name: str, allowed: Sequence[str], *, cutoff: float = 0.6) -> str | None:
    """The allowed name that `name` was most likely meant to be, or None when none is near; case is ignored."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[matches[0]] if matches else None


def _field_hint(name: str, path: str, *, descriptor: Descriptor, root: Descriptor) -> str:
    names = [field.name for field in descriptor.fields]
    if path and name in root.fields_by_name:
        return f'"{name}" stands outside of every other message: is a "}}" missing above?'
    very_near = nearest(name, names, cutoff=0.85)
    elsewhere = None if very_near else _home_of(name, path, root=root)
    near = very_near or (None if elsewhere else nearest(name, names))
    if near:
        return f'did you mean "{near}"?'
    if elsewhere:
        return f'"{name}" belongs in {elsewhere}'
    return "allowed: " + (", ".join(names) or "nothing")


def _home_of(name: str, path: str, *, root: Descriptor) -> str | None:
    """The message nearest to `path` that has a field of this name."""
    here = [re.sub(r"\[\d+\]$", "", part) for part in path.split(".")] if path else []

    def distance(home: tuple[str, ...]) -> tuple[int, int]:
        common = next((i for i, (a, b) in enumerate(zip(here, home, strict=False)) if a != b), min(len(here), len(home)))
        return len(here) + len(home) - 2 * common, len(home)

    homes = [home for home, descriptor in _messages(root, ()) if home and name in descriptor.fields_by_name]
    return ".".join(min(homes, key=distance)) if homes else None


def _messages(descriptor: Descriptor, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Descriptor]]:
    yield path, descriptor
    for field in descriptor.fields:
        if field.message_type is not None and len(path) < 12:  # the config messages are a tree, about 7 deep
            yield from _messages(field.message_type, (*path, field.name))


def _quoted(token: _Token) -> str:
    return token.text if token.text == "the end of the text" or token.kind == "string" else f'"{token.text}"'


def _unclosed_string(token: _Token) -> str | None:
    return "a string is not closed on its line" if token.kind == "symbol" and token.text in "\"'" else None


def _enum_problem(field: FieldDescriptor, token: _Token) -> str | None:
    names = [value.name for value in field.enum_type.values]
    if token.text in names or (token.text.isdigit() and int(token.text) in field.enum_type.values_by_number):
        return None
    near = nearest(token.text.strip("\"'"), names)
    hint = f'did you mean "{near}"? ' if near else ""
    return f"has no value {_quoted(token)} ({hint}allowed: {', '.join(names)})"


_INTEGER_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def _number_problem(field: FieldDescriptor, token: _Token) -> str | None:
    """What is wrong with the text of a number or bool, or None."""
    if field.cpp_type in _INTEGER_BITS:
        low, high = _INTEGER_BITS[field.cpp_type]
        expected, parse = (
            f"an integer from {low} to {high}",
            lambda text: low <= text_format.ParseInteger(text, is_signed=low < 0, is_long=True) <= high,
        )
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        expected, parse = "true or false", lambda text: text_format.ParseBool(text) is not None
    else:
        expected, parse = "a number", lambda text: text_format.ParseFloat(text) is not None
    try:
        is_good = token.kind == "atom" and parse(token.text)
    except ValueError:
        is_good = False
    return None if is_good else f"must be {expected}, got {token.text}"
