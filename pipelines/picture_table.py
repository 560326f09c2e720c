"""A table of pictures with boxes and captions, under a title. Pillow only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from object_detection_ext.drawing import draw_boxes

_LEAST_SIZE = 300  # pixels of the largest picture's longer side, so that captions can be read
_GAP = 10
_TEXT, _TITLE = 13, 16  # sizes of the fonts
_LINE = 1.35  # height of a line of text, in sizes of its font
_PAGE = (224, 224, 224)  # so that white parts of a picture are seen to belong to it

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class View(NamedTuple):
    """An image with its boxes."""

    pixels: np.ndarray  # [H, W, 3] uint8
    boxes: np.ndarray  # [N, 4] float32, normalised to the image
    class_ids: np.ndarray  # [N] int, label-map ids


class Cell(NamedTuple):
    """A picture and the lines above it."""

    view: View
    caption: Sequence[str]


def draw_table(
    rows: Sequence[Sequence[Cell]], *, names: Mapping[int, str], title: Sequence[str], max_size: int | None = None
) -> np.ndarray:
    """The pictures in rows, with their captions.

    Where the largest has less than 300 pixels, all pixels are repeated until it has.

    Args:
        rows: they may differ in length.
        names: label id -> name.
        title: lines; wrapped where they are too long.
        max_size: pictures with more pixels, in height or width, are scaled down to so many.

    Returns:
        `[height, width, 3]` uint8.
    """
    longest = max(max(cell.view.pixels.shape[:2]) for row in rows for cell in row)
    repeats = -(-_LEAST_SIZE // longest)
    drawn = [[_draw(cell, names, repeats=repeats, max_size=max_size or longest * repeats) for cell in row] for row in rows]
    widths = [max(row[column].width for row in drawn if column < len(row)) for column in range(max(map(len, drawn)))]
    width = _GAP + sum(column + _GAP for column in widths)
    font = ImageFont.load_default(_TITLE)
    lines = [part for line in title for part in _wrapped(line, font, width - 2 * _GAP)]
    top = 2 * _GAP + round(len(lines) * _TITLE * _LINE)
    table = Image.new("RGB", (width, top + sum(max(picture.height for picture in row) + _GAP for row in drawn)), _PAGE)
    _write(ImageDraw.Draw(table), lines, font, size=_TITLE, left=_GAP, top=_GAP)
    for row in drawn:
        left = _GAP
        for picture, column in zip(row, widths, strict=False):
            table.paste(picture, (left, top))
            left += column + _GAP
        top += max(picture.height for picture in row) + _GAP
    return np.array(table)


def _draw(cell: Cell, names: Mapping[int, str], *, repeats: int, max_size: int) -> Image.Image:
    pixels = cell.view.pixels.repeat(repeats, axis=0).repeat(repeats, axis=1)
    if max(pixels.shape[:2]) > max_size:
        shrunk = Image.fromarray(pixels)
        shrunk.thumbnail((max_size, max_size), Image.Resampling.LANCZOS)
        pixels = np.array(shrunk)
    boxes = cell.view.boxes * np.tile(pixels.shape[:2], 2)
    picture = Image.fromarray(draw_boxes(pixels, boxes, class_ids=cell.view.class_ids, names=names))
    font = ImageFont.load_default(_TEXT)
    width = max(picture.width, _LEAST_SIZE // 2)
    lines = [part for line in cell.caption for part in _wrapped(line, font, width)]
    text_height = round(len(lines) * _TEXT * _LINE) + 2
    drawn = Image.new("RGB", (width, text_height + picture.height), _PAGE)
    _write(ImageDraw.Draw(drawn), lines, font, size=_TEXT, left=0, top=0)
    drawn.paste(picture, (0, text_height))
    return drawn


def _write(canvas: ImageDraw.ImageDraw, lines: Sequence[str], font: _Font, *, size: int, left: int, top: int) -> None:
    for number, line in enumerate(lines):
        canvas.text((left, top + round(number * size * _LINE)), line, fill="black", font=font)


def _wrapped(text: str, font: _Font, width: int) -> list[str]:
    """The text in lines of at most `width` pixels; a word that is longer stays whole."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
