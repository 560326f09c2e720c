"""Boxes, labels and scores on pictures, with Pillow. Images are `[H, W, 3]` uint8 RGB arrays; boxes are pixels of the image drawn on."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
_GOLDEN_RATIO = (5**0.5 - 1) / 2  # steps of this size around the colour circle keep any number of hues apart


class _Mark(NamedTuple):
    box: tuple[float, float, float, float]  # left, top, right, bottom: Pillow's order
    caption: str
    color: Color


def class_color(class_id: int) -> Color:
    """The colour of a class: always the same, and neighbouring ids far apart in hue."""
    hue = (class_id * _GOLDEN_RATIO) % 1.0
    saturation, value = ((0.85, 1.0), (0.65, 0.9), (1.0, 0.75))[class_id % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    *,
    class_ids: Sequence[int] | np.ndarray,
    names: Mapping[int, str],
    scores: Sequence[float] | np.ndarray | None = None,
    min_score: float = 0.0,
    max_boxes: int | None = None,
) -> np.ndarray:
    """A copy of the image with its boxes; text and lines grow with the image, and the text stays inside it.

    Args:
        image: `[H, W, 3]` uint8.
        boxes: `[N, 4]` `[y_min, x_min, y_max, x_max]`, pixels. Boxes outside of the image, empty ones and NaN are not drawn.
        class_ids: `[N]` label ids.
        names: label id to name; an id without a name is shown as a number.
        scores: `[N]`, shown in percent; None for ground truth.
        min_score: boxes with a lower score are not drawn.
        max_boxes: only so many of the best boxes (the first ones, where there are no scores).

    Returns:
        `[H, W, 3]` uint8.

    Raises:
        ValueError: if the image is not `[H, W, 3]` uint8, or boxes, classes and scores differ in number.
    """
    _check_image(image)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    values = np.ones(len(boxes)) if scores is None else np.asarray(scores, np.float64)
    if not len(boxes) == len(class_ids) == len(values):
        raise ValueError(f"boxes, class_ids and scores must be of one length, got {len(boxes)}, {len(class_ids)} and {len(values)}")
    picture = Image.fromarray(image)
    order = [int(i) for i in np.argsort(-values, kind="stable") if values[i] >= min_score][:max_boxes]
    marks = []
    for i in reversed(order):  # the best on top
        class_id = int(class_ids[i])
        name = names.get(class_id, str(class_id))
        box = _clipped(boxes[i], picture.size)
        if box is not None:
            marks.append(_Mark(box, name if scores is None else f"{name} {values[i]:.0%}", class_color(class_id)))
    _draw(picture, marks)
    return np.array(picture)


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures of one size in one: detections left, ground truth right in TensorBoard. Returns `[H, 2 W, 3]` uint8."""
    _check_image(left)
    _check_image(right)
    return np.concatenate([left, right], axis=1)


def picture_grid(images: Sequence[np.ndarray], columns: int, *, cell_size: int = 320, gap: int = 6) -> np.ndarray:
    """Pictures of any sizes in rows, on white.

    Args:
        images: `[H, W, 3]` uint8 each.
        columns: pictures a row; a single, shorter row is as wide as its pictures.
        cell_size: each picture is scaled to fit into a square of so many pixels.
        gap: pixels between the pictures and around them.

    Returns:
        `[height, width, 3]` uint8.

    Raises:
        ValueError: if there is no image, or `columns` or `cell_size` is not positive.
    """
    if not images or columns < 1 or cell_size < 1:
        raise ValueError(f"images, columns and cell_size must be at least one, got {len(images)}, {columns} and {cell_size}")
    pictures = [_fitted(image, cell_size) for image in images]
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    width = gap + min(columns, len(pictures)) * (cell_size + gap)
    height = gap + sum(max(picture.height for picture in row) + gap for row in rows)
    grid = Image.new("RGB", (width, height), "white")
    top = gap
    for row in rows:
        row_height = max(picture.height for picture in row)
        for column, picture in enumerate(row):
            left = gap + column * (cell_size + gap)
            grid.paste(picture, (left + (cell_size - picture.width) // 2, top + (row_height - picture.height) // 2))
        top += row_height + gap
    return np.array(grid)


def _check_image(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(f"image must be [height, width, 3] uint8, got {list(image.shape)} {image.dtype}")


def _clipped(box: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """The part of the box inside the image, in Pillow's order and as coordinates of pixels that exist; None where nothing is left."""
    if not np.isfinite(box).all():
        return None
    width, height = size
    top, left, bottom, right = (float(value) for value in box)
    top, bottom = max(top, 0.0), min(bottom, float(height))
    left, right = max(left, 0.0), min(right, float(width))
    if right <= left or bottom <= top:
        return None
    return min(left, width - 1), min(top, height - 1), max(left, right - 1), max(top, bottom - 1)


def _draw(picture: Image.Image, marks: Sequence[_Mark]) -> None:
    canvas = ImageDraw.Draw(picture)
    longest = max(picture.size)
    line_width = max(1, round(longest / 200))
    for mark in marks:
        canvas.rectangle(mark.box, outline=mark.color, width=line_width)
    font = ImageFont.load_default(max(10, round(longest / 36)))
    for mark in marks:  # after all boxes: no line crosses a text
        _draw_caption(canvas, mark, font=font, size=picture.size)


def _draw_caption(
    canvas: ImageDraw.ImageDraw, mark: _Mark, *, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, size: tuple[int, int]
) -> None:
    """The caption on a plate above the box; where the image ends there, inside the box; moved left where it would leave the image."""
    caption, padding = mark.caption, 2
    while len(caption) > 1 and canvas.textlength(caption, font) > size[0] - 2 * padding:
        caption = caption.removesuffix("…")[:-1] + "…"
    ink = canvas.textbbox((0, 0), "Ag" + caption, font)  # the same height for every caption
    plate_width = canvas.textlength(caption, font) + 2 * padding
    plate_height = ink[3] - ink[1] + 2 * padding
    left = max(0.0, min(mark.box[0], size[0] - plate_width))
    top = mark.box[1] - plate_height if mark.box[1] >= plate_height else min(mark.box[1], max(0.0, size[1] - plate_height))
    canvas.rectangle((left, top, left + plate_width - 1, top + plate_height - 1), fill=mark.color)
    red, green, blue = mark.color
    is_bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140  # luma of ITU-R BT.601
    canvas.text((left + padding, top + padding - ink[1]), caption, fill="black" if is_bright else "white", font=font)


def _fitted(image: np.ndarray, cell_size: int) -> Image.Image:
    _check_image(image)
    picture = Image.fromarray(image)
    scale = cell_size / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
