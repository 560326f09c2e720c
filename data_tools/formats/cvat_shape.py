"""The shapes of a CVAT file that have an extent: their boxes and masks. All numbers are pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from data_tools.annotated_image import Keypoint, PixelBox
from data_tools.formats.cvat_file import Element
from data_tools.masks import LARGEST_MASK, check_mask_size, polygons_to_mask, runs_to_pixels
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

WITHOUT_EXTENT = frozenset(("points", "polyline", "tag"))

_LARGEST = 1e30  # beyond any coordinate, and within float32

Size = tuple[int, int]  # height, width


class Shape(NamedTuple):
    """What one element draws."""

    box: PixelBox
    mask: np.ndarray | None = None  # uint8 [height, width], where masks were asked for and the shape has one
    keypoints: tuple[Keypoint, ...] = ()
    is_rotated: bool = False  # the box is the one around a rotated one


def read_shape(element: Element, mask_size: Size | None) -> Shape:
    """The shape of an element; `mask_size` asks for a mask, which upright boxes, cuboids and skeletons do not have.

    Raises:
        InputError: the element is not known, or its attributes are not what it has.
    """
    if element.tag not in _SHAPES:
        known = ", ".join([*_SHAPES, *sorted(WITHOUT_EXTENT)])
        raise InputError(f"<{element.tag}> is not known; known are {known}")
    if mask_size is not None:
        check_mask_size(mask_size)
    return _SHAPES[element.tag](element, mask_size)


def read_points(element: Element) -> Shape:
    """The points of <points>, as keypoints that are named by their place from 1, and the box around them.

    Raises:
        InputError: `points` is not what it must be.
    """
    points = _points(element)
    is_hidden = flag(element, "occluded")
    keypoints = tuple(Keypoint(str(index), y, x, 1 if is_hidden else 2) for index, (x, y) in enumerate(points, start=1))
    return Shape(_box_around(points), keypoints=keypoints)


def flag(element: Element, name: str) -> bool:
    """An attribute that is 0 or 1, and 0 where it is absent."""
    text = element.attributes.get(name, "0")
    if text not in ("0", "1"):
        raise InputError(f"{name} must be 0 or 1, got {text!r}")
    return text == "1"


def _box(element: Element, mask_size: Size | None) -> Shape:
    x_min, y_min, x_max, y_max = (_number(element, name) for name in ("xtl", "ytl", "xbr", "ybr"))
    angle = _angle(element)
    if not angle:
        return Shape(PixelBox(y_min, x_min, y_max, x_max))
    x, y, cosine, sine = (x_min + x_max) / 2, (y_min + y_max) / 2, math.cos(angle), math.sin(angle)
    half_width, half_height = (x_max - x_min) / 2, (y_max - y_min) / 2
    right, down = (half_width * abs(cosine) + half_height * abs(sine)), (half_width * abs(sine) + half_height * abs(cosine))
    box = PixelBox(y - down, x - right, y + down, x + right)
    if mask_size is None:
        return Shape(box, is_rotated=True)
    corners = [(side * half_width, edge * half_height) for side, edge in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    turned = [(x + along * cosine - across * sine, y + along * sine + across * cosine) for along, across in corners]
    return Shape(box, polygons_to_mask([[value for corner in turned for value in corner]], mask_size), is_rotated=True)


def _polygon(element: Element, mask_size: Size | None) -> Shape:
    points = _points(element)
    if len(points) < 3:
        raise InputError(f"a polygon has three points or more, got {len(points)}")
    mask = None if mask_size is None else polygons_to_mask([[value for point in points for value in point]], mask_size)
    return Shape(_box_around(points), mask)


def _ellipse(element: Element, mask_size: Size | None) -> Shape:
    x, y, radius_x, radius_y = (_number(element, name) for name in ("cx", "cy", "rx", "ry"))
    cosine, sine = math.cos(_angle(element)), math.sin(_angle(element))
    half_width, half_height = math.hypot(radius_x * cosine, radius_y * sine), math.hypot(radius_x * sine, radius_y * cosine)
    box = PixelBox(y - half_height, x - half_width, y + half_height, x + half_width)
    if mask_size is None:
        return Shape(box)
    if radius_x <= 0 or radius_y <= 0:
        raise InputError(f"rx and ry must be positive, got {radius_x:g} and {radius_y:g}")
    import numpy as np

    rows, columns = np.ogrid[: mask_size[0], : mask_size[1]]  # pixel (0, 0) has its centre at (0.5, 0.5)
    down, right = rows + 0.5 - y, columns + 0.5 - x
    along, across = (right * cosine + down * sine) / radius_x, (down * cosine - right * sine) / radius_y
    return Shape(box, (along**2 + across**2 <= 1).astype(np.uint8))


def _cuboid(element: Element, _: Size | None) -> Shape:
    corners = [(f"x{corner}", f"y{corner}") for corner in ("tl1", "bl1", "tr1", "br1", "tl2", "bl2", "tr2", "br2")]
    return Shape(_box_around([(_number(element, x), _number(element, y)) for x, y in corners]))


def _mask(element: Element, mask_size: Size | None) -> Shape:
    """A run-length code of the pixels in a box, row by row, of 0 first."""
    left, top, width, height = (_whole_number(element, name) for name in ("left", "top", "width", "height"))
    if width < 1 or height < 1 or width * height > LARGEST_MASK:
        raise InputError(f"a mask of {width}x{height} pixels; it must have from 1 to {LARGEST_MASK:,}")
    box = PixelBox(top, left, top + height, left + width)
    if mask_size is None:
        return Shape(box)
    import numpy as np

    texts = element.attributes.get("rle", "").split(",")
    if not all(text.strip().isdecimal() and len(text) < 16 for text in texts):
        raise InputError("rle must be run lengths, whole numbers with commas between")
    pixels = runs_to_pixels([int(text) for text in texts], width * height).reshape(height, width)
    mask = np.zeros(mask_size, np.uint8)
    if left >= mask_size[1] or top >= mask_size[0]:
        return Shape(box, mask)
    x, y = max(left, 0), max(top, 0)
    inside = pixels[y - top : mask_size[0] - top, x - left : mask_size[1] - left]
    mask[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return Shape(box, mask)


def _skeleton(element: Element, _: Size | None) -> Shape:
    """Points with names; those outside the image are not labelled. The box is the one around the others."""
    keypoints = []
    for child in element.children:
        if child.tag != "points":
            continue
        name, points = child.attributes.get("label", ""), _points(child)
        if not name or len(points) != 1:
            raise InputError(f"line {child.line}: a skeleton's <points> has a label and one point, got {name!r} and {len(points)} points")
        x, y = points[0]
        visibility = 0 if flag(child, "outside") else 1 if flag(child, "occluded") else 2
        keypoints.append(Keypoint(name, y, x, visibility) if visibility else Keypoint(name, 0.0, 0.0, 0))
    labelled = [(point.x, point.y) for point in keypoints if point.visibility]
    if not labelled:
        raise InputError("a skeleton needs a point inside the image")
    return Shape(_box_around(labelled), keypoints=tuple(keypoints))


def _points(element: Element) -> list[tuple[float, float]]:
    """`points="x,y;x,y"`."""
    points = []
    for text in element.attributes.get("points", "").split(";"):
        x, comma, y = text.partition(",")
        if not comma:
            raise InputError(f"points must be x,y;x,y and so on, got {text[:40]!r}")
        points.append((_parse(x, "points"), _parse(y, "points")))
    return points


def _box_around(points: list[tuple[float, float]]) -> PixelBox:
    x, y = zip(*points, strict=True)
    return PixelBox(min(y), min(x), max(y), max(x))


def _angle(element: Element) -> float:
    """`rotation` in radians; clockwise, as y goes down."""
    return math.radians(_parse(element.attributes.get("rotation", "0"), "rotation") % 360)


def _whole_number(element: Element, name: str) -> int:
    value = _number(element, name)
    if not value.is_integer():
        raise InputError(f"{name} must be a whole number, got {value:g}")
    return int(value)


def _number(element: Element, name: str) -> float:
    text = element.attributes.get(name)
    if text is None:
        raise InputError(f"<{element.tag}> has no {name}")
    return _parse(text, name)


def _parse(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < _LARGEST:
        raise InputError(f"{name} must be a number, got {text[:40]!r}")
    return value


_SHAPES: Mapping[str, Callable[[Element, Size | None], Shape]] = {
    "box": _box,
    "polygon": _polygon,
    "ellipse": _ellipse,
    "cuboid": _cuboid,
    "mask": _mask,
    "skeleton": _skeleton,
}
