"""EXIF orientation: what has to be turned so that the stored pixels are the picture that people look at.

Training ignores EXIF, so a record's pixels must stand upright. Whether an annotation belongs to the stored or to the displayed pixels is
told by its size where the two differ, and by nothing where they do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox
from data_tools.image_header import ImageHeader
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    import numpy as np

ExifBoxes = Literal["auto", "displayed", "stored"]

_MAX_ASPECT_PARTS = 100  # an annotation of the same picture at another size has its aspect ratio up to rounding: a hundredth


class Turn(NamedTuple):
    """What an orientation does to a pixel of the stored image, in this order."""

    transpose: bool
    mirror_x: bool
    mirror_y: bool


# EXIF 2.32, table 4 says where the stored first row and first column are displayed; 6 is "row right, column top", a phone held upright.
TURNS = {
    1: Turn(transpose=False, mirror_x=False, mirror_y=False),
    2: Turn(transpose=False, mirror_x=True, mirror_y=False),
    3: Turn(transpose=False, mirror_x=True, mirror_y=True),
    4: Turn(transpose=False, mirror_x=False, mirror_y=True),
    5: Turn(transpose=True, mirror_x=False, mirror_y=False),
    6: Turn(transpose=True, mirror_x=True, mirror_y=False),
    7: Turn(transpose=True, mirror_x=True, mirror_y=True),
    8: Turn(transpose=True, mirror_x=False, mirror_y=True),
}


def displayed_size(header: ImageHeader) -> tuple[int, int]:
    """Height and width of the picture as people see it."""
    return (header.width, header.height) if TURNS[header.orientation].transpose else (header.height, header.width)


def turn_annotation(annotated: AnnotatedImage, header: ImageHeader, exif_boxes: ExifBoxes) -> AnnotatedImage:
    """The annotation of the displayed picture: itself, or turned where it was made on the stored pixels.

    Args:
        annotated: of an image with an orientation other than 1.
        header: of that image.
        exif_boxes: which pixels the annotation belongs to; "auto" goes by its size.

    Raises:
        InputError: with "auto", the size does not tell.
    """
    if exif_boxes == "auto":
        if not annotated.objects:
            return annotated._replace(size=None)
        exif_boxes = _annotated_pixels(annotated, header)
    if exif_boxes == "displayed":
        return annotated
    turn, (height, width) = TURNS[header.orientation], annotated.size or (header.height, header.width)
    size = annotated.size and ((width, height) if turn.transpose else (height, width))
    extent = (1, 1) if annotated.has_relative_boxes else (height, width)
    return annotated._replace(size=size, objects=tuple([_turn_object(item, turn, extent) for item in annotated.objects]))


def _annotated_pixels(annotated: AnnotatedImage, header: ImageHeader) -> Literal["displayed", "stored"]:
    stored, displayed = (header.height, header.width), displayed_size(header)
    if annotated.size is None:
        reason = "its annotation gives no size"
    elif stored == displayed:
        reason = f"the image is {header.width}x{header.height} either way"
    elif annotated.size in (stored, displayed):
        return "stored" if annotated.size == stored else "displayed"
    else:
        is_like = [is_same_shape(annotated.size, size) for size in (stored, displayed)]
        if is_like[0] != is_like[1]:
            return "stored" if is_like[0] else "displayed"
        reason = f"the annotation says {annotated.size[1]}x{annotated.size[0]}, the image has {header.width}x{header.height} pixels"
    raise InputError(
        f"{annotated.where}: {annotated.path} has EXIF orientation {header.orientation}, and whether its boxes were drawn on the displayed "
        f"or on the stored pixels cannot be told: {reason}; say --exif_boxes=displayed or --exif_boxes=stored"
    )


def is_same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have the same aspect ratio, up to rounding."""
    ours, theirs = size[1] * other[0], size[0] * other[1]
    return abs(ours - theirs) * _MAX_ASPECT_PARTS < theirs  # in whole numbers: an annotation may say any


def _turn_object(item: AnnotatedObject, turn: Turn, extent: tuple[float, float]) -> AnnotatedObject:
    y_1, x_1 = _turn_point(item.box.y_min, item.box.x_min, turn, extent)
    y_2, x_2 = _turn_point(item.box.y_max, item.box.x_max, turn, extent)
    # Mirroring swaps the edges; a box that was inverted stays so, to be found later.
    y_min, y_max = (y_2, y_1) if turn.mirror_y else (y_1, y_2)
    x_min, x_max = (x_2, x_1) if turn.mirror_x else (x_1, x_2)
    keypoints = []
    for point in item.keypoints:
        if point.visibility:  # a point that nobody labelled stays at (0, 0)
            y, x = _turn_point(point.y, point.x, turn, extent)
            point = point._replace(y=y, x=x)
        keypoints.append(point)
    mask = None if item.mask is None else _turn_mask(item.mask, turn)
    return item._replace(box=PixelBox(y_min, x_min, y_max, x_max), keypoints=tuple(keypoints), mask=mask)


def _turn_point(y: float, x: float, turn: Turn, extent: tuple[float, float]) -> tuple[float, float]:
    height, width = extent
    if turn.transpose:
        y, x, height, width = x, y, width, height
    return height - y if turn.mirror_y else y, width - x if turn.mirror_x else x


def _turn_mask(mask: np.ndarray, turn: Turn) -> np.ndarray:
    mask = mask.T if turn.transpose else mask
    mask = mask[:, ::-1] if turn.mirror_x else mask
    return mask[::-1] if turn.mirror_y else mask
