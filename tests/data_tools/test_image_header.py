from __future__ import annotations

import io

import pytest
from PIL import Image

from data_tools.image_header import ImageHeader, read_header
from object_detection_ext.errors import InputError


def encode(format: str, *, size: tuple[int, int] = (300, 200), mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x010E] = "a description long enough to make a segment " * 20


@pytest.mark.parametrize(
    ("encoded", "format"),
    [
        pytest.param(encode("JPEG"), "jpeg", id="baseline"),
        pytest.param(encode("JPEG", progressive=True), "jpeg", id="progressive"),
        pytest.param(encode("JPEG", mode="L"), "jpeg", id="grayscale"),
        pytest.param(encode("JPEG", mode="CMYK"), "jpeg", id="CMYK"),
        pytest.param(encode("JPEG", exif=EXIF, comment=b"\xff\xd8\xff\xc0 not a frame"), "jpeg", id="segments before the frame"),
        pytest.param(encode("JPEG").replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1), "jpeg", id="fill bytes"),
        pytest.param(encode("JPEG") + b"\0" * 100, "jpeg", id="padded at the end"),
        pytest.param(encode("PNG"), "png", id="png"),
        pytest.param(encode("PNG", mode="P"), "png", id="png with palette"),
        pytest.param(encode("BMP"), "bmp", id="bmp"),
        pytest.param(encode("BMP", mode="P"), "bmp", id="bmp with palette"),
        pytest.param(encode("GIF", mode="P"), "gif", id="gif"),
        pytest.param(encode("WEBP"), "webp", id="lossy webp"),
        pytest.param(encode("WEBP", lossless=True), "webp", id="lossless webp"),
        pytest.param(encode("WEBP", mode="RGBA", exif=EXIF), "webp", id="extended webp"),
    ],
)
def test_header(encoded, format):
    assert read_header(encoded) == ImageHeader(format, 200, 300)


JPEG, PNG, BMP, GIF, WEBP = (encode(name) for name in ("JPEG", "PNG", "BMP", "GIF", "WEBP"))
FRAME = JPEG.index(b"\xff\xc0")


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"<html>not found</html>", r"not an image \(starts with b'<html>no'\)", id="an error page"),
        pytest.param(encode("TIFF"), "a TIFF file; a JPEG, PNG, BMP, GIF or WebP image is needed, convert it first", id="tiff"),
        pytest.param(JPEG[: len(JPEG) // 2], r"ends early, after \d+ bytes", id="half a jpeg"),
        pytest.param(JPEG[:100], "no frame header", id="start of a jpeg"),
        pytest.param(b"\xff\xd8\xff", "no frame header", id="signature alone"),
        pytest.param(JPEG[:FRAME] + b"\0\0" + JPEG[FRAME + 2 :], "no marker at byte", id="damaged segment"),
        pytest.param(JPEG[:FRAME] + b"\xff\xc3" + JPEG[FRAME + 2 :], "lossless, arithmetic-coded or 12-bit", id="lossless"),
        pytest.param(JPEG[: FRAME + 4] + b"\x0c" + JPEG[FRAME + 5 :], "12-bit", id="12 bits"),
        pytest.param(JPEG[: FRAME + 5] + b"\0\0" + JPEG[FRAME + 7 :], "says 300x0 pixels", id="no height"),
        pytest.param(JPEG[: FRAME + 9] + b"\2" + JPEG[FRAME + 10 :], "a JPEG of 2 components", id="two components"),
        pytest.param(b"\xff\xd8" + b"\xff" * 1_000_000, "no frame header", id="fill bytes to the end"),
        pytest.param(PNG[:20], "no header chunk", id="start of a png"),
        pytest.param(PNG[:1000], "ends early", id="half a png"),
        pytest.param(BMP[:22], "says 300x0 pixels", id="start of a bmp"),
        pytest.param(GIF[:8], "says 300x0 pixels", id="start of a gif"),
        pytest.param(WEBP[:20], "broken WebP: no size", id="start of a webp"),
        pytest.param(WEBP[:12] + b"ICCP" + WEBP[16:], "broken WebP: no size", id="webp that starts with another chunk"),
    ],
)
def test_broken_images(encoded, message):
    with pytest.raises(InputError, match=message):
        read_header(encoded)


