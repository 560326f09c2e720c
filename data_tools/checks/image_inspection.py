"""An encoded image, fully decoded by Pillow, with what TensorFlow would say to it."""

from __future__ import annotations

import functools
import hashlib
import io
import warnings
from typing import NamedTuple

from PIL import Image

from data_tools.checks.fingerprint import Fingerprint, take_fingerprint
from data_tools.image_header import ImageHeader, read_header
from data_tools.image_structure import check_jpeg, check_png
from data_tools.opened_image import PILLOW_ERRORS
from object_detection_ext.errors import InputError

LARGEST_DECODED = 100_000_000  # pixels; more is not decoded: 300 MB as RGB, in every reading thread

# Pillow knows more that no data set holds, and for one of them (EPS) it runs an interpreter, Ghostscript, on what a stranger wrote.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM")
_PORTABLE = ("jpeg", "png")  # what the API's decoder takes; TensorFlow 2.20 alone also decodes the others that read_header knows
_MISSING_GREY = 128  # what libjpeg fills in where the data end: coefficients of zero
_MISSING_ROWS = 8  # of the lowest blocks


class ImageInspection(NamedTuple):
    """What is known of one encoded image."""

    digest: bytes  # SHA-256 of the encoded image
    format: str = ""  # lower case: "jpeg", "png", ...; "" where it is no image
    mode: str = ""  # Pillow's: "RGB", "L", "CMYK", "P", ...
    height: int = 0  # pixels as stored; 0 where the header cannot be read
    width: int = 0
    orientation: int = 1  # EXIF's
    problem: str = ""  # why it cannot be decoded
    refusal: str = ""  # why TensorFlow refuses, or misreads, what Pillow decodes
    is_portable: bool = True  # JPEG or PNG; else the original API fails at it, although TensorFlow decodes it
    ends_early: bool = False  # a JPEG that decodes, but whose lowest rows have no data
    fingerprint: Fingerprint | None = None


def inspect_image(encoded: bytes) -> ImageInspection:
    """Decodes an image and says what is odd about it; never raises for what the bytes hold."""
    known = ImageInspection(hashlib.sha256(encoded).digest())
    header = None
    try:
        header = read_header(encoded)
        known = known._replace(format=header.format, height=header.height, width=header.width, orientation=header.orientation)
    except InputError as error:  # also of formats that only Pillow knows
        known = known._replace(refusal=str(error))
    if known.height * known.width > LARGEST_DECODED:
        return known._replace(problem=_too_large(known.height, known.width))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about metadata
        try:
            return _inspect_decoded(encoded, header, known)
        except PILLOW_ERRORS as error:
            return known._replace(problem=known.refusal or _words(error), refusal="")


def _inspect_decoded(encoded: bytes, header: ImageHeader | None, known: ImageInspection) -> ImageInspection:
    with Image.open(io.BytesIO(encoded), formats=[header.format.upper()] if header else _readable_formats()) as image:
        format_ = known.format or (image.format or "").lower().replace("mpo", "jpeg")  # MPO: a JPEG with further pictures behind it
        known = known._replace(format=format_, mode=image.mode, height=image.height, width=image.width)
        if image.height * image.width > LARGEST_DECODED:
            return known._replace(problem=_too_large(image.height, image.width))
        image.load()
        return known._replace(
            refusal=known.refusal or _refusal(image, encoded, header),
            is_portable=format_ in _PORTABLE,
            ends_early=format_ == "jpeg" and _ends_early(image),
            fingerprint=take_fingerprint(image),
        )


@functools.cache
def _readable_formats() -> list[str]:
    """Pillow's names of those of `_FORMATS` that this version reads."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _refusal(image: Image.Image, encoded: bytes, header: ImageHeader | None) -> str:
    try:
        if header is not None and header.format == "jpeg":
            check_jpeg(encoded)
        elif header is not None and header.format == "png":
            check_png(encoded, header)
    except InputError as error:
        return str(error)
    if header is not None and header.format == "bmp":
        bits, compression = int.from_bytes(encoded[28:30], "little"), image.info.get("compression", 0)
        is_grey = bits == 8 and image.mode == "L"
        if compression not in (0, 3) or not (bits in (24, 32) or is_grey):
            return f"a BMP image of {bits} bits a pixel{' with compression' if compression else ''}, which TensorFlow does not read right"
    return ""


def _ends_early(image: Image.Image) -> bool:
    """Whether the lowest rows are the grey of missing data, and the highest are not (as a grey margin would be on both sides)."""
    width, height = image.size
    if height < 4 * _MISSING_ROWS or image.mode not in ("RGB", "L"):
        return False
    return _is_missing(image.crop((0, height - _MISSING_ROWS, width, height))) and not _is_missing(image.crop((0, 0, width, _MISSING_ROWS)))


def _is_missing(rows: Image.Image) -> bool:
    return all(band.getextrema() == (_MISSING_GREY, _MISSING_GREY) for band in rows.split())


def _too_large(height: int, width: int) -> str:
    return f"it has {width:,}x{height:,} pixels; more than {LARGEST_DECODED:,} are not decoded"


def _words(error: Exception) -> str:
    """Pillow's words, without the memory address of the buffer."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no image"
    return " ".join((str(error) or type(error).__name__).split())
