"""Image files without decoding them: found inside one folder only, and checked by their header."""

from __future__ import annotations

import functools
import re
import stat
from pathlib import Path
from typing import Literal, NamedTuple

from object_detection_ext.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and lone surrogates, which UTF-8 cannot hold

_OTHER_SIGNATURES = (  # offset, bytes, name
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftyp", "HEIF or AVIF"),
)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START_OF_SCAN = 0xDA
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)  # of the range C0 to CF: Huffman tables, JPEG extensions, arithmetic conditioning (ITU T.81 table B.1)
_DECODABLE_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended sequential, progressive


class ImageHeader(NamedTuple):
    """What the first bytes of an image file say."""

    format: Literal["jpeg", "png"]
    height: int  # pixels as stored, before any rotation that metadata asks for
    width: int


def find_inside(folder: Path, name: str) -> Path | None:
    """The path of file `name` below `folder` (a resolved path), or None where there is no such file.

    Raises:
        InputError: `name` leads out of the folder: absolute, through `..` or through a link.
    """
    if not name or CONTROL_CHARACTERS.search(name):
        raise InputError(f"{name!r} is not a file name that can be used: it is empty or has control characters")
    path = folder / name
    is_plain = "/" not in name and name not in (".", "..")
    if not is_plain and (".." in path.parts or not _is_inside(path.parent, folder)):
        raise _outside(name, folder)
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        real = path.resolve()
        if not real.is_relative_to(folder):
            raise _outside(name, folder)
        return path if real.is_file() else None
    return path if stat.S_ISREG(mode) else None


@functools.lru_cache(maxsize=1024)  # many images, few folders
def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder)


def _outside(name: str, folder: Path) -> InputError:
    return InputError(f"{name!r} leads out of the folder {folder}; names must stay below it")


def read_image(path: Path) -> tuple[bytes, ImageHeader]:
    """The bytes of an image file and its header.

    Raises:
        InputError: the file is not a JPEG or PNG that training can decode, as far as header and end marker tell.
    """
    encoded = path.read_bytes()
    try:
        return encoded, read_header(encoded)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_header(encoded: bytes) -> ImageHeader:
    """Format and size of an encoded image; `read_image` adds the file's name to the errors."""
    if encoded.startswith(b"\xff\xd8\xff"):
        return _read_jpeg_header(encoded)
    if encoded.startswith(_PNG_SIGNATURE):
        return _read_png_header(encoded)
    if not encoded:
        raise InputError("the file is empty; a JPEG or PNG image is needed")
    for offset, signature, name in _OTHER_SIGNATURES:
        if encoded.startswith(signature, offset):
            raise InputError(f"a {name} image; only JPEG and PNG can be stored, convert it first")
    raise InputError(f"not an image (starts with {encoded[:8]!r}); a JPEG or PNG image is needed")


def _read_jpeg_header(encoded: bytes) -> ImageHeader:
    position, end = 2, len(encoded)
    while position + 9 < end:
        if encoded[position] != 0xFF:
            raise InputError(f"broken JPEG: no marker at byte {position}")
        marker = encoded[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # stands alone, without a length
            position += 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            return _read_jpeg_frame(encoded, position, marker)
        if marker == _START_OF_SCAN:
            break
        position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    raise InputError("broken JPEG: no frame header")


def _read_jpeg_frame(encoded: bytes, position: int, marker: int) -> ImageHeader:
    if marker not in _DECODABLE_FRAMES or encoded[position + 4] != 8:
        raise InputError("a lossless, arithmetic-coded or 12-bit JPEG, which TensorFlow cannot decode; convert it to a plain JPEG")
    height = int.from_bytes(encoded[position + 5 : position + 7], "big")
    width = int.from_bytes(encoded[position + 7 : position + 9], "big")
    if not height or not width:
        raise InputError(f"broken JPEG: its header says {width}x{height} pixels")
    if encoded.rfind(b"\xff\xd9") < position:
        raise InputError(f"broken JPEG: the file ends early, after {len(encoded)} bytes")
    return ImageHeader("jpeg", height, width)


def _read_png_header(encoded: bytes) -> ImageHeader:
    if encoded[12:16] != b"IHDR" or len(encoded) < 33:
        raise InputError("broken PNG: no header chunk")
    width, height = int.from_bytes(encoded[16:20], "big"), int.from_bytes(encoded[20:24], "big")
    if not height or not width:
        raise InputError(f"broken PNG: its header says {width}x{height} pixels")
    if encoded.rfind(b"IEND") < 0:
        raise InputError(f"broken PNG: the file ends early, after {len(encoded)} bytes")
    return ImageHeader("png", height, width)
