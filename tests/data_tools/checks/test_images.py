"""Each fault of an image is found, and nothing else finds anything."""

from __future__ import annotations

import hashlib

import pytest

from object_detection_ext.data import schema


def no_image(record, make):
    record[schema.IMAGE_ENCODED] = []


def cut_half(record, make):
    make.set_image(record, record[schema.IMAGE_ENCODED][0][:800])


def wrong_bytes(record, make):
    make.set_image(record, b"<html>not found</html>")


def tiff(record, make):
    make.set_image(record, make.encode(make.picture(3), "TIFF"), format_="tiff")


def png_without_end(record, make):
    make.set_image(record, make.encode(make.picture(3), "PNG")[:-12], format_="png")


def palette_bmp(record, make):
    make.set_image(record, make.encode(make.picture(3).convert("P"), "BMP"), format_="bmp")


def gif(record, make):
    make.set_image(record, make.encode(make.picture(3), "GIF"), format_="gif")


def grey_below(record, make):
    encoded = make.encode(make.picture(3, size=(480, 360)))
    make.set_image(record, encoded[: len(encoded) // 2] + b"\xff\xd9", size=(480, 360))


def turned(record, make):
    exif = make.picture(3).getexif()
    exif[0x0112] = 6
    make.set_image(record, make.encode(make.picture(3), exif=exif))


def huge(record, make):
    make.set_image(record, make.encode(make.picture(3, size=(4000, 2501))), size=(4000, 2501))


def cmyk(record, make):
    make.set_image(record, make.encode(make.picture(3).convert("CMYK")))


def gray(record, make):
    make.set_image(record, make.encode(make.picture(3).convert("L")))


def wrong_size(record, make):
    record[schema.IMAGE_WIDTH], record[schema.IMAGE_HEIGHT] = record[schema.IMAGE_HEIGHT], record[schema.IMAGE_WIDTH]


def wrong_format(record, make):
    record[schema.IMAGE_FORMAT] = [b"png"]


def wrong_digest(record, make):
    record[schema.IMAGE_KEY_SHA256] = [hashlib.sha256(b"another image").hexdigest().encode()]


IMAGE_FAULTS = [
    (no_image, "missing_image", "image/encoded is empty or missing"),
    (cut_half, "corrupt_image", "the image cannot be decoded: broken JPEG: the file ends early, after 800 bytes"),
    (wrong_bytes, "corrupt_image", "the image cannot be decoded: not an image"),
    (tiff, "refused_image", "a TIFF file"),
    (png_without_end, "refused_image", "broken PNG: the file ends early"),
    (palette_bmp, "refused_image", "a BMP image of 8 bits a pixel"),
    (gif, "unportable_image", "a GIF image"),
    (grey_below, "cut_image", "the lowest rows of the JPEG are the grey of missing data"),
    (turned, "turned_image", "the 96x72 image has EXIF orientation 6"),
    (huge, "huge_image", "the image has 4000x2501 pixels"),
    (cmyk, "cmyk_image", "the image is CMYK"),
    (gray, "gray_image", "the image is grayscale"),
    (wrong_size, "wrong_size", "the record says 72x96 pixels, the image has 96x72; they are exchanged"),
    (wrong_format, "wrong_format", "image/format is 'png', the image is a JPEG"),
    (wrong_digest, "wrong_digest", "image/key/sha256 begins with"),
]


@pytest.mark.parametrize(("spoil", "check", "message"), IMAGE_FAULTS, ids=[spoil.__name__ for spoil, _, _ in IMAGE_FAULTS])
def test_an_image_that_is_not_as_it_should_be(sets, make, spoil, check, message):
    spoil(sets.train[3], make)
    scan = sets.scan()
    assert list(sets.found(scan)) == [check]
    (finding,) = sets.found(scan)[check].findings
    assert finding.message.startswith(message)
    assert (finding.record.index, finding.image) == (3, "id3")
