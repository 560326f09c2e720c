"""Pictures inside the page: a small JPEG as a data URI, and the boxes over it as SVG: sharp at any size, named under the pointer."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from object_detection_ext.errors import InputError
from object_detection_ext.report.axes import drawing, fitted, text_width
from object_detection_ext.report.page import Markup, element, joined, shortened

_VIEW = 320.0  # width of a picture in its own units: about as wide as a phone shows it, so that text has its usual size
_MOST_PIXELS = 100_000_000  # of an image that is decoded; more is a decompression bomb or of no use for training
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")  # not EPS, for which Pillow runs an interpreter
_MOST_ASPECT = 1.6  # a longer picture is shown whole on a ground of this shape
_BEYOND = 0.35  # of the image's size: how far boxes are shown outside of it
_LEAST_BOX = 14.0  # a faulty box that is smaller gets a ring around it
_CAPTION_HEIGHT = 13.0  # of the page's 12-pixel text
_MOST_CAPTIONS = 12  # above, only the largest box of each class bears its name


class Thumbnail(NamedTuple):
    """A reduced image as it stands in the page."""

    uri: str  # data:image/jpeg;base64,...
    width: int  # pixels of the image as it is stored
    height: int


class Box(NamedTuple):
    """A box to draw. Edges are normalised to the image and may be anything: inverted, outside, not finite."""

    y_min: float
    x_min: float
    y_max: float
    x_max: float
    name: str
    color: str  # any colour of CSS
    is_fault: bool = False  # drawn in red, whatever its colour, and last


def thumbnail(encoded: bytes, *, size: int = 320, quality: int = 75) -> Thumbnail:
    """An image file's content as a JPEG of at most `size` pixels; colours as training reads them, no rotation by EXIF.

    Raises:
        InputError: it cannot be decoded, or has more than 100 million pixels.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here, and of odd tags
            with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
                width, height = image.size
                if width * height > _MOST_PIXELS:
                    raise InputError(f"{width} x {height} pixels are too many to show")
                image.draft("RGB", (size, size))  # a large JPEG is decoded at a fraction of its size
                if image.mode.startswith("I"):  # 16 bits: training sees the upper eight
                    small = image.convert("I").point(lambda value: value / 256).convert("RGB")
                else:
                    small = image.convert("RGB")
                small.thumbnail((size, size))
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, ArithmeticError, Image.DecompressionBombError) as error:
        raise InputError(f"the image cannot be decoded ({shortened(str(error) or type(error).__name__)})") from error
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality, optimize=True)
    return Thumbnail(f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}", width, height)


def picture(shown: Thumbnail, boxes: Sequence[Box], *, alt: str) -> Markup:
    """The thumbnail with boxes; where faulty ones leave the image, some of the outside is shown too."""
    view = _view(boxes, shown)
    shapes = [
        element(
            "image", href=shown.uri, x=view.left, y=view.top, width=view.image_width, height=view.image_height, preserveAspectRatio="none"
        )
    ]
    ordered = sorted(boxes, key=lambda box: (box.is_fault, -_area(box)))  # small boxes over large ones, faults over all
    placed = [(box, place) for box in ordered if (place := view.place(box)) is not None]
    for box, place in placed:
        shapes += _outline(box, place)
    named = _with_caption([box for box, _ in placed])
    shapes += [_caption(box, place, view) for box, place in placed if box in named]
    return drawing(joined(*shapes), width=view.width, height=view.height, alt=alt, class_="picture")


class _Place(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class _View:
    """Where the image lies in the drawing, and how large the drawing is."""

    left: float
    top: float
    image_width: float
    image_height: float
    height: float
    width: float = _VIEW

    def place(self, box: Box) -> _Place | None:
        """The box in the drawing, its edges in order and within the view; None where it has no place."""
        if not _is_finite(box):
            return None
        xs = sorted(min(max(self.left + x * self.image_width, 1.0), self.width - 1.0) for x in (box.x_min, box.x_max))
        ys = sorted(min(max(self.top + y * self.image_height, 1.0), self.height - 1.0) for y in (box.y_min, box.y_max))
        return _Place(xs[0], ys[0], xs[1], ys[1])


def _view(boxes: Sequence[Box], shown: Thumbnail) -> _View:
    """The image as wide as the drawing, less what faulty boxes need beside it; a very long image is narrower."""
    faults = [box for box in boxes if box.is_fault and _is_finite(box)]
    before_x = _room([-min(box.x_min, box.x_max) for box in faults])
    after_x = _room([max(box.x_min, box.x_max) - 1 for box in faults])
    before_y = _room([-min(box.y_min, box.y_max) for box in faults])
    after_y = _room([max(box.y_min, box.y_max) - 1 for box in faults])
    wide, high = 1 + before_x + after_x, 1 + before_y + after_y  # of the view, in sizes of the image
    width = _VIEW / wide
    height = min(width * shown.height / shown.width, _MOST_ASPECT * _VIEW / high)
    width, height = max(height * shown.width / shown.height, 1.0), max(height, 1.0)
    width = min(width, _VIEW / wide)
    return _View((_VIEW - width * wide) / 2 + before_x * width, before_y * height, width, height, high * height)


def _is_finite(box: Box) -> bool:
    return all(map(math.isfinite, box[:4]))


def _room(beyond: Sequence[float]) -> float:
    """How much of the outside to show, in sizes of the image."""
    most = max(beyond, default=0.0)
    return min(most + 0.04, _BEYOND) if most > 0.002 else 0.0


def _area(box: Box) -> float:
    return abs((box.y_max - box.y_min) * (box.x_max - box.x_min)) if _is_finite(box) else 0.0


def _outline(box: Box, place: _Place) -> list[Markup]:
    width, height = place.right - place.left, place.bottom - place.top
    style = "box fault" if box.is_fault else "box"
    color = None if box.is_fault else box.color
    shape = {"x": place.left, "y": place.top, "width": max(width, 0.5), "height": max(height, 0.5)}
    outline = element("rect", element("title", shortened(box.name)), class_=style, stroke=color, **shape)
    if not box.is_fault:
        return [outline]
    shapes = [element("rect", class_="halo", **shape), outline]
    if max(width, height) < _LEAST_BOX:
        ring = {"cx": (place.left + place.right) / 2, "cy": (place.top + place.bottom) / 2, "r": _LEAST_BOX}
        shapes[1:1] = [element("circle", class_="halo", **ring), element("circle", class_="box fault", **ring)]
    return shapes


def _with_caption(boxes: Sequence[Box]) -> set[Box]:
    """The boxes, largest first, that bear their name: faults where there are any; else all of a few, of many the largest a name."""
    faults = [box for box in boxes if box.is_fault]
    if faults or len(boxes) <= _MOST_CAPTIONS:
        return set((faults or boxes)[:_MOST_CAPTIONS])
    largest: dict[str, Box] = {}
    for box in boxes:
        largest.setdefault(box.name, box)
    return set(list(largest.values())[:_MOST_CAPTIONS])


def _caption(box: Box, place: _Place, view: _View) -> Markup:
    """The name above the box, below its upper edge where the picture ends there; it starts at the left edge, or ends at the right one."""
    text = fitted(box.name, 0.6 * view.width)
    width = text_width(text)
    y = place.top - 4 if place.top >= _CAPTION_HEIGHT + 4 else min(place.top + _CAPTION_HEIGHT, view.height - 4)
    if place.left + width <= view.width:
        return element("text", text, x=place.left + 1, y=y)
    return element("text", text, class_="end", x=max(place.right - 1, min(width, view.width - 2)), y=y)
