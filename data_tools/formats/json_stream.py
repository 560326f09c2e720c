"""A JSON file read piece by piece, so that memory holds one value of a list at a time; and strict: what JSON forbids is refused.

The pieces are parsed by Python's own parser in C, so that a list is read nearly as fast as by `json.loads`.
"""

from __future__ import annotations

import codecs
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn, Self

from object_detection_ext.errors import InputError

_BLOCK = 1 << 20  # bytes read at a time
_BATCH = 256  # objects parsed at a time
LARGEST_VALUE = 1 << 25  # characters of one value of a list, or of one member that is no list
_LONGEST_TOKEN = 16  # characters that may still change their meaning with those that follow: half of -Infinity, of \ud83d\ude00
_SPACES = " \t\n\r"
_SPACE = re.compile(rf"[{_SPACES}]*")
_TEXT_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity')
_ENDS = frozenset(" \t\n\r,]}")  # what may follow a value
_KINDS = {"[": "list", "{": "dict", '"': "str", "t": "bool", "f": "bool", "n": "NoneType"}


class _NotJsonError(Exception):
    """Something that Python's parser takes and JSON forbids."""


class _ConstantError(_NotJsonError):
    """NaN, Infinity or -Infinity; its argument is which."""


def _refuse_constant(name: str) -> NoReturn:
    raise _ConstantError(name)


def _refuse_doubled_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _NotJsonError(
            f"the key {next(key for key in keys if keys.count(key) > 1)!r} is set twice in one object, in the value that starts here"
        )
    return members


_DECODE = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_refuse_doubled_keys).raw_decode
_DECODE_PLAIN = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode

# A plain object: no objects or lists of lists in it but the one member that may be passed over, no backslash in its texts. Nothing is tried
# twice (`*+`), so that the time is linear whatever the file holds.
_PIECE = r'[^"{}\[\]]++|"[^"\\]*+"|\[[^"{}\[\]]*+\]'
_DIGITS = r"[-+.,eE0-9 \t\n\r]"
_NUMBERS = rf"\[(?:{_DIGITS}++|\[{_DIGITS}*+\])*+\]"


@functools.cache
def _plain_object(passed_over: str | None) -> re.Pattern[str]:
    key = f'"{re.escape(passed_over)}"' if passed_over else r"\Z."
    object_ = rf"\{{(?:(?!{key})(?:{_PIECE}))*+(?:{key}[{_SPACES}]*+:[{_SPACES}]*+({_NUMBERS})(?:{_PIECE})*+)?+\}}"
    return re.compile(rf"[{_SPACES}]*+({object_})[{_SPACES}]*+,")


def load_json(path: Path, *, largest: int) -> Any:
    """The content of a JSON file that fits memory.

    Raises:
        InputError: names file and line: not JSON in UTF-8, NaN or Infinity, a key twice in one object, nested too deeply, or a file of more
            than `largest` bytes.
    """
    size = path.stat().st_size
    if size > largest:
        raise InputError(f"{path}: has {size:,} bytes, more than the {largest:,} that are read")
    with JsonStream(path, largest_value=largest, block=size + 1) as stream:
        value = stream.value()
        stream.end()
    return value


def decode_json(data: bytes) -> Any:
    """One JSON value; raises `InputError` without a place."""
    try:
        text = data.decode()
        value, end = _DECODE(text, 0)
    except (ValueError, RecursionError, _NotJsonError) as error:
        raise InputError(f"not valid JSON: {error}") from None
    if end != len(text):
        raise InputError("not valid JSON: Extra data")
    return value


