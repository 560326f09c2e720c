"""The boxes of one image: broken, outside, too small to be learnt, given twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from object_detection_ext.findings import Check, Finding, RecordPlace, Severity

NAN_BOX = Check(
    "nan_box",
    Severity.ERROR,
    "a coordinate that is not finite",
    "correct the annotation, or let --fix drop the box",
)
INVERTED_BOX = Check(
    "inverted_box",
    Severity.ERROR,
    "a minimum above its maximum",
    "correct the annotation (are x and y, or minimum and size, exchanged?), or let --fix drop the box",
)
PIXEL_BOX = Check(
    "pixel_box",
    Severity.ERROR,
    "coordinates in pixels: far above 1, where a share of height and width belongs",
    "divide by the image's height and width when the records are written, or let --fix do it",
)
EMPTY_BOX = Check(
    "empty_box",
    Severity.WARNING,
    "a box without height or width: it has no logarithm, and its anchor learns a size near 1e-8",
    "correct the annotation, or let --fix drop the box",
)
OUTSIDE_BOX = Check(
    "outside_box",
    Severity.WARNING,
    "a box that leaves the image, wholly or in part",
    "correct the annotation, or let --fix clip the box (and drop it where nothing is left)",
)
TINY_BOX = Check(
    "tiny_box",
    Severity.WARNING,
    "a box narrower or lower than 4 pixels of the network's input (of the stored image without a config): a quarter of the finest cell",
    "raise the input size, cut photos into tiles, or leave such objects out of what is expected",
)
DOUBLE_BOX = Check(
    "double_box",
    Severity.WARNING,
    "the same box with the same class twice in an image",
    "remove one, or let --fix do it",
)
CHECKS = (NAN_BOX, INVERTED_BOX, PIXEL_BOX, EMPTY_BOX, OUTSIDE_BOX, TINY_BOX, DOUBLE_BOX)

MIN_SIDE = 4.0  # pixels of the network's input
TOLERANCE = 1e-4  # of the image: float32 rounding of x / width, and a twentieth of a pixel
_IN_PIXELS = 2.0  # nobody draws a box twice as far out as the image is large


class BoxProblems(NamedTuple):
    """Which of N boxes has which problem, each [N] bool; a box has at most one of the first five."""

    not_finite: np.ndarray
    inverted: np.ndarray
    in_pixels: np.ndarray
    empty: np.ndarray
    outside: np.ndarray  # in part or wholly
    beyond: np.ndarray  # wholly outside: nothing is left after clipping
    double: np.ndarray  # an earlier box is the same

    @property
    def sound(self) -> np.ndarray:
        """[N] bool: can be learnt, if need be after clipping."""
        return ~(self.not_finite | self.inverted | self.in_pixels | self.empty | self.beyond)


def find_problems(boxes: np.ndarray, classes: Sequence[object]) -> BoxProblems:
    """What is wrong with boxes [N, 4] of float32, ymin, xmin, ymax, xmax in shares of the image, of N classes."""
    finite = np.all(np.isfinite(boxes), axis=1)
    lows, highs = boxes[:, :2], boxes[:, 2:]
    inverted = finite & np.any(lows > highs, axis=1)
    in_pixels = finite & ~inverted & np.any(np.abs(boxes) > _IN_PIXELS, axis=1)
    whole = finite & ~inverted & ~in_pixels
    empty = whole & np.any(lows == highs, axis=1)
    outside = whole & ~empty & np.any((lows < -TOLERANCE) | (highs > 1 + TOLERANCE), axis=1)
    beyond = outside & np.any(np.minimum(highs, 1) <= np.maximum(lows, 0), axis=1)
    keys = list(zip(classes, map(tuple, boxes.tolist()), strict=True))
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    double = np.array([first[key] != index for index, key in enumerate(keys)], bool)
    return BoxProblems(~finite, inverted, in_pixels, empty, outside, beyond, double & finite)


def find_tiny(boxes: np.ndarray, input_size: tuple[float, float]) -> np.ndarray:
    """[N] bool: a side, within the image, is shorter than MIN_SIDE when the image has `input_size` (height, width in pixels)."""
    clipped = np.clip(boxes, 0, 1)
    sides = (clipped[:, 2:] - clipped[:, :2]) * np.array(input_size, np.float32)
    return np.any(sides < MIN_SIDE, axis=1)


def check_boxes(
    boxes: np.ndarray,
    problems: BoxProblems,
    *,
    input_size: tuple[float, float] | None,
    unit: str = "pixels",
    classes: Sequence[str],
    place: RecordPlace,
    where: Sequence[str] = (),
    image: str = "",
) -> Iterator[Finding]:
    """Yields a finding for each problem of a box.

    Args:
        boxes: [N, 4] float32 as in `find_problems`.
        problems: what that returned.
        input_size: height and width in pixels that the image has as the network's input; None where unknown.
        unit: of `input_size`, for messages.
        classes: N names for messages.
        place: the record, or the image file.
        where: N places in annotation files, which name the object; the record where empty.
        image: for the finding.
    """
    tiny = find_tiny(boxes, input_size) & problems.sound if input_size is not None else np.zeros(len(boxes), bool)
    checks = (
        (NAN_BOX, problems.not_finite, "is not finite"),
        (INVERTED_BOX, problems.inverted, "has its edges in the wrong order"),
        (PIXEL_BOX, problems.in_pixels, "is given in pixels; 0 to 1 is allowed"),
        (EMPTY_BOX, problems.empty, "is empty"),
        (OUTSIDE_BOX, problems.beyond, "lies outside of the image"),
        (OUTSIDE_BOX, problems.outside & ~problems.beyond, "leaves the image"),
        (TINY_BOX, tiny, ""),
        (DOUBLE_BOX, problems.double, "is there twice with this class"),
    )
    for check, found, words in checks:
        for index in np.flatnonzero(found).tolist():
            text = words or f"has {_sides(boxes[index], input_size)} {unit}"
            message = f"the box {_words(boxes[index])} {text}"
            if not where:
                message = f"object {index} ({classes[index]}): {message}"
            yield check(where[index] if where else place, message, image=image, record=place, object_index=index)


def _words(box: np.ndarray) -> str:
    y_min, x_min, y_max, x_max = (f"{value:.4g}" for value in box.tolist())
    return f"[ymin {y_min}, xmin {x_min}, ymax {y_max}, xmax {x_max}]"


def _sides(box: np.ndarray, input_size: tuple[float, float] | None) -> str:
    height, width = input_size or (1.0, 1.0)
    y_min, x_min, y_max, x_max = np.clip(box, 0, 1).tolist()
    return f"{(x_max - x_min) * width:.1f}x{(y_max - y_min) * height:.1f}"
