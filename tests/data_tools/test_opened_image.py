"""Whatever Pillow raises for damaged bytes is one error; what it raises for other reasons stays."""

from __future__ import annotations

import contextlib
import io
import random
import struct

import pytest
from PIL import Image

from data_tools.opened_image import opened_image
from object_detection_ext.errors import InputError


def encode(file_format: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 30), 80).convert(mode).save(file, file_format)
    return file.getvalue()


def test_an_image():
    with opened_image(encode("PNG"), formats=["PNG"], broken="broken") as image:
        assert image.size == (40, 30)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        pytest.param(b"no image", "a.png: cannot identify image file", id="no image"),
        pytest.param(encode("JPEG"), "a.png: cannot identify image file", id="another format"),
        pytest.param(encode("PNG")[:300], "a.png: image file is truncated", id="cut off"),
    ],
)
def test_damaged_bytes(encoded, message):
    with pytest.raises(InputError, match=rf"^{message}$"), opened_image(encoded, formats=["PNG"], broken="a.png") as image:
        image.load()


@pytest.mark.parametrize(
    "error", [struct.error("short"), KeyError(3), EOFError(), Image.DecompressionBombError("large"), OverflowError("x")]
)
def test_what_pillow_raises(error):
    with pytest.raises(InputError, match=r"^a\.png: ."), opened_image(encode("PNG"), formats=["PNG"], broken="a.png"):
        raise error


@pytest.mark.parametrize("error", [MemoryError(), AssertionError("x"), KeyboardInterrupt()])
def test_what_is_not_the_fault_of_the_image(error):
    with pytest.raises(type(error)), opened_image(encode("PNG"), formats=["PNG"], broken="a.png"):
        raise error


def test_an_error_of_ours_stays_as_it_is():
    with pytest.raises(InputError, match=r"^ours$"), opened_image(encode("PNG"), formats=["PNG"], broken="a.png"):
        raise InputError("ours")


@pytest.mark.parametrize(
    ("file_format", "mode"), [("JPEG", "RGB"), ("PNG", "P"), ("GIF", "P"), ("BMP", "P"), ("WEBP", "RGB"), ("TIFF", "RGB")]
)
def test_random_damage(file_format, mode):
    source, whole = random.Random(0), encode(file_format, mode)
    for _ in range(300):
        damaged = bytearray(whole[: source.randrange(1, 2 * len(whole))])
        for _ in range(source.choice((1, 3, 20))):
            damaged[source.randrange(min(len(damaged), source.choice((100, 10_000))))] = source.randrange(256)
        with (
            contextlib.suppress(InputError),
            opened_image(bytes(damaged), formats=[file_format], broken="broken") as image,
        ):
            if image.width * image.height < 1_000_000:
                image.load()
