"""Thumbnails of any image file, and boxes of any numbers over them."""

from __future__ import annotations

import base64
import io
import math
import struct
import zlib

import pytest
from PIL import Image

from object_detection_ext.errors import InputError
from object_detection_ext.report.pictures import Box, Thumbnail, picture, thumbnail

SHOWN = Thumbnail("data:image/jpeg;base64,AAAA", 400, 200)


def encode(image: Image.Image, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def decode(shown: Thumbnail) -> Image.Image:
    head, _, data = shown.uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def box(*edges: float, name: str = "cat", is_fault: bool = False) -> Box:
    return Box(*edges, name=name, color="#00f", is_fault=is_fault)


def rectangles(reader, kind: str = "box") -> list[tuple[float, ...]]:
    found = [attributes for tag, attributes in reader.tags if tag == "rect" and kind in str(attributes.get("class")).split()]
    return [tuple(float(attributes[name]) for name in ("x", "y", "width", "height")) for attributes in found]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA", "1", "I;16"])
def test_every_kind_of_image_becomes_a_small_jpeg(mode: str) -> None:
    kind = "JPEG" if mode in ("RGB", "L", "CMYK") else "PNG"
    shown = thumbnail(encode(Image.new(mode, (1000, 500)), kind), size=200)
    assert (shown.width, shown.height) == (1000, 500)
    assert decode(shown).size == (200, 100)
    assert decode(shown).mode == "RGB"


def test_sixteen_bits_are_seen_as_training_sees_them() -> None:
    assert decode(thumbnail(encode(Image.new("I;16", (8, 8), 128 * 256 + 77), "PNG"))).getpixel((4, 4)) == (128, 128, 128)


def test_a_small_image_is_not_enlarged() -> None:
    assert decode(thumbnail(encode(Image.new("RGB", (7, 3), "red"), "PNG"))).size == (7, 3)


def bomb() -> bytes:
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xff\xd8\xff",
        b"<svg/>",
        encode(Image.effect_noise((300, 300), 50))[:4000],
        bomb(),
        encode(Image.effect_noise((300, 300), 50), "PNG")[:4000],
    ],
    ids=["empty", "start only", "svg", "cut JPEG", "bomb", "cut PNG"],
)
def test_what_cannot_be_decoded_is_refused(encoded: bytes) -> None:
    with pytest.raises(InputError, match=r"cannot be decoded|too many"):
        thumbnail(encoded)


def test_boxes_lie_where_they_belong(read_strictly) -> None:
    reader = read_strictly(picture(SHOWN, [box(0.25, 0.5, 0.75, 1.0)], alt="a cat"))
    assert reader.tags[0] == ("svg", {"class": "picture", "viewbox": "0 0 320 160", "role": "img", "aria-label": "a cat"})
    assert rectangles(reader) == [(160, 40, 159, 80)]  # one unit short of the edge, where it can be seen
    assert "cat" in reader.text


def test_faults_are_red_and_the_outside_is_shown(read_strictly) -> None:
    reader = read_strictly(picture(SHOWN, [box(0.5, 0.5, 0.6, 1.2, is_fault=True), box(0, 0, 1, 1, name="dog")], alt=""))
    image = next(attributes for tag, attributes in reader.tags if tag == "image")
    assert float(image["width"]) == pytest.approx(320 / 1.24, abs=0.01)
    ((left, _, width, _),) = rectangles(reader, "fault")
    assert left + width == pytest.approx(320 / 1.24 * 1.2, abs=0.02)
    texts = [tag for tag, _ in reader.tags if tag == "text"]
    assert len(texts) == 1  # the fault's name alone


@pytest.mark.parametrize(
    ("edges", "count"),
    [
        ((0.8, 0.8, 0.2, 0.2), 1),
        ((0.5, 0.5, 0.5, 0.5), 1),
        ((math.nan, 0, 1, 1), 0),
        ((0, 0, math.inf, 1), 0),
        ((-1e30, -1e30, 1e30, 1e30), 1),
        ((5, 5, 6, 6), 1),
        ((-3, 0, -2, 1), 1),
    ],
    ids=["inverted", "empty", "nan", "infinite", "huge", "outside", "above"],
)
@pytest.mark.parametrize("size", [(400, 200), (1, 5000), (5000, 1), (1, 1)])
def test_any_box_is_drawn_inside_the_picture_or_not_at_all(
    edges: tuple[float, float, float, float], count: int, size: tuple[int, int], read_strictly
) -> None:
    for is_fault in (False, True):
        reader = read_strictly(picture(Thumbnail("data:,", *size), [box(*edges, is_fault=is_fault)], alt=""))
        width, height = map(float, str(reader.tags[0][1]["viewbox"]).split()[2:])
        assert width == 320
        assert height <= 1.6 * 320 + 0.01
        drawn = rectangles(reader)
        assert len(drawn) == count
        for x, y, w, h in drawn:
            assert -1 <= x <= x + w <= width + 1
            assert -1 <= y <= y + h <= height + 1


def test_a_tiny_fault_gets_a_ring(read_strictly) -> None:
    tags = [tag for tag, _ in read_strictly(picture(SHOWN, [box(0.5, 0.5, 0.501, 0.501, is_fault=True)], alt="")).tags]
    assert tags.count("circle") == 2
    assert "circle" not in [tag for tag, _ in read_strictly(picture(SHOWN, [box(0.5, 0.5, 0.501, 0.501)], alt="")).tags]


def test_in_a_crowd_the_largest_of_each_class_bears_its_name(read_strictly) -> None:
    boxes = [box(0, 0, 0.01 * index, 0.5, name="cat" if index % 2 else "dog") for index in range(1, 40)]
    reader = read_strictly(picture(SHOWN, boxes, alt=""))
    assert [tag for tag, _ in reader.tags].count("text") == 2
    assert len(rectangles(reader)) == 39


def test_names_are_escaped_and_cut(read_strictly) -> None:
    reader = read_strictly(picture(SHOWN, [box(0, 0.9, 1, 1, name="<script>" + "x" * 10_000)], alt="<b>"))
    assert "<script>" in reader.text
    assert len(reader.text) < 300
