from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from data_tools.image_header import ImageHeader, read_header
from data_tools.pixels import check_pixels, encode_mask, make_storable
from object_detection_ext.errors import InputError

PICTURE = Image.effect_noise((40, 24), 60).convert("RGB")
PICTURE.paste((255, 0, 0), (0, 0, 20, 12))


def encode(format: str, image: Image.Image = PICTURE, *, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def decode(encoded: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert(mode))


def store(encoded: bytes) -> tuple[bytes, ImageHeader]:
    return make_storable(encoded, read_header(encoded))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(encode("BMP"), id="bmp"),
        pytest.param(encode("BMP", mode="1"), id="bmp of bits"),
        pytest.param(encode("BMP", mode="L"), id="gray bmp"),
        pytest.param(encode("BMP", mode="P"), id="bmp with palette"),
        pytest.param(encode("GIF", mode="P"), id="gif"),
        pytest.param(encode("GIF", mode="L"), id="gray gif"),
        pytest.param(encode("WEBP"), id="lossy webp"),
        pytest.param(encode("WEBP", lossless=True), id="lossless webp"),
        pytest.param(encode("WEBP", mode="RGBA"), id="webp with transparency"),
    ],
)
def test_other_formats_become_png_of_the_same_pixels(encoded):
    stored, header = store(encoded)
    assert header == ImageHeader("png", 24, 40)
    assert Image.open(io.BytesIO(stored)).format == "PNG"
    np.testing.assert_array_equal(decode(stored), decode(encoded))


