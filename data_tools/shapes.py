"""Draws the synthetic detection set `shapes`: circles, squares and triangles that partly cover each other on textured backgrounds.

Every image is a pure function of (seed, index), so sets of different seeds share no image and any part of a set can be drawn alone.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data_tools.annotated_image import PixelBox

CLASSES = ("circle", "square", "triangle")

_SUPERSAMPLING = 3  # polygons are drawn this much larger and averaged, for smooth edges
_PLACEMENT_TRIES = 12
_INSET = 0.88  # the fill's size inside the darker rim


class ShapeObject(NamedTuple):
    """One visible object."""

    class_text: str
    box: PixelBox  # of the visible pixels, edges from 0
    area: int  # visible pixels
    visible_fraction: float  # of its pixels, not covered by later objects


class ShapesImage(NamedTuple):
    """One drawn image."""

    pixels: np.ndarray  # [image_size, image_size, 3] uint8
    objects: tuple[ShapeObject, ...]


class _Patch(NamedTuple):
    """A drawn shape, cut to its extent."""

    alpha: np.ndarray  # [h, w] float32, 1 inside
    colors: np.ndarray  # [h, w, 3] float32, 0 to 255


@dataclass(frozen=True)
class ShapesGenerator:
    """Draws image `index` of a set.

    Attributes:
        image_size: side in pixels.
        max_objects: each image holds one to so many, fewer where no place is left.
        min_size: the smallest object's longer side, as a fraction of the image's.
        max_size: the largest's; sizes between are log-uniform.
        min_visible: no object is covered by others beyond this visible fraction of its area.
    """

    seed: int
    image_size: int = 320
    max_objects: int = 8
    min_size: float = 0.1
    max_size: float = 0.45
    min_visible: float = 0.6

    def __post_init__(self) -> None:
        if self.image_size < 32:
            raise ValueError(f"image_size must be at least 32 pixels, got {self.image_size}")
        if not 0 < self.min_size <= self.max_size <= 0.9:
            raise ValueError(f"sizes must satisfy 0 < min_size <= max_size <= 0.9, got {self.min_size} and {self.max_size}")

    def __call__(self, index: int) -> ShapesImage:
        """The image and its objects, in drawing order: later ones cover earlier ones."""
        rng = np.random.default_rng((self.seed, index))
        canvas = _draw_background(rng, self.image_size)
        owner = np.full((self.image_size, self.image_size), -1, np.int16)  # which object a pixel shows
        classes: list[str] = []
        areas = np.zeros(0, np.int64)  # pixels drawn, per object
        visible = np.zeros(0, np.int64)  # of these, not covered
        for _ in range(rng.integers(1, self.max_objects + 1)):
            class_text = CLASSES[rng.integers(len(CLASSES))]
            size = self.image_size * self.min_size * (self.max_size / self.min_size) ** rng.random()
            patch = _draw_shape(rng, class_text, size)
            mask = patch.alpha >= 0.5
            place = self._find_place(rng, mask, owner, visible - self.min_visible * areas)
            if place is None:
                continue
            _paste(canvas, patch, place, size)
            area = np.count_nonzero(mask)
            visible = np.append(visible - _covered(owner, place, mask, len(classes)), area)
            areas = np.append(areas, area)
            owner[place][mask] = len(classes)
            classes.append(class_text)
        pixels = np.clip(canvas, 0, 255).astype(np.uint8)
        return ShapesImage(pixels, tuple(_measure(owner, i, name, int(areas[i])) for i, name in enumerate(classes)))

    def _find_place(self, rng: np.random.Generator, mask: np.ndarray, owner: np.ndarray, spare: np.ndarray) -> tuple[slice, slice] | None:
        """A window where the mask covers at most `spare` pixels of every earlier object; None after several tries."""
        height, width = mask.shape
        for _ in range(_PLACEMENT_TRIES):
            top = int(rng.integers(self.image_size - height + 1))
            left = int(rng.integers(self.image_size - width + 1))
            window = (slice(top, top + height), slice(left, left + width))
            if np.all(_covered(owner, window, mask, len(spare)) <= spare):
                return window
        return None


def _covered(owner: np.ndarray, window: tuple[slice, slice], mask: np.ndarray, num_objects: int) -> np.ndarray:
    """How many visible pixels of every object a mask at `window` would cover: [num_objects] int64."""
    return np.bincount(owner[window][mask] + 1, minlength=num_objects + 1)[1:]


def _measure(owner: np.ndarray, index: int, class_text: str, drawn: int) -> ShapeObject:
    shown = owner == index
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    box = PixelBox(float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1))
    area = int(np.count_nonzero(shown))
    return ShapeObject(class_text, box, area, area / drawn)


def _draw_shape(rng: np.random.Generator, class_text: str, size: float) -> _Patch:
    """A shape whose longer side is `size` pixels, turned, a little stretched, with rim, shading and sometimes stripes."""
    outline = _outline(rng, class_text)
    outline -= outline.min(axis=0)
    outline *= size / outline.max()
    extent = outline.max(axis=0)  # width, height
    width, height = (max(math.ceil(side - 1e-6), 2) for side in extent)
    alpha = _fill(outline, width, height)
    inside = _fill(extent / 2 + (outline - extent / 2) * _INSET, width, height)

    color = 255 * np.asarray(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.6, 1.0), rng.uniform(0.65, 1.0)), np.float32)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    direction = rng.uniform(0, 2 * math.pi)
    ramp = x * math.cos(direction) + y * math.sin(direction)  # [h, w]
    light = 1 + 0.18 * ramp
    if rng.random() < 0.25:
        light += 0.12 * np.sign(np.sin(ramp * rng.uniform(6, 12)))
    light *= 0.55 + 0.45 * inside  # the rim is darker
    return _Patch(alpha, color * light[..., None])


def _outline(rng: np.random.Generator, class_text: str) -> np.ndarray:
    """Corner points [n, 2] (x, y), not yet scaled."""
    corners = {"circle": 48, "square": 4, "triangle": 3}[class_text]
    angles = 2 * np.pi * np.arange(corners) / corners + (np.pi / 4 if class_text == "square" else 0)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [1, rng.uniform(0.85, 1 / 0.85)]
    turn = rng.uniform(0, 2 * math.pi)
    return points @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])


def _fill(outline: np.ndarray, width: int, height: int) -> np.ndarray:
    """Coverage [height, width] float32 of a polygon given in pixels."""
    mask = Image.new("L", (width * _SUPERSAMPLING, height * _SUPERSAMPLING))
    ImageDraw.Draw(mask).polygon((outline * _SUPERSAMPLING).ravel().tolist(), fill=255)
    return np.asarray(mask.reduce(_SUPERSAMPLING), np.float32) / 255


def _paste(canvas: np.ndarray, patch: _Patch, place: tuple[slice, slice], size: float) -> None:
    """Blends a shape and its soft shadow into the canvas, in place."""
    offset = max(round(size * 0.05), 1)
    height, width = patch.alpha.shape
    shadow = Image.new("L", (width + 2 * offset, height + 2 * offset))
    shadow.paste(Image.fromarray((patch.alpha * 90).astype(np.uint8)), (offset, offset))
    dark = 1 - np.asarray(shadow.filter(ImageFilter.BoxBlur(offset)), np.float32)[..., None] / 255
    area = canvas[place[0].start : place[0].start + dark.shape[0], place[1].start : place[1].start + dark.shape[1]]
    area *= dark[: area.shape[0], : area.shape[1]]
    target = canvas[place]
    target += patch.alpha[..., None] * (patch.colors - target)


def _draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Two muted colours mixed by cloudy noise and stripes, scratches, and grain: [size, size, 3] float32, about 0 to 255."""
    mix = np.zeros((size, size), np.float32)
    for cells, weight in ((3, 0.5), (9, 0.3), (31, 0.2)):
        noise = Image.fromarray(rng.integers(256, size=(cells, cells), dtype=np.uint8))
        mix += weight * np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC), np.float32)
    if rng.random() < 0.5:
        x, y = np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32)[:, None]
        direction, period = rng.uniform(0, math.pi), rng.uniform(10, 60)
        mix += rng.uniform(12, 50) * np.sin((x * math.cos(direction) + y * math.sin(direction)) * (2 * math.pi / period))
    ends = 255 * np.asarray([colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.35), value) for value in rng.uniform(0.25, 0.9, 2)])
    palette = (ends[0] + np.linspace(0, 1, 256)[:, None] * (ends[1] - ends[0])).astype(np.uint8)  # [256, 3]
    indices = Image.fromarray(np.clip(mix, 0, 255).astype(np.uint8))
    indices.putpalette(palette.tobytes())
    image = indices.convert("RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 8)):
        color = (ends.mean(axis=0) * rng.uniform(0.6, 1.3)).astype(int).tolist()
        draw.line(rng.uniform(0, size, 4).tolist(), fill=tuple(color), width=int(rng.integers(1, 4)))
    grain = rng.integers(-9, 10, (size, size, 1), dtype=np.int8)
    return np.asarray(image, np.float32) + grain
