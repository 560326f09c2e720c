from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from data_tools.image_header import ImageHeader
from data_tools.image_structure import check_jpeg, check_png
from object_detection_ext.errors import InputError

NOISE = Image.effect_noise((96, 64), 80).convert("RGB")


def encode(format: str, *, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    NOISE.convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


JPEG = encode("JPEG")
RESTARTS = encode("JPEG", restart_marker_blocks=5)  # 6 x 4 blocks of 16x16 pixels: four restarts
DATA = JPEG.index(b"\xff\xda") + 14  # behind the header of the scan
THIRD = RESTARTS.index(b"\xff\xd2")


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(JPEG, id="baseline"),
        pytest.param(RESTARTS, id="restart markers"),
        pytest.param(encode("JPEG", restart_marker_blocks=2), id="restart numbers that wrap"),
        pytest.param(encode("JPEG", progressive=True), id="progressive"),
        pytest.param(encode("JPEG", mode="L"), id="grayscale"),
        pytest.param(encode("JPEG", mode="CMYK"), id="CMYK"),
        pytest.param(JPEG + b"\xff\xc4\xff\xff\0\0", id="rubbish behind the end"),
        pytest.param(JPEG[:-2] + b"\xff\xff\xff\xd9", id="fill bytes before the end"),
    ],
)
def test_whole_jpegs(encoded):
    check_jpeg(encoded)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        # TensorFlow 2.20 refuses all but the restarts; Pillow 13 takes these and the first two.
        pytest.param(JPEG[:-40] + b"\xff\xe0\xff\xff" + JPEG[-36:], "stray marker E0", id="a segment that leads out of the file"),
        pytest.param(JPEG[:-40] + b"\xff\xfe\xff\xff" + JPEG[-36:], "stray marker FE", id="a comment that leads out of the file"),
        pytest.param(JPEG[:-40] + b"\xff\xc4" + JPEG[-38:], r"stray marker C4 in the image data at byte \d+", id="a table"),
        pytest.param(JPEG[:-40] + b"\xff\xd8" + JPEG[-38:], "stray marker D8", id="a start of image"),
        pytest.param(JPEG[:-40] + b"\xff\xdb" + JPEG[-38:], "stray marker DB", id="a quantisation table"),
        pytest.param(JPEG[:-40] + b"\xff\xd0" + JPEG[-38:], "stray marker D0", id="a restart where none is"),
        pytest.param(RESTARTS[:THIRD] + b"\xff\xd5" + RESTARTS[THIRD + 2 :], "stray marker D5", id="a restart out of turn"),
        pytest.param(JPEG[:-2], "the image data do not end", id="no end marker"),
        pytest.param(JPEG[: DATA - 14], "no image data", id="no scan"),
    ],
)
def test_damaged_jpegs(encoded, message):
    with pytest.raises(InputError, match=f"broken JPEG: {message}"):
        check_jpeg(encoded)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*chunks: bytes, kind: tuple[int, ...] = (8, 0, 0, 0, 0), size: tuple[int, int] = (4, 3)) -> bytes:
    """A PNG of (width, height); `kind` is depth, colour type, compression, filter and interlacing."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II5B", *size, *kind)) + b"".join(chunks)


def check(encoded: bytes) -> None:
    width, height = struct.unpack_from(">II", encoded, 16)
    check_png(encoded, ImageHeader("png", height, width))


ROWS = bytes(3 * (1 + 4))  # three rows of a filter number and four pixels
END = chunk(b"IEND", b"")
WHOLE = chunk(b"IDAT", zlib.compress(ROWS))
HALVES = [chunk(b"IDAT", zlib.compress(ROWS)[:7]), chunk(b"IDAT", zlib.compress(ROWS)[7:])]


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(png(WHOLE, END), id="grayscale"),
        pytest.param(png(*HALVES, END), id="two pieces"),
        pytest.param(png(chunk(b"tEXt", b"a\0b"), WHOLE, chunk(b"prVt", b""), END), id="chunks that may be skipped"),
        pytest.param(png(WHOLE, END) + b"rubbish", id="rubbish behind the end"),
        pytest.param(png(chunk(b"IDAT", zlib.compress(ROWS + b"more")), END), id="too many data"),
        pytest.param(png(chunk(b"PLTE", bytes(6)), WHOLE, END, kind=(8, 3, 0, 0, 0)), id="palette"),
        # By hand: 1 bit a pixel, 9 pixels in a row, so 1 + 2 bytes a row.
        pytest.param(png(chunk(b"IDAT", zlib.compress(bytes(6))), END, kind=(1, 0, 0, 0, 0), size=(9, 2)), id="bits"),
        # By hand, 16-bit RGBA of 2x2 pixels: passes of 1x1, 1x1 (the sixth) and 2x1 (the seventh) pixels of 8 bytes.
        pytest.param(png(chunk(b"IDAT", zlib.compress(bytes(9 + 9 + 17))), END, kind=(16, 6, 0, 0, 1), size=(2, 2)), id="interlaced"),
        pytest.param(encode("PNG"), id="RGB"),
        pytest.param(encode("PNG", mode="RGBA"), id="RGBA"),
        pytest.param(encode("PNG", mode="LA"), id="LA"),
        pytest.param(encode("PNG", mode="1"), id="bits, by Pillow"),
    ],
)
def test_whole_pngs(encoded):
    check(encoded)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        # TensorFlow 2.20 refuses all of them, Pillow 13 takes most.
        pytest.param(
            png(chunk(b"IDAT", zlib.compress(ROWS[:-1])), END), "the image data end early, after 14 of 15 bytes", id="a pixel short"
        ),
        pytest.param(png(WHOLE), r"its chunks are IHDR IDAT; it needs", id="no end"),
        pytest.param(png(WHOLE, END)[:-4], r"the file ends within a chunk, after \d+ bytes", id="half an end"),
        pytest.param(png(chunk(b"ABCD", b""), WHOLE, END), "its chunks are IHDR ABCD IDAT IEND", id="unknown but needed"),
        pytest.param(png(WHOLE, END, kind=(8, 3, 0, 0, 0)), "it needs IHDR, PLTE", id="no palette"),
        pytest.param(png(WHOLE, chunk(b"PLTE", bytes(6)), END, kind=(8, 3, 0, 0, 0)), "in this order", id="palette behind the data"),
        pytest.param(png(chunk(b"PLTE", bytes(7)), WHOLE, END, kind=(8, 3, 0, 0, 0)), "a palette of 7 bytes", id="two colours and a third"),
        pytest.param(png(WHOLE[:-1] + b"x", END), r"the checksum of chunk b'IDAT' at byte 33 does not fit", id="checksum"),
        pytest.param(png(WHOLE[:20]), r"the file ends within chunk b'IDAT'", id="broken off"),
        pytest.param(png(chunk(b"IDAT", zlib.compress(ROWS)[:-2] + b"xx"), END), "incorrect data check", id="adler"),
        pytest.param(png(chunk(b"IDAT", b"not zlib"), END), "incorrect header check", id="not compressed"),
        pytest.param(png(WHOLE, END, kind=(8, 0, 1, 0, 0)), "asks for what does not exist: 08 00 01 00 00", id="compression"),
        pytest.param(png(WHOLE, END, kind=(8, 0, 0, 2, 0)), "does not exist", id="filter"),
        pytest.param(png(WHOLE, END, kind=(8, 0, 0, 0, 2)), "does not exist", id="interlacing"),
        pytest.param(png(WHOLE, END, kind=(8, 5, 0, 0, 0)), "does not exist", id="colour type"),
        pytest.param(png(HALVES[0], chunk(b"PLTE", bytes(6)), HALVES[1], END), "in this order", id="data in two places"),
    ],
)
def test_damaged_pngs(encoded, message):
    with pytest.raises(InputError, match=f"broken PNG: .*{message}"):
        check(encoded)


def test_a_zlib_bomb_is_not_blown_up():
    """100 MB of zeros in 100 kB of data, for 15 bytes of image."""
    check(png(chunk(b"IDAT", zlib.compress(bytes(100_000_000))), END))
