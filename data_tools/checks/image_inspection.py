"""An encoded image, fully decoded by Pillow, with what TensorFlow would say to it."""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import NamedTuple

from PIL import Image

from data_tools.checks.fingerprint import Fingerprint, take_fingerprint
from data_tools.image_file import read_header
from object_detection_ext.errors import InputError

LARGEST_DECODED = 100_000_000  # pixels; more is not decoded: 300 MB as RGB, in every reading thread

_ORIENTATION = 0x0112  # EXIF tag: 1 upright, 2 to 8 turned or mirrored
_TENSORFLOW_FORMATS = ("jpeg", "png", "gif", "bmp", "webp")  # tf.io.decode_image of TensorFlow 2.20
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
    ends_early: bool = False  # a JPEG that decodes, but whose lowest rows have no data
    fingerprint: Fingerprint | None = None


def inspect_image(encoded: bytes) -> ImageInspection:
    """Decodes an image and says what is odd about it; never raises for what the bytes hold."""
    digest = hashlib.sha256(encoded).digest()
    try:
        header = read_header(encoded)
        refusal = ""
        if header.height * header.width > LARGEST_DECODED:
            problem = f"it has {header.width:,}x{header.height:,} pixels; more than {LARGEST_DECODED:,} are not decoded"
            return ImageInspection(digest, header.format, height=header.height, width=header.width, problem=problem)
    except InputError as error:  # also of formats that only Pillow knows
        refusal = str(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about metadata
        try:
            return _inspect_decoded(encoded, digest, refusal)
        except Exception as error:  # Pillow's decoders raise whatever broken bytes lead them to
            return ImageInspection(digest, problem=refusal or _words(error))


def _inspect_decoded(encoded: bytes, digest: bytes, refusal: str) -> ImageInspection:
    with Image.open(io.BytesIO(encoded)) as image:
        format_ = (image.format or "").lower().replace("mpo", "jpeg")  # a JPEG with further pictures behind it
        known = ImageInspection(digest, format_, image.mode, image.height, image.width)
        if image.height * image.width > LARGEST_DECODED:
            return known._replace(problem=f"it has {image.width:,}x{image.height:,} pixels; more than {LARGEST_DECODED:,} are not decoded")
        try:
            image.load()
        except Exception as error:  # as above
            return known._replace(problem=_words(error))
        return known._replace(
            orientation=_orientation(image),
            refusal=_refusal(image, encoded, format_, refusal),
            ends_early=format_ == "jpeg" and _ends_early(image),
            fingerprint=take_fingerprint(image),
        )


def _refusal(image: Image.Image, encoded: bytes, format_: str, by_header: str) -> str:
    if format_ in ("jpeg", "png"):
        return by_header
    if format_ not in _TENSORFLOW_FORMATS:
        return f"a {image.format} image, which TensorFlow does not decode"
    if format_ == "bmp":
        bits, compression = int.from_bytes(encoded[28:30], "little"), image.info.get("compression", 0)
        is_grey = bits == 8 and image.mode == "L"
        if compression not in (0, 3) or not (bits in (24, 32) or is_grey):
            return f"a BMP image of {bits} bits a pixel{' with compression' if compression else ''}, which TensorFlow does not read right"
    return ""


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _ends_early(image: Image.Image) -> bool:
    """Whether the lowest rows are the grey of missing data, and the highest are not (as a grey margin would be on both sides)."""
    width, height = image.size
    if height < 4 * _MISSING_ROWS or image.mode not in ("RGB", "L"):
        return False
    return _is_missing(image.crop((0, height - _MISSING_ROWS, width, height))) and not _is_missing(image.crop((0, 0, width, _MISSING_ROWS)))


def _is_missing(rows: Image.Image) -> bool:
    return all(band.getextrema() == (_MISSING_GREY, _MISSING_GREY) for band in rows.split())


def _words(error: Exception) -> str:
    """Pillow's words, without the memory address of the buffer."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no image"
    return " ".join((str(error) or type(error).__name__).split())
