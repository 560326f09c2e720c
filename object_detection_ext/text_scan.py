"""A scan over protobuf text format along a message's descriptor: finds a person's mistakes, remembers where each field was set.

It accepts what `text_format` accepts from a config (comments, optional colons, `{}` and `<>`, `,` and `;`, lists in brackets) and refuses a
mistyped field, an unknown enum value, a number where a string belongs, an unclosed bracket; no extensions, no `Any`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

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


def scan_text(
    text: str,
    descriptor: Descriptor,
    *,
    source: str,
    known: Mapping[str, Site],
    explain: Callable[[str], str | None],
    single_line: bool,
) -> ParsedText:
    """Scans `text` as a message of `descriptor`; the arguments are those of `text_proto.merge_text`.

    Raises:
        InputError: The first mistake.
    """
    return _Scanner(text, descriptor, source=source, known=known, explain=explain, single_line=single_line).scan()


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

    def __init__(
        self,
        text: str,
        root: Descriptor,
        *,
        source: str,
        known: Mapping[str, Site],
        explain: Callable[[str], str | None],
        single_line: bool,
    ) -> None:
        self._root = root
        self._rest = list(_tokens(text))[::-1]
        content = text.rstrip()
        self._end = _Token("symbol", "the end of the text", content.count("\n") + 1, len(content) - content.rfind("\n"))
        self._source = source
        self._single_line = single_line
        self._explain = explain
        self._sites: Sites = dict(known)
        self._from_before = set(known)
        self._counts: dict[str, int] = {}
        self._overwritten: list[tuple[str, Site, Site]] = []

    def scan(self) -> ParsedText:
        self._message(self._root, "", closing=None, opened=None)
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
                expected = "closes nothing" if opened is None else f'stands where "{closing}" belongs'
                raise self._syntax_error(token, f'"{token.text}" {expected}')
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
        problem = _enum_problem(field.enum_type, token) if field.enum_type is not None else _number_problem(field, token)
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


def _enum_problem(enum: EnumDescriptor, token: _Token) -> str | None:
    names = [value.name for value in enum.values]
    if token.text in names or (token.text.isdigit() and int(token.text) in enum.values_by_number):
        return None
    near = nearest(token.text.strip("\"'"), names)
    hint = f'did you mean "{near}"? ' if near else ""
    return f"has no value {_quoted(token)} ({hint}allowed: {', '.join(names)})"


_INTEGER_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def _number_problem(field: FieldDescriptor, token: _Token) -> str | None:
    """What is wrong with the text of a number or bool, or None."""
    if field.cpp_type in _INTEGER_RANGES:
        expected = "an integer from {} to {}".format(*_INTEGER_RANGES[field.cpp_type])
    else:
        expected = "true or false" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else "a number"
    return None if token.kind == "atom" and _is_number(field, token.text) else f"must be {expected}, got {token.text}"


def _is_number(field: FieldDescriptor, text: str) -> bool:
    try:
        if field.cpp_type in _INTEGER_RANGES:
            low, high = _INTEGER_RANGES[field.cpp_type]
            return low <= text_format.ParseInteger(text, is_signed=low < 0, is_long=True) <= high
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            text_format.ParseBool(text)
        else:
            text_format.ParseFloat(text)
    except ValueError:
        return False
    return True