@pytest.mark.parametrize(("format", "options"), [("GIF", {}), ("WEBP", {"lossless": True})])
def test_of_an_animation_the_first_frame(format, options):
    frames = [Image.new("RGB", (40, 24), color) for color in ("red", "lime", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, format, save_all=True, append_images=frames[1:], **options)
    stored, header = store(buffer.getvalue())
    assert header == ImageHeader("png", 24, 40)
    assert Image.open(io.BytesIO(stored)).n_frames == 1
    np.testing.assert_array_equal(decode(stored), np.broadcast_to(np.uint8([255, 0, 0]), (24, 40, 3)))


# Where the stored image's top left corner is displayed, and by 5 to 8 width and height change places (EXIF 2.32, table 4).
CORNERS = {
    1: "top left",
    2: "top right",
    3: "bottom right",
    4: "bottom left",
    5: "top left",
    6: "top right",
    7: "bottom right",
    8: "bottom left",
}


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_upright(format, orientation):
    """The top left quarter is red, which tells where it goes; that the rest follows is compared with the whole turn in test_tf_record."""
    encoded = encode(format, quality=95, exif=turned(orientation))
    stored, header = store(encoded)
    height, width = (40, 24) if orientation >= 5 else (24, 40)
    assert header == ImageHeader("jpeg" if format == "JPEG" else "png", height, width, 1)
    pixels = decode(stored)
    rows = slice(0, height // 2) if "top" in CORNERS[orientation] else slice(height // 2, height)
    columns = slice(0, width // 2) if "left" in CORNERS[orientation] else slice(width // 2, width)
    red = (pixels[..., 0] > 200) & (pixels[..., 1:] < 60).all(axis=-1)
    assert red[rows, columns].mean() > 0.8
    red[rows, columns] = False
    assert red.mean() < 0.02


def test_a_turned_jpeg_is_hardly_changed():
    smooth = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    encoded = encode("JPEG", smooth, quality=90, exif=turned(6))
    stored, header = store(encoded)
    assert header == ImageHeader("jpeg", 64, 48)
    expected = np.rot90(decode(encoded), k=-1).astype(int)
    assert np.abs(decode(stored) - expected).max() <= 4


@pytest.mark.parametrize(
    ("subsampling", "orientation", "expected"),
    [("4:4:4", 6, 0), ("4:2:0", 6, 2), ("4:2:2", 6, 0), ("4:2:2", 3, 0), ("4:4:4", 3, 0)],
)
def test_a_turned_jpeg_keeps_its_colour(subsampling, orientation, expected):
    """0 is 4:4:4 and 2 is 4:2:0: colour of half the resolution in one direction would be in the other after the turn."""
    stored, _ = store(encode("JPEG", subsampling=subsampling, exif=turned(orientation)))
    assert JpegImagePlugin.get_sampling(Image.open(io.BytesIO(stored))) == expected


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_turned_jpegs_of_other_colours(mode):
    encoded = encode("JPEG", mode=mode, quality=95, exif=turned(3))
    stored, header = store(encoded)
    assert header == ImageHeader("jpeg", 24, 40)
    assert Image.open(io.BytesIO(stored)).mode == mode
    assert np.abs(decode(stored).astype(int) - decode(encoded)[::-1, ::-1]).mean() < 3


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(encode("JPEG"), id="jpeg"),
        pytest.param(encode("JPEG", mode="CMYK"), id="CMYK"),
        pytest.param(encode("JPEG", progressive=True), id="progressive"),
        pytest.param(encode("PNG"), id="png"),
        pytest.param(encode("PNG", mode="P"), id="palette"),
        pytest.param(encode("PNG", Image.fromarray(np.arange(960, dtype=np.uint16).reshape(24, 40)), mode="I;16"), id="16 bits"),
        pytest.param(encode("GIF", mode="P"), id="gif"),
        pytest.param(encode("BMP"), id="bmp"),
        pytest.param(encode("WEBP"), id="webp"),
    ],
)
def test_whole_images_pass(encoded):
    check_pixels(encoded, read_header(encoded))


def cut(encoded: bytes, end: bytes = b"") -> bytes:
    return encoded[: len(encoded) // 2] + end


@pytest.mark.parametrize(
    ("encoded", "header", "message"),
    [
        pytest.param(encode("JPEG")[:-20], ImageHeader("jpeg", 24, 40), "broken JPEG: the image data do not end", id="most of a jpeg"),
        pytest.param(cut(encode("JPEG", progressive=True)), ImageHeader("jpeg", 24, 40), "broken JPEG: .*truncated", id="progressive"),
        pytest.param(cut(encode("PNG")), ImageHeader("png", 24, 40), "broken PNG: the file ends within chunk b'IDAT'", id="half a png"),
        pytest.param(cut(encode("BMP")), ImageHeader("bmp", 24, 40), "broken BMP: .*truncated", id="half a bmp"),
        pytest.param(cut(encode("GIF", mode="P")), ImageHeader("gif", 24, 40), "broken GIF: ", id="half a gif"),
        pytest.param(cut(encode("WEBP")), ImageHeader("webp", 24, 40), "broken WEBP: ", id="half a webp"),
        pytest.param(
            encode("BMP"), ImageHeader("bmp", 24, 41), "broken BMP: 41x24 pixels by its header, 40x24 when decoded", id="two sizes"
        ),
    ],
)
def test_broken_images(encoded, header, message):
    with pytest.raises(InputError, match=message):
        check_pixels(encoded, header)


def test_masks_are_the_pngs_of_the_api():
    """8 bits, gray, of 0 and 1, as PIL.Image.fromarray(mask).save(..., "PNG") writes them."""
    mask = np.zeros((24, 40), np.uint8)
    mask[3:9, 5:30] = 1
    encoded = encode_mask(mask, size=(24, 40))
    assert encoded == encode("PNG", Image.fromarray(mask), mode="L")
    np.testing.assert_array_equal(decode(encoded, "L"), mask)
    np.testing.assert_array_equal(decode(encode_mask(mask.astype(bool), size=(24, 40)), "L"), mask)
    np.testing.assert_array_equal(decode(encode_mask(mask[:, ::-1].T, size=(40, 24)), "L"), np.rot90(mask))


def test_masks_of_a_resized_image():
    mask = np.array([[0, 1], [0, 0]], np.uint8)
    assert decode(encode_mask(mask, size=(4, 2)), "L").tolist() == [[0, 1], [0, 1], [0, 0], [0, 0]]