def test_a_thumbnail_in_the_metadata_is_not_the_image():
    exif = Image.Exif()
    exif[0x9286] = encode("JPEG", size=(16, 16))  # user comment holding a whole JPEG, end marker included
    encoded = encode("JPEG", exif=exif)
    assert read_header(encoded) == ImageHeader("jpeg", 200, 300)
    with pytest.raises(InputError, match="ends early"):
        read_header(encoded[: len(encoded) // 2])


BOMBS = [
    pytest.param(PNG[:16] + (13_377).to_bytes(4, "big") + (13_379).to_bytes(4, "big") + PNG[24:], id="png"),
    pytest.param(JPEG[: FRAME + 5] + b"\xff\xff\xff\xff" + JPEG[FRAME + 9 :], id="jpeg"),
    pytest.param(BMP[:18] + b"\xff\xff\xff\x7f" * 2 + BMP[26:], id="bmp"),
    pytest.param(GIF[:6] + b"\xff\xff\xff\xff" + GIF[10:], id="gif"),
    pytest.param(encode("WEBP", exif=EXIF)[:24] + b"\xff" * 6 + encode("WEBP", exif=EXIF)[30:], id="webp"),
]


@pytest.mark.parametrize("encoded", BOMBS)
def test_decompression_bombs_are_refused(encoded):
    with pytest.raises(InputError, match=r"its header says \d+x\d+ pixels; at most 178,956,970 pixels can be decoded"):
        read_header(encoded)


def test_the_largest_image():
    """13,377 x 13,378 = 178,957,506 is refused, 13,377 x 13,377 = 178,944,129 is not."""
    sides = (13_377).to_bytes(4, "big")
    assert read_header(PNG[:16] + sides + sides + PNG[24:]).width == 13_377
    with pytest.raises(InputError, match="at most"):
        read_header(PNG[:16] + sides + (13_378).to_bytes(4, "big") + PNG[24:])


def test_a_bmp_with_its_top_row_first():
    assert read_header(BMP[:22] + (-200).to_bytes(4, "little", signed=True) + BMP[26:]) == ImageHeader("bmp", 200, 300)


def test_the_first_version_of_bmp():
    """BITMAPCOREHEADER: 12 bytes, width and height of 16 bits."""
    head = b"BM" + bytes(12) + (12).to_bytes(4, "little") + (300).to_bytes(2, "little") + (200).to_bytes(2, "little") + b"\1\0\x18\0"
    assert read_header(head) == ImageHeader("bmp", 200, 300)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(format, orientation):
    assert read_header(encode(format, exif=turned(orientation))) == ImageHeader(format.lower(), 200, 300, orientation)


def test_the_first_exif_block_of_a_jpeg_counts():
    first, second = encode("JPEG", exif=turned(6)), encode("JPEG", exif=turned(3))
    start = second.index(b"\xff\xe1")
    block = second[start : start + 2 + int.from_bytes(second[start + 2 : start + 4], "big")]
    frame = first.index(b"\xff\xdb")
    assert read_header(first[:frame] + block + first[frame:]).orientation == 6


def test_exif_behind_the_pixels_of_a_png():
    encoded, exif = encode("PNG"), turned(8).tobytes().removeprefix(b"Exif\0\0")
    chunk = len(exif).to_bytes(4, "big") + b"eXIf" + exif + bytes(4)
    assert read_header(encoded[:-12] + chunk + encoded[-12:]).orientation == 8
    assert read_header(encoded[:-12] + b"\0\0\0\0tEXteXIf" + encoded[-12:]).orientation == 1
