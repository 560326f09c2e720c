"""A strict reader of HTML, for what a browser would forgive."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

VOID = ("br", "hr", "img", "meta", "wbr")
GEOMETRY = ("x", "y", "width", "height", "cx", "cy", "r", "opacity", "fill-opacity", "d", "transform", "viewBox", "viewbox")


class StrictReader(HTMLParser):
    """Fails on a tag that is not closed or closed in the wrong place, an attribute or id given twice, a number that is none."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        assert not [name for name in names if name.startswith("on")], (tag, names)
        attributes = dict(attrs)
        if "id" in attributes:
            assert attributes["id"] not in self.ids
            self.ids.add(str(attributes["id"]))
        for name in GEOMETRY:
            if tag not in ("meta", "input") and name in attributes:
                numbers = re.findall(r"[a-z]{3,}|-?[\d.]+(?:e[+-]?\d+)?", str(attributes[name]), re.IGNORECASE)
                words = [word for word in numbers if word not in ("translate", "rotate")]
                assert all(math.isfinite(float(word)) for word in words), (tag, attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> is a start tag in HTML"
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert "<" not in data or "style" not in self.open
        self.text += data


@pytest.fixture
def read_strictly() -> Callable[[str], StrictReader]:
    """Parses a page or a piece of one; all tags must be closed in order."""

    def read(text: str) -> StrictReader:
        reader = StrictReader()
        reader.feed(text)
        reader.close()
        assert reader.open == []
        return reader

    return read
