"""One self-contained HTML page: no script, no request to anywhere, and every text that comes from data escaped.

A text is either `Markup`, which is HTML already and comes from `element` or a function built on it, or plain text, which `element`
escapes. A text put together from both is plain again, so that forgetting to escape shows tags to the reader and never runs them.
"""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from object_detection_ext.report.style import STYLE

Tone = Literal["error", "warning", "info", "good"]

# Nothing is loaded and nothing runs, whatever a name in the data looks like; the browser enforces it (W3C Content Security Policy 3).
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_VOID = frozenset({"br", "hr", "img", "meta", "wbr"})  # HTML: no end tag
_SELF_CLOSED = frozenset({"circle", "image", "line", "path", "rect"})  # SVG: no content in what is drawn here
# Characters that HTML forbids, that a file in UTF-8 cannot hold, or that turn the direction of the text after them (Unicode UAX 9).
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
    + "]"
)
_NUMBER = re.compile(r"[+-]?\d[\d.,]*(?:e[+-]?\d+)?%?")


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


class Section(NamedTuple):
    """A part of the page with a heading and an entry in the table of contents."""

    anchor: str  # id on the page
    title: str
    content: Markup


def escape(text: str) -> str:
    """The text as HTML shows it, in an element or a quoted attribute; characters that cannot be shown become escapes such as `\\x1b`."""
    return html.escape(_UNSEEN.sub(_visible, text))


def shortened(text: str, most: int = 160) -> str:
    """At most `most` characters: of a longer text the middle is left out, since the end of a path tells as much as its start."""
    if len(text) <= most:
        return text
    head = most * 2 // 3
    return f"{text[:head]}…{text[len(text) - (most - head - 1) :]}"


def number(value: float) -> str:
    """A number as an attribute holds it: up to two decimals, never an exponent.

    Raises:
        ValueError: it is not finite; a browser would drop the whole shape.
    """
    if not math.isfinite(value):
        raise ValueError(f"an attribute must be a finite number, got {value}")
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """An element of HTML or SVG.

    Args:
        name: of the element.
        children: plain texts, which are escaped, and Markup.
        attributes: `class_` gives `class`, `aria_label` gives `aria-label`; None is left out.
    """
    tag = name + "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in _VOID:
        return Markup(f"<{tag}>")
    if name in _SELF_CLOSED and not children:
        return Markup(f"<{tag}/>")
    return Markup(f"<{tag}>{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Texts and Markup one after the other."""
    return Markup("".join([child if isinstance(child, Markup) else escape(child) for child in children]))


def badge(text: str, tone: Tone) -> Markup:
    """A word in a coloured frame."""
    return element("span", text, class_=f"badge {tone}")


def verdict(text: str, detail: str, *, tone: Tone) -> Markup:
    """The answer that the page gives, before everything else."""
    sign = {"error": "✕", "warning": "!", "info": "i", "good": "✓"}[tone]
    return element(
        "div",
        element("span", sign, class_="sign", aria_hidden="true"),
        element("p", element("strong", text), " ", detail),
        class_=f"verdict {tone}",
    )


def facts(entries: Sequence[tuple[str, str]]) -> Markup:
    """Key numbers, each under its name."""
    return element("dl", *[element("div", element("dt", name), element("dd", value)) for name, value in entries], class_="facts")


def table(header: Sequence[str], rows: Sequence[Sequence[str | float]], *, caption: str) -> Markup:
    """A table whose first column names the row; numbers, texts such as 8.5% among them, stand right; a wide table scrolls by itself."""
    head = element("tr", *[element("th", name, scope="col", class_=_side(rows, column)) for column, name in enumerate(header)])
    body = [element("tr", element("th", _cell_text(row[0]), scope="row"), *[_cell(cell) for cell in row[1:]]) for row in rows]
    content = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", content, class_="scroll", tabindex=0, role="region", aria_label=caption)


def figure(content: Markup, title: str, note: str = "") -> Markup:
    """A chart or picture with a title above and a note below."""
    below = element("p", note, class_="muted") if note else Markup("")
    return element("figure", element("figcaption", element("strong", title)), content, below)


def wide(content: Markup) -> Markup:
    """An item that takes two columns of a grid that has them."""
    return element("div", content, class_="wide")


def grid(*items: Markup, kind: Literal["charts", "pictures"] = "charts") -> Markup:
    """Items side by side, as many as fit."""
    return element("div", *items, class_=f"grid {kind}")


def details(summary: str, *content: str, is_open: bool = False) -> Markup:
    """Content that the reader can fold away."""
    return element("details", element("summary", summary), *content, open="" if is_open else None)


def code_block(text: str) -> Markup:
    """Lines to be copied."""
    return element("pre", element("code", text), tabindex=0)


def render_page(title: str, *, lead: str, sections: Sequence[Section], footer: str = "") -> str:
    """The whole page; `lead` stands between title and contents."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", shortened(title)),
        element("style", Markup(STYLE)),
    )
    contents = [element("li", element("a", section.title, href=f"#{section.anchor}")) for section in sections]
    parts = [element("section", element("h2", part.title), part.content, id=part.anchor, aria_label=part.title) for part in sections]
    body = element(
        "body",
        element("header", element("h1", title), lead),
        element("nav", element("ul", *contents), aria_label="Contents"),
        element("main", *parts),
        element("footer", element("p", footer)) if footer else Markup(""),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def write_page(path: Path, page: str) -> None:
    """Writes the page in UTF-8, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        temporary.write_text(page, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _attribute(key: str, value: str | float) -> str:
    text = escape(value) if isinstance(value, str) else number(value)
    return f' {key.rstrip("_").replace("_", "-")}="{text}"'


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _side(rows: Sequence[Sequence[str | float]], column: int) -> str | None:
    return "number" if column and rows and all(_is_number(row[column]) for row in rows) else None


def _cell(value: str | float) -> Markup:
    return element("td", _cell_text(value), class_="number" if _is_number(value) else None)


def _is_number(value: str | float) -> bool:
    return not isinstance(value, str) or bool(_NUMBER.fullmatch(value))


def _cell_text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
