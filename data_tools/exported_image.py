"""One image on its way out of a record, in pixels again."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Keypoint, PixelBox
from data_tools.image_header import read_header
from object_detection_ext.errors import InputError


class ExportedImage(NamedTuple):
    """An image with objects in pixels of the stored image."""

    encoded: bytes
    format: str
    height: int
    width: int
    recorded_name: str
    objects: tuple[AnnotatedObject, ...]
    where: str  # the record


def export_image(annotated: AnnotatedImage) -> ExportedImage:
    """Turns shares into pixels, rounded as far as float32 cannot hold them anyway.

    Args:
        annotated: from a record, with `encoded` and relative boxes.

    Raises:
        InputError: the image cannot be read, or a box or area is not finite.
    """
    encoded = annotated.encoded or b""
    try:
        header = read_header(encoded)
    except InputError as error:
        raise InputError(f"{annotated.where}: {error}") from None
    height, width = header.height, header.width
    objects = tuple(_to_pixels(item, height, width) for item in annotated.objects)
    return ExportedImage(encoded, header.format, height, width, annotated.filename, objects, annotated.where)


def _to_pixels(item: AnnotatedObject, height: int, width: int) -> AnnotatedObject:
    y_min, x_min, y_max, x_max = item.box
    if not all(map(math.isfinite, (*item.box, item.area))):
        raise InputError(f"{item.where}: box or area is not finite: {tuple(item.box)}, {item.area}")
    box = PixelBox(_pixels(y_min, height), _pixels(x_min, width), _pixels(y_max, height), _pixels(x_max, width))
    points = tuple(Keypoint(point.name, _pixels(point.y, height), _pixels(point.x, width), point.visibility) for point in item.keypoints)
    return item._replace(box=box, keypoints=points)


def _pixels(share: float, side: int) -> float:
    return round(share * side, decimal_places(side))


def decimal_places(side: int) -> int:
    """How many decimals of a pixel a share of `side` pixels tells in float32, and a difference of two.

    A share up to 1 is off by 2^-25 at most, so a place by side * 2^-25 and a difference by twice that; it must stay below half of the last
    decimal.
    """
    return max(0, math.floor(-math.log10(4 * side * 2**-25)))


def shortest_float32(value: float) -> float:
    """The number with the fewest digits that is `value` in float32: 2765.1487 for 2765.148681640625."""
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == struct.pack("<f", value):
            return short
    return value
