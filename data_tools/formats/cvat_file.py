"""A "CVAT for images" XML file, image by image: listed once by their places in the file, and parsed when asked for.

Memory holds one image at a time, whatever the length of the file. Expat is fed with the pieces; document types are refused before any
entity could be declared, and nothing is ever fetched.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn
from xml.parsers import expat

from object_detection_ext.errors import InputError

_FIRST_BLOCK, _BLOCK = 1 << 12, 1 << 16  # bytes fed at a time; most images are short
_ENCODINGS = ("utf-8", "utf8", "us-ascii", "ascii")
_LARGEST_ELEMENTS = 1 << 20  # within one image


class CvatEntry(NamedTuple):
    """One <image>, by its place in the file."""

    start: int  # bytes
    line: int  # from 1
    name: str
    subset: str


class Element(NamedTuple):
    """An element of an image, without its text."""

    tag: str
    attributes: Mapping[str, str]
    line: int
    children: list[Element]


class CvatContent(NamedTuple):
    """The images of a file, and its labels in their order, without those of skeletons' points and of tags."""

    entries: list[CvatEntry]
    labels: tuple[str, ...]


class _DoneError(Exception):
    """The end of the image was reached."""


def read_cvat_file(path: Path) -> CvatContent:
    """Lists a file.

    Raises:
        InputError: names file and line: not XML in UTF-8, a document type, not a CVAT file or one of a video, an image twice.
    """
    scanner = _Scanner(path)
    with path.open("rb") as file:
        head = file.read(4)
        if b"\0" in head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(f"{path}:1: the file must be in UTF-8, this is UTF-16 or no text")
        file.seek(0)
        for block in _blocks(file):
            _parse(scanner.parser, block, path)
        _parse(scanner.parser, b"", path, is_final=True)
    return CvatContent(scanner.entries, scanner.label_names())


def read_image_element(path: Path, entry: CvatEntry) -> Element:
    """The <image> of an entry.

    Raises:
        InputError: the file has changed since it was listed, or the image has more elements than are read.
    """
    builder = _Builder(path, entry)
    try:
        with path.open("rb") as file:
            file.seek(entry.start)
            for block in _blocks(file):
                _parse(builder.parser, block, path)
    except _DoneError:
        return builder.root[0]
    raise InputError(f"{path}:{entry.line}: the file has changed since it was listed")


class _Scanner:
    """Notes where images start, and what labels <meta> has."""

    def __init__(self, path: Path) -> None:
        self.entries: list[CvatEntry] = []
        self._path, self._stack = path, list[str]()
        self._labels: list[dict[str, str]] = []
        self._lines: dict[tuple[str, str], int] = {}
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = self._declare
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def label_names(self) -> tuple[str, ...]:
        """The names of the labels that objects can have."""
        objects = [label for label in self._labels if not label.get("parent") and label.get("type") != "tag"]
        return tuple(dict.fromkeys(label["name"].strip() for label in objects if label.get("name", "").strip()))

    def _declare(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            self._fail(f"the encoding must be UTF-8, got {encoding}")

    def _refuse_doctype(self, *_: object) -> None:
        self._fail("a document type (DTD) is not allowed in an annotation file")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        depth = len(self._stack)
        self._stack.append(tag)
        if depth == 0 and tag != "annotations":
            self._fail(f"the root element must be <annotations>, got <{tag}>")
        if depth == 1 and tag == "image":
            self._add_image(attributes)
        elif depth == 1 and tag == "track":
            self._fail("a <track> is an annotation of a video; export the task as 'CVAT for images 1.1'")
        elif depth > 1 and self._stack[1] == "meta":
            if tag == "label":
                self._labels.append({})
            elif self._stack[-2] == "label" and tag in ("name", "type", "parent"):
                self.parser.CharacterDataHandler = self._add_text

    def _end(self, _tag: str) -> None:
        self._stack.pop()
        self.parser.CharacterDataHandler = None

    def _add_text(self, text: str) -> None:
        label, key = self._labels[-1], self._stack[-1]
        label[key] = label.get(key, "") + text

    def _add_image(self, attributes: Mapping[str, str]) -> None:
        line, name, subset = self.parser.CurrentLineNumber, attributes.get("name", ""), attributes.get("subset", "")
        if not name:
            self._fail("an <image> has no name")
        first = self._lines.setdefault((subset, name), line)
        if len(self._lines) == len(self.entries):
            self._fail(f"the image {name!r} stands here twice, first in line {first}")
        self.entries.append(CvatEntry(self.parser.CurrentByteIndex, line, name, subset))

    def _fail(self, message: str) -> NoReturn:
        raise InputError(f"{self._path}:{self.parser.CurrentLineNumber}: {message}")


class _Builder:
    """Builds the elements of one image."""

    def __init__(self, path: Path, entry: CvatEntry) -> None:
        self.root: list[Element] = []
        self._path, self._entry = path, entry
        self._stack: list[list[Element]] = [self.root]
        self._num_elements = 0
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        line = self._entry.line + self.parser.CurrentLineNumber - 1
        self._num_elements += 1
        if self._num_elements > _LARGEST_ELEMENTS:
            raise InputError(f"{self._path}:{line}: the image {self._entry.name!r} has more than {_LARGEST_ELEMENTS:,} elements")
        if not self.root and (tag, attributes.get("name")) != ("image", self._entry.name):
            raise InputError(f"{self._path}:{line}: the file has changed since it was listed")
        element = Element(tag, attributes, line, [])
        self._stack[-1].append(element)
        self._stack.append(element.children)

    def _end(self, _tag: str) -> None:
        self._stack.pop()
        if len(self._stack) == 1:
            raise _DoneError


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    size = _FIRST_BLOCK
    while block := file.read(size):
        yield block
        size = min(2 * size, _BLOCK)


def _parse(parser: Any, block: bytes, path: Path, *, is_final: bool = False) -> None:
    try:
        parser.Parse(block, is_final)
    except expat.ExpatError as error:
        raise InputError(f"{path}:{error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}") from None