class JsonStream:
    """Reads a JSON file from its start to its end; a context manager.

    `members` yields the keys of the object at the top; the value of each is then read with `value`, or with `items` if its `kind` is
    "list", before the next key is asked for.

    Raises:
        InputError: as `load_json`; a value of a list, or another member, of more than `largest_value` characters.
    """

    def __init__(self, path: Path, *, largest_value: int = LARGEST_VALUE, block: int = _BLOCK) -> None:
        self._path, self._largest, self._block = path, largest_value, block
        self._file: IO[bytes] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._position, self._is_last, self._is_ascii = "", 0, False, True
        self._lines = 0  # line ends before `_text`
        self._mark, self._mark_bytes = 0, 0  # a place in `_text` up to which bytes were counted, and the byte there
        self._start = 0  # of the last value, in `_text`

    def __enter__(self) -> Self:
        self._file = self._path.open("rb")
        if self._file.read(3) == codecs.BOM_UTF8:
            self._mark_bytes = 3
        self._file.seek(0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def members(self) -> Iterator[str]:
        """The keys of the object at the top."""
        if self.kind() != "dict":
            raise InputError(f"{self._path}: must be an object at the top, got a JSON {self.kind()}")
        self._position += 1
        if self._next_character() == "}":
            self._position += 1
        else:
            yield from self._members_of_open_object()
        self.end()

    def _members_of_open_object(self) -> Iterator[str]:
        keys: set[str] = set()
        while True:
            if self._next_character() != '"':
                self._fail("Expecting property name enclosed in double quotes")
            key = self.value()
            if key in keys:
                self._fail(f"the key {key!r} is set twice in one object")
            keys.add(key)
            if self._next_character() != ":":
                self._fail("Expecting ':' delimiter")
            self._position += 1
            yield key
            if self._ends("}"):
                return

    def kind(self) -> str:
        """The type of the value that comes next, as Python names it: "list", "dict", "str", "bool", "NoneType", or "number"."""
        character = self._next_character()
        if not character:
            self._fail("Expecting value")
        if character not in _KINDS and character not in "-0123456789NI":  # NaN and Infinity have words of their own
            self._fail("Expecting value")
        return _KINDS.get(character, "number")

    def items(self) -> Iterator[Any]:
        """The values of the list that comes next."""
        for values, spans in self._batches(_plain_object(None)):
            for value, (self._start, self._position) in zip(values, spans, strict=True):
                yield value

    def batches(self, *, passed_over: str | None = None) -> Iterator[tuple[list[Any], list[tuple[int, int]]]]:
        """The values of the list that comes next, as many at a time as are at hand, and the place of each as `place` says it.

        Args:
            passed_over: a key; of an object whose member of this name is a list of numbers, or of such lists, that member may come as null.
        """
        for values, spans in self._batches(_plain_object(passed_over)):
            if self._is_ascii:
                offset = self._mark_bytes - self._mark
                yield values, [(start + offset, end - start) for start, end in spans]
            else:
                places = list[tuple[int, int]]()
                for self._start, self._position in spans:
                    places.append(self.place())
                yield values, places

    def _batches(self, pattern: re.Pattern[str]) -> Iterator[tuple[list[Any], list[tuple[int, int]]]]:
        """Values and where they stand in `_text`; who takes them may move `_start` and `_position` from one to the next."""
        if self._next_character() != "[":
            self._fail("Expecting a list")
        self._position += 1
        if self._next_character() == "]":
            self._position += 1
            return
        while True:
            spans, values, after = self._batch(pattern)
            if values:
                yield values, spans
                self._position = after
            for _ in range(1 if values or not spans else len(spans)):  # one by one: the first that is wrong is named
                value = self.value()
                yield [value], [(self._start, self._position)]
                if self._ends("]"):
                    return

    def _batch(self, pattern: re.Pattern[str]) -> tuple[list[tuple[int, int]], list[Any], int]:
        """Plain objects that stand whole in `_text`, with a comma behind each: where they stand, what they are, where the next is.

        Parsed in one go, they take half the time. There are no values where something is wrong with one of them; a key that comes twice is
        found by counting, since no text in them can look like a key.
        """
        text, position = self._text, self._position
        spans, pieces = list[tuple[int, int]](), list[str]()
        while len(spans) < _BATCH and (match := pattern.match(text, position)):
            start, end = match.span(1)
            cut_start, cut_end = match.span(2)
            pieces.append(text[start:end] if cut_start < 0 else f"{text[start:cut_start]}null{text[cut_end:end]}")
            spans.append((start, end))
            position = match.end()
        joined = f"[{','.join(pieces)}]"
        try:
            values, end = _DECODE_PLAIN(joined, 0)
        except (ValueError, RecursionError, _NotJsonError):
            return spans, [], position
        is_plain = end == len(joined) and joined.count('":') == sum(map(len, values))
        return spans, values if is_plain else [], position

    def value(self) -> Any:
        """The value that comes next, whole."""
        self._next_character()
        while True:
            try:
                value, end = _DECODE(self._text, self._position)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated string") or error.pos > len(self._text) - _LONGEST_TOKEN
                if self._is_last or not is_cut:
                    self._fail(error.msg, position=error.pos)
            except _ConstantError as error:
                name = str(error)
                place = next(match.start() for match in _TEXT_OR_CONSTANT.finditer(self._text, self._position) if match[0] == name)
                self._fail(f"{name} is not a number that JSON allows", position=place)
            except RecursionError:
                self._fail("nested too deeply")
            except (ValueError, _NotJsonError) as error:  # a number of thousands of digits
                self._fail(str(error))
            else:
                if self._is_whole(end):
                    self._start, self._position = self._position, end
                    return value
            if len(self._text) - self._position > self._largest:
                self._fail(f"a value of more than {self._largest:,} characters")
            self._read_on()

    def place(self) -> tuple[int, int]:
        """First byte of the last value in the file, and number of bytes."""
        if self._is_ascii:
            return self._mark_bytes - self._mark + self._start, self._position - self._start
        start = self._count_bytes(self._start)
        return start, self._count_bytes(self._position) - start

    def line(self) -> int:
        """The line in which the last value starts, from 1."""
        return self._lines + self._text.count("\n", 0, self._start) + 1

    def end(self) -> None:
        """Checks that nothing follows."""
        if self._next_character():
            self._fail("Extra data")

    def _is_whole(self, end: int) -> bool:
        """Whether the value from `_position` to `end` cannot go on in the next block, as the numbers 12 in 123 and 1 in 1.5."""
        text = self._text
        return text[self._position] in '[{"' or self._is_last or text[end : end + 1] in _ENDS or end < len(text) - _LONGEST_TOKEN

    def _ends(self, bracket: str) -> bool:
        """Goes past a comma, or the bracket that ends the list or object."""
        character = self._next_character()
        if character != bracket and character != ",":
            self._fail("Expecting ',' delimiter")
        self._position += 1
        return character == bracket

    def _next_character(self) -> str:
        """The next character that is no space, at `_position` then; empty at the end of the file."""
        while True:
            character = self._text[self._position : self._position + 1]
            if character and character not in _SPACES:
                return character
            match = _SPACE.match(self._text, self._position)
            self._position = match.end() if match else self._position
            if self._position < len(self._text):
                return self._text[self._position]
            if self._is_last:
                return ""
            self._read_on()

    def _read_on(self) -> None:
        """Drops the text before `_position` and adds what comes next: as much again as there is, so that long values are quick."""
        assert self._file is not None
        self._count_bytes(self._position)
        self._lines += self._text.count("\n", 0, self._position)
        rest = self._text[self._position :]
        block = self._file.read(max(self._block, len(rest)))
        self._is_last = not block
        try:
            self._text = rest + self._decoder.decode(block, final=self._is_last)
        except UnicodeDecodeError as error:
            where = self._file.tell() - len(error.object) + error.start
            raise InputError(f"{self._path}: not valid JSON: not UTF-8 at byte {where:,}: {error.reason}") from None
        self._is_ascii = self._text.isascii()
        self._start = self._position = self._mark = 0

    def _count_bytes(self, position: int) -> int:
        """The place in the file of a place in `_text`; places are asked for in order."""
        if self._is_ascii:
            self._mark_bytes += position - self._mark
        else:
            self._mark_bytes += len(self._text[self._mark : position].encode())
        self._mark = position
        return self._mark_bytes

    def _fail(self, message: str, *, position: int | None = None) -> NoReturn:
        raise InputError(self._message(message, position=position))

    def _message(self, message: str, *, position: int | None = None) -> str:
        line = self._lines + self._text.count("\n", 0, self._position if position is None else position) + 1
        return f"{self._path}:{line}: not valid JSON: {message}"
