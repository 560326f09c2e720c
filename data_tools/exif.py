"""The one EXIF field that matters to a detector: how the stored pixels have to be turned to be looked at."""

from __future__ import annotations

import struct
from typing import Literal

_ORIENTATION_TAG = 0x0112  # EXIF 2.32, table 4
_ENTRY = 12  # bytes of an entry: tag, type, count, value
_SHORT, _LONG = 3, 4
_BYTE_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}


def read_orientation(tiff: bytes) -> int:
    """The orientation that an EXIF block asks for, 1 to 8; 1, as stored, where it says none, says nonsense or is broken, as in viewers.

    Args:
        tiff: the block from its TIFF header on, without a leading `Exif` and two zero bytes. XMP, which some programs also heed, is not
            read.
    """
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return 1
    start = int.from_bytes(tiff[4:8], order)
    num_entries = int.from_bytes(tiff[start : start + 2], order)
    directory = tiff[start + 2 : start + 2 + num_entries * _ENTRY]
    layout = struct.Struct(("<" if order == "little" else ">") + "HHI4s")
    for tag, kind, count, value in layout.iter_unpack(directory[: len(directory) // _ENTRY * _ENTRY]):
        if tag == _ORIENTATION_TAG:
            size = {_SHORT: 2, _LONG: 4}.get(kind)
            orientation = int.from_bytes(value[:size], order) if size and count == 1 else 1
            return orientation if 1 <= orientation <= 8 else 1
    return 1
