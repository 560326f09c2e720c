from __future__ import annotations

import struct

import pytest

from data_tools.exif import read_orientation


def tiff(order: str, *entries: tuple[int, int, int, bytes], start: int = 8) -> bytes:
    """A TIFF header and one directory of entries (tag, type, count, value), as EXIF 2.32, section 4.5 has it; order "<" or ">"."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start) + bytes(start - 8)
    return head + struct.pack(order + "H", len(entries)) + b"".join(struct.pack(order + "HHI4s", *entry) for entry in entries) + bytes(4)


def short(order: str, value: int) -> bytes:
    return struct.pack(order + "HH", value, 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_both_byte_orders(order, value):
    description = (0x010E, 2, 3, b"ab\0\0")
    assert read_orientation(tiff(order, description, (0x0112, 3, 1, short(order, value)))) == value


def test_what_is_found():
    assert read_orientation(tiff(">", (0x0112, 3, 1, short(">", 6)), start=200)) == 6
    assert read_orientation(tiff("<", (0x0112, 4, 1, struct.pack("<I", 6)))) == 6
    assert read_orientation(tiff(">", (0x0112, 3, 1, short(">", 6)))[:-4]) == 6


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"II*\0", id="no directory"),
        pytest.param(b"II\0*" + bytes(100), id="no TIFF header"),
        pytest.param(tiff("<"), id="no entries"),
        pytest.param(tiff("<", (0x0112, 3, 1, short("<", 0))), id="0"),
        pytest.param(tiff("<", (0x0112, 3, 1, short("<", 9))), id="9"),
        pytest.param(tiff("<", (0x0112, 3, 1, short(">", 6))), id="the other byte order"),
        pytest.param(tiff("<", (0x0112, 2, 1, short("<", 6))), id="a text"),
        pytest.param(tiff("<", (0x0112, 3, 2, short("<", 6))), id="two values"),
        pytest.param(tiff("<", (0x0112, 3, 1, short("<", 6)))[:18], id="broken off"),
        pytest.param(b"II*\0\xff\xff\xff\xff", id="a directory beyond the end"),
        pytest.param(b"II*\0\x08\0\0\0\xff\xff" + bytes(12), id="65535 entries"),
    ],
)
def test_all_else_is_as_stored(block):
    assert read_orientation(block) == 1
