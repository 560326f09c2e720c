"""Damage in JPEG and PNG files that Pillow decodes without a word and TensorFlow refuses."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from data_tools.image_header import ImageHeader
from object_detection_ext.errors import InputError

_PNG_SIGNATURE_LENGTH = 8
_CHUNK_ORDER = re.compile(rb"IHDR(?: (PLTE))?(?: IDAT)+ IEND")
_PALETTE = 3  # colour type
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type: gray, RGB, palette, gray and alpha, RGBA
# First row, first column, row step, column step of the passes of an interlaced PNG (PNG specification, section 8.2).
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))

_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)  # within image data a byte FF has a 00 after it
_DEFINE_RESTART_INTERVAL, _START_OF_SCAN, _END_OF_IMAGE = 0xDD, 0xDA, 0xD9
_SEQUENTIAL_FRAMES, _PROGRESSIVE_FRAME = (0xC0, 0xC1), 0xC2


def check_jpeg(encoded: bytes) -> None:
    """Looks for stray markers in the image data of a JPEG with one scan (ITU T.81, annex B).

    Decoders deliver such a picture once they have its last row. TensorFlow's reads on to the end of the file and fails at what it finds;
    Pillow stops. A file of several scans is read to its end by both before there is a row.

    Args:
        encoded: a JPEG that `read_header` took.

    Raises:
        InputError: the image data are broken off or damaged.
    """
    position, interval, num_components = 2, 0, 0
    while True:
        marker = _MARKER.search(encoded, position)
        if marker is None:
            raise InputError("broken JPEG: no image data")
        kind, start = encoded[marker.start() + 1], marker.end()
        length = int.from_bytes(encoded[start : start + 2], "big")
        if kind == _PROGRESSIVE_FRAME:
            return
        if kind in _SEQUENTIAL_FRAMES:
            num_components = encoded[start + 7]
        elif kind == _DEFINE_RESTART_INTERVAL:
            interval = int.from_bytes(encoded[start + 2 : start + 4], "big")
        elif kind == _START_OF_SCAN:
            if encoded[start + 2] == num_components:
                _check_scan(encoded, start + length, interval)
            return
        position = start + length


def _check_scan(encoded: bytes, start: int, interval: int) -> None:
    for num_restarts, marker in enumerate(_MARKER.finditer(encoded, start)):
        kind = encoded[marker.start() + 1]
        if kind == _END_OF_IMAGE:
            return
        if not interval or kind != 0xD0 + num_restarts % 8:
            raise InputError(f"broken JPEG: stray marker {kind:02X} in the image data at byte {marker.start()}")
    raise InputError("broken JPEG: the image data do not end")


def check_png(encoded: bytes, header: ImageHeader) -> None:
    """Checks every chunk of a PNG, and that the image data are whole (PNG specification, sections 5 and 11).

    Args:
        encoded: a PNG that `read_header` took.
        header: what that said.

    Raises:
        InputError: a chunk is damaged, unknown but needed, missing or out of place, or there are too few image data.
    """
    depth, color_type, compression, filtering, interlacing = encoded[24:29]
    if compression or filtering or interlacing > 1 or color_type not in _PNG_CHANNELS:
        raise InputError(f"broken PNG: its header asks for what does not exist: {encoded[24:29].hex(' ')}")
    names, pieces = list[bytes](), list[bytes]()
    for name, data in _chunks(encoded):
        if not name[0] & 0x20:  # an upper-case letter: the image cannot be shown without
            names.append(name)
        if name == b"IDAT":
            pieces.append(data)
        elif name == b"PLTE" and color_type == _PALETTE and (len(data) % 3 or not 3 <= len(data) <= 768):  # red, green and blue of each
            raise InputError(f"broken PNG: a palette of {len(data)} bytes")
    order = _CHUNK_ORDER.fullmatch(b" ".join(names))
    if order is None or (color_type == _PALETTE and not order[1]):
        found = b" ".join(dict.fromkeys(names)).decode(errors="backslashreplace")
        raise InputError(f"broken PNG: its chunks are {found}; it needs IHDR, PLTE (with a palette), IDAT and IEND in this order")
    _check_png_data(b"".join(pieces), header, bits=depth * _PNG_CHANNELS[color_type], is_interlaced=interlacing == 1)


def _chunks(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    position, end = _PNG_SIGNATURE_LENGTH, len(encoded)
    while position < end:
        if position + 12 > end:
            raise InputError(f"broken PNG: the file ends within a chunk, after {end} bytes")
        (length,) = struct.unpack_from(">I", encoded, position)
        stop = position + 8 + length
        name = encoded[position + 4 : position + 8]
        if stop + 4 > end:
            raise InputError(f"broken PNG: the file ends within chunk {name!r}, after {end} bytes")
        if struct.unpack_from(">I", encoded, stop)[0] != zlib.crc32(memoryview(encoded)[position + 4 : stop]):
            raise InputError(f"broken PNG: the checksum of chunk {name!r} at byte {position} does not fit")
        yield name, encoded[position + 8 : stop]
        if name == b"IEND":
            return
        position = stop + 4


def _check_png_data(data: bytes, header: ImageHeader, *, bits: int, is_interlaced: bool) -> None:
    passes = _ADAM7 if is_interlaced else ((0, 0, 1, 1),)
    expected = 0
    for top, left, row_step, column_step in passes:
        num_rows, num_columns = -((top - header.height) // row_step), -((left - header.width) // column_step)
        if num_rows > 0 and num_columns > 0:
            expected += num_rows * (1 + (num_columns * bits + 7) // 8)  # a row starts with the number of its filter
    inflate = zlib.decompressobj()
    try:
        num_bytes = len(inflate.decompress(data, expected))
    except zlib.error as error:
        raise InputError(f"broken PNG: {error}") from None
    if num_bytes < expected:
        raise InputError(f"broken PNG: the image data end early, after {num_bytes:,} of {expected:,} bytes")
