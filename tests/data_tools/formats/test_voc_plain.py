from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_tools.annotated_image import AnnotatedObject, PixelBox
from data_tools.formats.voc import read_xml
from data_tools.formats.voc_plain import VocAnnotation, read_plain

PLAIN = """<?xml version="1.0" encoding="utf-8"?>
<annotation verified="no">
\t<folder>VOC2007</folder>
\t<filename> ä.jpg </filename>
\t<source>
\t\t<database>The VOC2007 Database</database><image>flickr</image>
\t</source>
\t<size><width>64</width><height>48</height>
\t\t<depth>3</depth></size>
\t<segmented>0</segmented>
\t<object>
\t\t<name>cat</name>
\t\t<pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
\t\t<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>
\t</object>

\t<object><name> my dog </name><difficult>1</difficult><bndbox>
<xmin>0</xmin><ymin>0</ymin><xmax>64</xmax><ymax>48</ymax></bndbox></object>
</annotation>
"""
EXPECTED = VocAnnotation(
    "ä.jpg",
    (48, 64),
    (
        AnnotatedObject("cat", PixelBox(2.5, 1, 40, 30), "a.xml:11: object 1 (cat)", is_truncated=True, view="Left"),
        AnnotatedObject("my dog", PixelBox(0, 0, 48, 64), "a.xml:17: object 2 (my dog)", is_difficult=True),
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PLAIN, id="as it is"),
        pytest.param(PLAIN.replace("\n", "\r\n"), id="line breaks of Windows"),
        pytest.param("\ufeff" + PLAIN, id="byte order mark"),
        pytest.param(PLAIN.replace(' encoding="utf-8"', ""), id="no encoding"),
        pytest.param(PLAIN.replace('"', "'"), id="other quotes"),
    ],
)
def test_plain_files(text):
    assert read_plain(text.encode(), "a.xml") == EXPECTED
    assert read_xml(text.encode(), Path("a.xml")) == EXPECTED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("<name>cat", "<name>c&amp;t", id="entity"),
        pytest.param("<name>cat", "<name>c<!-- x -->at", id="comment"),
        pytest.param("<name>cat", "<name><![CDATA[cat]]>", id="CDATA"),
        pytest.param("<name>cat", "<name>cat]]>", id="bracket"),
        pytest.param("<name>cat", "<name id='1'>cat", id="attribute"),
        pytest.param("<name>cat", "<name>c\nat", id="line break in a text"),
        pytest.param("<name>cat", "<name> ", id="no name"),
        pytest.param("<xmax>30", "<xmax>x", id="an edge that is no number"),
        pytest.param("<xmax>30", "<xmax>", id="no edge"),
        pytest.param("<difficult>0", "<difficult>2", id="a flag that is none"),
        pytest.param("<bndbox>", "<part><name>head</name></part><bndbox>", id="a part"),
        pytest.param("<width>64", "<width>64.0", id="a width that is no integer"),
        pytest.param("<depth>3</depth>", "<depth><x/></depth>", id="a third level"),
        pytest.param("</annotation>", "</annotation><annotation/>", id="two roots"),
        pytest.param("</annotation>", "", id="cut off"),
        pytest.param("<annotation", "<!DOCTYPE annotation><annotation", id="document type"),
        pytest.param("utf-8", "latin1", id="another encoding"),
        pytest.param('"1.0"', "\"1.0'", id="quotes that do not match"),
        pytest.param("</folder>", "</Folder>", id="tags that do not match"),
        pytest.param("VOC2007", "VOC\x01", id="control character"),
    ],
)
def test_all_else_is_left_to_the_parser(old, new):
    assert old in PLAIN
    assert read_plain(PLAIN.replace(old, new, 1).encode(), "a.xml") is None


def test_no_utf8():
    assert read_plain(PLAIN.encode("latin1"), "a.xml") is None
    assert read_plain(PLAIN.encode("utf-16"), "a.xml") is None


_PIECES = st.sampled_from(
    [
        *"<>/&!?'\"= \n\tax0-_.",
        *("<name>", "</name>", "<object>", "</object>", "<size>", "<filename>b</filename>", "<!--", "]]>", "&lt;", "ä", "nan", "1e3"),
        *("<pose>x</pose>", "<truncated>1</truncated>", "<bndbox>", "<a><b>c</b></a>", "<a><b><c>d</c></b></a>", "<width>0</width>"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PLAIN)), st.integers(0, 12), _PIECES), max_size=3))
@example([(PLAIN.index("<object>"), 0, "<size><width>1</width><height>2</height></size>")])
@example([(PLAIN.index("<filename>"), 0, "<filename>b</filename>")])
def test_the_parser_agrees(changes):
    """Whatever is changed in a plain file: what the patterns take, an XML parser reads likewise."""
    text = PLAIN
    for place, removed, added in changes:
        text = text[:place] + added + text[place + removed :]
    found = read_plain(text.encode(), "a.xml")
    if found is not None:
        assert repr(found) == repr(read_xml(text.encode(), Path("a.xml")))  # NaN is not itself


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"<annotation>" + b" " * 1_000_000, id="spaces"),
        pytest.param(b"<annotation>" + b"<a>" * 300_000, id="open elements"),
        pytest.param(b"<annotation><a>" + b"<b></b>" * 150_000, id="children without an end"),
        pytest.param(b"<annotation><object><name>" + b"a" * 1_000_000, id="a long name"),
        pytest.param(b"<annotation><object>" + b" " * 1_000_000, id="an object of spaces"),
        pytest.param(b"<annotation><" + b"a" * 1_000_000, id="a long tag"),
    ],
)
def test_no_text_takes_long(content):
    assert read_plain(content, "a.xml") is None
