"""What the first bytes of an image file say, without decoding it: format, size and the turn that metadata asks for."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from data_tools.exif import read_orientation
from object_detection_ext.errors import InputError

ImageFormat = Literal["jpeg", "png", "bmp", "gif", "webp"]

# TensorFlow decodes at most 2^29 bytes an image (jpeg_mem.cc), three a pixel; Pillow refuses at the same number. What has more would fill
# the memory of whoever decodes it: a decompression bomb.
LARGEST_IMAGE = 178_956_970  # pixels

_OTHER_SIGNATURES = (  # offset, bytes, name
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftyp", "HEIF or AVIF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_WANTED = "a JPEG, PNG, BMP, GIF or WebP image is needed"
_START_OF_SCAN, _APP1 = 0xDA, 0xE1
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)  # of the range C0 to CF: Huffman tables, JPEG extensions, arithmetic conditioning (ITU T.81 table B.1)
_DECODABLE_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended sequential, progressive
_COMPONENTS = (1, 3, 4)  # grayscale, YCbCr or RGB, CMYK or YCCK: all become RGB when decoded
_FILL = re.compile(rb"\xff+")
_EXIF = b"Exif\0\0"


class ImageHeader(NamedTuple):
    """What the first bytes of an image file say."""

    format: ImageFormat
    height: int  # pixels as stored, before any turn
    width: int
    orientation: int = 1  # EXIF's, 1 to 8


def read_header(encoded: bytes) -> ImageHeader:
    """Format, size and orientation of an encoded image.

    Raises:
        InputError: the file is not an image that can be stored, as far as header and end marker tell, or a decompression bomb.
    """
    if encoded.startswith(b"\xff\xd8\xff"):
        header = _read_jpeg(encoded)
    elif encoded.startswith(_PNG_SIGNATURE):
        header = _read_png(encoded)
    elif encoded.startswith(b"BM"):
        header = _read_bmp(encoded)
    elif encoded.startswith((b"GIF87a", b"GIF89a")):
        header = ImageHeader("gif", int.from_bytes(encoded[8:10], "little"), int.from_bytes(encoded[6:8], "little"))
    elif encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
        header = _read_webp(encoded)
    else:
        raise InputError(_unknown(encoded))
    _, height, width, _ = header
    if height < 1 or width < 1:
        raise InputError(f"broken {header.format.upper()}: its header says {width}x{height} pixels")
    if height * width > LARGEST_IMAGE:
        raise InputError(f"its header says {width}x{height} pixels; at most {LARGEST_IMAGE:,} pixels can be decoded")
    return header


def _unknown(encoded: bytes) -> str:
    if not encoded:
        return f"the file is empty; {_WANTED}"
    for offset, signature, name in _OTHER_SIGNATURES:
        if encoded.startswith(signature, offset):
            return f"a {name} file; {_WANTED}, convert it first"
    return f"not an image (starts with {encoded[:8]!r}); {_WANTED}"


def _read_jpeg(encoded: bytes) -> ImageHeader:
    position, end = 2, len(encoded)
    orientation: int | None = None
    while position + 9 < end:
        if encoded[position] != 0xFF:
            raise InputError(f"broken JPEG: no marker at byte {position}")
        marker = encoded[position + 1]
        if marker == 0xFF:  # fill byte
            fill = _FILL.match(encoded, position)
            position = fill.end() - 1 if fill else end
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # stands alone, without a length
            position += 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            return _read_jpeg_frame(encoded, position, orientation or 1)
        if marker == _START_OF_SCAN:
            break
        length = encoded[position + 2] << 8 | encoded[position + 3]
        if marker == _APP1 and orientation is None and encoded.startswith(_EXIF, position + 4):  # the first block counts, as in browsers
            orientation = read_orientation(encoded[position + 10 : position + 2 + length])
        position += 2 + length
    raise InputError("broken JPEG: no frame header")


def _read_jpeg_frame(encoded: bytes, position: int, orientation: int) -> ImageHeader:
    if encoded[position + 1] not in _DECODABLE_FRAMES or encoded[position + 4] != 8:
        raise InputError("a lossless, arithmetic-coded or 12-bit JPEG, which TensorFlow cannot decode; convert it to a plain JPEG")
    if encoded[position + 9] not in _COMPONENTS:
        raise InputError(f"a JPEG of {encoded[position + 9]} components, which TensorFlow cannot decode; it must have 1, 3 or 4")
    if encoded.rfind(b"\xff\xd9") < position:
        raise InputError(f"broken JPEG: the file ends early, after {len(encoded)} bytes")
    height, width = encoded[position + 5] << 8 | encoded[position + 6], encoded[position + 7] << 8 | encoded[position + 8]
    return ImageHeader("jpeg", height, width, orientation)


def _read_png(encoded: bytes) -> ImageHeader:
    if encoded[12:16] != b"IHDR" or len(encoded) < 33:
        raise InputError("broken PNG: no header chunk")
    width, height = int.from_bytes(encoded[16:20], "big"), int.from_bytes(encoded[20:24], "big")
    if encoded.rfind(b"IEND") < 0:
        raise InputError(f"broken PNG: the file ends early, after {len(encoded)} bytes")
    return ImageHeader("png", height, width, _png_orientation(encoded) if b"eXIf" in encoded else 1)


def _png_orientation(encoded: bytes) -> int:
    position = len(_PNG_SIGNATURE)
    while position + 8 <= len(encoded):
        length = int.from_bytes(encoded[position : position + 4], "big")
        if encoded.startswith(b"eXIf", position + 4):
            return read_orientation(encoded[position + 8 : position + 8 + length].removeprefix(_EXIF))
        position += 12 + length
    return 1


def _read_bmp(encoded: bytes) -> ImageHeader:
    if int.from_bytes(encoded[14:18], "little") == 12:  # the first version of the format
        return ImageHeader("bmp", int.from_bytes(encoded[20:22], "little"), int.from_bytes(encoded[18:20], "little"))
    width, height = (int.from_bytes(encoded[start : start + 4], "little", signed=True) for start in (18, 22))
    return ImageHeader("bmp", abs(height), width)  # a negative height says that the top row comes first


def _read_webp(encoded: bytes) -> ImageHeader:
    """By the first chunk (RFC 9649, sections 2.4 to 2.7): lossy `VP8 `, lossless `VP8L`, or `VP8X` with a canvas size before others."""
    kind = encoded[12:16]
    if kind == b"VP8 " and encoded[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(encoded[start : start + 2], "little") & 0x3FFF for start in (26, 28))
        return ImageHeader("webp", height, width)
    if kind == b"VP8L" and encoded[20:21] == b"\x2f":
        bits = int.from_bytes(encoded[21:25], "little")
        return ImageHeader("webp", (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    if kind == b"VP8X" and len(encoded) >= 30:
        width, height = (int.from_bytes(encoded[start : start + 3], "little") + 1 for start in (24, 27))
        return ImageHeader("webp", height, width, _webp_orientation(encoded))
    raise InputError("broken WebP: no size in its first chunk")


def _webp_orientation(encoded: bytes) -> int:
    position = 12
    while position + 8 <= len(encoded):
        length = int.from_bytes(encoded[position + 4 : position + 8], "little")
        if encoded.startswith(b"EXIF", position):
            return read_orientation(encoded[position + 8 : position + 8 + length].removeprefix(_EXIF))
        position += 8 + length + length % 2
    return 1
