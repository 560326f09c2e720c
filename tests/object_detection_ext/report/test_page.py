"""Whatever a name is made of, the page shows it and stays the page that it is."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_ext.report.page import (
    Markup,
    Section,
    badge,
    code_block,
    details,
    element,
    escape,
    facts,
    figure,
    grid,
    joined,
    number,
    render_page,
    shortened,
    table,
    verdict,
    write_page,
)
from object_detection_ext.report.style import DARK, LIGHT

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onload='alert(1)",
    "</style></title><svg/onload=alert(1)>",
    "&lt;&amp;&#0;",
    "a\x00b\x1b[31m\x7f\x9b",
    "\u202egpj.exe",
    "lone \ud800 surrogate",
    "\ufffe\U0001fffe",
    "]]>--><!--",
    "x" * 10_000,
]


def page_with(text: str) -> str:
    content = joined(
        text,
        badge(text, "error"),
        verdict(text, text, tone="good"),
        facts([(text, text)]),
        table([text, text], [[text, text], [text, 1]], caption=text),
        grid(figure(element("p", text, title=text), text, text)),
        details(text, text),
        code_block(text),
    )
    return render_page(text, lead=text, sections=[Section("part", text, content)], footer=text)


@pytest.mark.parametrize("text", HOSTILE, ids=[repr(text[:12]) for text in HOSTILE])
def test_hostile_text_is_shown_and_changes_nothing(text: str, read_strictly) -> None:
    page = page_with(text)
    page.encode("utf-8")
    reader = read_strictly(page)
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in read_strictly(page_with("plain")).tags]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", page)
    assert (text[:4] if text[:4].isprintable() else "\\") in reader.text


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_is_read_back_as_it_was(text: str) -> None:
    import html

    shown = html.unescape(escape(text))
    expected = re.sub("\r\n?", "\n", text)
    if all(character.isprintable() or character in "\n\t" for character in text):
        assert shown == expected


def test_characters_that_cannot_be_shown_become_escapes() -> None:
    assert escape("a\x1b\u202e\ud800\U0001ffff") == "a\\x1b\\u202e\\ud800\\U0001ffff"


def test_markup_joined_with_text_is_text_again() -> None:
    assert element("p", badge("<", "info") + "<b>").count("<") == 2  # of the paragraph alone
    assert element("p", Markup("<b>x</b>")) == "<p><b>x</b></p>"


def test_attributes() -> None:
    assert element("a", "x", class_="k", aria_label='"', x=0.5, href=None) == '<a class="k" aria-label="&quot;" x="0.5">x</a>'
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert element("rect", x=1) == '<rect x="1"/>'
    assert element("rect", element("title", "t")) == "<rect><title>t</title></rect>"


@pytest.mark.parametrize(
    ("value", "text"), [(1, "1"), (0.005, "0.01"), (-0.001, "0"), (1e7, "10000000"), (100, "100"), (1.5, "1.5"), (-2.25, "-2.25")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_never_reach_an_attribute(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        element("rect", x=value)


def test_shortened_keeps_both_ends() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcdefghij", 6) == "abcd…j"
    assert len(shortened("x" * 10_000)) == 160


def test_the_page_asks_for_nothing_outside_of_itself(read_strictly) -> None:
    page = page_with("plain")
    reader = read_strictly(page)
    assert page.startswith("<!DOCTYPE html>\n<html lang=")
    assert {tag for tag, _ in reader.tags} & {"script", "link", "iframe", "object", "embed", "form", "img"} == set()
    assert [attributes["href"] for _, attributes in reader.tags if "href" in attributes] == ["#part"]
    assert "part" in reader.ids
    assert not re.search(r"https?:|@import|url\(", page)
    policy = next(attributes for tag, attributes in reader.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'; img-src data:;")


def test_tables_have_headers_and_numbers_stand_right(read_strictly) -> None:
    reader = read_strictly(table(["class", "objects", "note"], [["cat", 12_345, "x"], ["dog", 2.0, "y"]], caption="By class"))
    cells = [(tag, attributes.get("scope"), attributes.get("class")) for tag, attributes in reader.tags if tag in ("td", "th")]
    assert cells == [
        *[("th", "col", None), ("th", "col", "number"), ("th", "col", None)],
        *[("th", "row", None), ("td", None, "number"), ("td", None, None)] * 2,
    ]
    assert "12,345" in reader.text


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "page.html"
    write_page(path, "old é")
    assert path.read_bytes() == "old é".encode()

    def broken(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_page(path, "new")
    assert os.listdir(path.parent) == ["page.html"]
    assert path.read_text(encoding="utf-8") == "old é"


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast(colors: dict[str, str]) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in ("ground", "card"):
        for name in ("text", "muted", "link", "error", "warning", "info", "good"):
            assert contrast(colors[name], colors[ground]) >= 4.5, (name, ground)
        for name in ("series-0", "series-1", "series-2", "series-3"):
            assert contrast(colors[name], colors[ground]) >= 3, (name, ground)
    assert LIGHT.keys() == DARK.keys()
