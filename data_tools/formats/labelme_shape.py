"""The shapes of LabelMe that have an extent: their boxes and masks."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_tools.annotated_image import PixelBox
from data_tools.masks import LARGEST_MASK, check_mask_size, png_to_mask, polygons_to_mask
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    Shape = tuple[PixelBox, np.ndarray | None]  # the mask is uint8 [height, width], None where none was asked for

WITHOUT_EXTENT = frozenset(("point", "points", "line", "linestrip"))
IGNORED_LABEL = "__ignore__"  # LabelMe's own converters leave such shapes out

_LARGEST = 1e30  # beyond any coordinate, and within float32

Point = tuple[float, float]  # x, y in pixels
Size = tuple[int, int]  # height, width


def read_shape(content: Mapping[str, Any], kind: str, mask_size: Size | None) -> Shape:
    """The box of a shape and, where `mask_size` is given, its mask, uint8 [height, width]; a rectangle has none but its filled box.

    Raises:
        InputError: the kind is not known, its points are not what it has, its mask is not a PNG, or `mask_size` is too large.
    """
    if kind not in _SHAPES:
        known = ", ".join([*_SHAPES, *sorted(WITHOUT_EXTENT)])
        raise InputError(f"the shape_type {kind!r} is not known; known are {known}")
    points = content.get("points")
    if not isinstance(points, list) or not all(map(_is_point, points)):
        raise InputError(f"points must be a list of [x, y], got {str(points)[:80]}")
    if mask_size is not None:
        check_mask_size(mask_size)
    return _SHAPES[kind]([(x, y) for x, y in points], content, mask_size)


def _polygon(points: Sequence[Point], _: Mapping[str, Any], mask_size: Size | None) -> Shape:
    if len(points) < 3:
        raise InputError(f"a polygon has three points or more, got {len(points)}")
    return _box_of(points), _fill(points, mask_size)


def _rectangle(points: Sequence[Point], _: Mapping[str, Any], _mask_size: Size | None) -> Shape:
    if len(points) not in (2, 4):  # other tools write all corners
        raise InputError(f"a rectangle has two corners, got {len(points)} points")
    return _box_of(points), None


def _oriented_rectangle(points: Sequence[Point], _: Mapping[str, Any], mask_size: Size | None) -> Shape:
    if len(points) != 4:
        raise InputError(f"an oriented rectangle has four corners, got {len(points)} points")
    return _box_of(points), _fill(points, mask_size)


def _circle(points: Sequence[Point], _: Mapping[str, Any], mask_size: Size | None) -> Shape:
    if len(points) != 2:
        raise InputError(f"a circle has two points, its centre and one on it, got {len(points)}")
    (x, y), rim = points
    radius = math.dist((x, y), rim)
    box = PixelBox(y - radius, x - radius, y + radius, x + radius)
    if mask_size is None:
        return box, None
    import numpy as np

    rows, columns = np.ogrid[: mask_size[0], : mask_size[1]]  # pixel (0, 0) has its centre at (0.5, 0.5)
    return box, ((rows + 0.5 - y) ** 2 + (columns + 0.5 - x) ** 2 <= radius**2).astype(np.uint8)


def _mask(points: Sequence[Point], content: Mapping[str, Any], mask_size: Size | None) -> Shape:
    """A PNG with its upper left pixel at the first point; the box is that of its pixels, not of the points, which may be rounded."""
    import numpy as np

    data = content.get("mask")
    if len(points) != 2 or not isinstance(data, str):
        raise InputError(f"a mask has two corners and a PNG in base64, got {len(points)} points and {str(data)[:20]!r}")
    try:
        pixels = png_to_mask(base64.b64decode(data, validate=True), largest=LARGEST_MASK if mask_size is None else math.prod(mask_size))
    except (binascii.Error, ValueError) as error:
        raise InputError(str(error) if isinstance(error, InputError) else f"its mask is not in base64: {error}") from None
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        raise InputError("its mask has no pixel")
    x, y = (round(value) for value in points[0])
    box = PixelBox(float(y + rows[0]), float(x + columns[0]), float(y + rows[-1] + 1), float(x + columns[-1] + 1))
    if mask_size is None:
        return box, None
    mask = np.zeros(mask_size, np.uint8)
    top, left = max(y, 0), max(x, 0)
    inside = pixels[top - y : mask_size[0] - y, left - x : mask_size[1] - x] if y < mask_size[0] and x < mask_size[1] else pixels[:0, :0]
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return box, mask


def _box_of(points: Sequence[Point]) -> PixelBox:
    x, y = zip(*points, strict=True)
    return PixelBox(min(y), min(x), max(y), max(x))


def _fill(points: Sequence[Point], mask_size: Size | None) -> np.ndarray | None:
    return None if mask_size is None else polygons_to_mask([[value for point in points for value in point]], mask_size)


def _is_point(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    return all(isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < _LARGEST for each in value)


_SHAPES: Mapping[str, Callable[[Sequence[Point], Mapping[str, Any], Size | None], Shape]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _oriented_rectangle,
    "circle": _circle,
    "mask": _mask,
}
