"""Axes of a chart: from values to places in the drawing, and the lines and numbers along them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_ext.report.page import Markup, element, joined, number, shortened

# A chart is drawn as wide as a phone shows it, so that its text is never scaled down; wide screens put charts side by side.
WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 10, 38
_STEPS = (1, 2, 5)
_NARROW, _CAPITAL, _WIDE = 7.2, 9.5, 12.5  # pixels of a letter of 12-pixel text, with some room: no font is known before the browser has it


@dataclass(frozen=True)
class Scale:
    """A line or a logarithm from values onto places; what lies outside of the values is moved to the nearer end.

    Attributes:
        low, high: values at the two ends, low < high; above 0 where the scale is logarithmic.
        start, stop: their places in the drawing.
        is_log: equal factors are equally far apart.
        is_whole: the values are whole numbers, and so are the ticks.
    """

    low: float
    high: float
    start: float
    stop: float
    is_log: bool = False
    is_whole: bool = False

    def __call__(self, values: np.ndarray | float) -> np.ndarray:
        """Places of values: any shape, the same shape, float64."""
        clipped = np.clip(np.asarray(values, np.float64), self.low, self.high)
        if self.is_log:
            share = (np.log(clipped) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            share = (clipped - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round values between the ends, as many as possible but not more than `most`."""
        ticks = _log_ticks(self.low, self.high, most) if self.is_log else _linear_ticks(self.low, self.high, most)
        return [tick for tick in ticks if not self.is_whole or abs(tick - round(tick)) < 1e-6]


@dataclass(frozen=True)
class Frame:
    """The field of a chart between its two axes."""

    x: Scale
    y: Scale
    height: int

    def __call__(self, *shapes: Markup, x_label: str, y_label: str, alt: str) -> Markup:
        """The drawing: grid lines, then the shapes, then axes and numbers."""
        left, right = self.x.start, self.x.stop
        bottom, top = self.y.start, self.y.stop
        rules, texts = list[Markup](), list[Markup]()
        for tick in self.y.ticks(2 + round((bottom - top) / 60)):
            place = float(self.y(tick))
            rules.append(element("path", class_="rule", d=f"M{number(left)} {number(place)}H{number(right)}"))
            texts.append(element("text", compact(tick), class_="soft end", x=left - 5, y=place + 4))
        for tick in self.x.ticks(6):
            place = float(self.x(tick))
            rules.append(element("path", class_="axis", d=f"M{number(place)} {number(bottom)}v4"))
            texts.append(element("text", compact(tick), class_="soft middle", x=place, y=bottom + 16))
        axis = element("path", class_="axis", d=f"M{number(left)} {number(bottom)}H{number(right)}")
        labels = (
            element("text", x_label, class_="middle", x=(left + right) / 2, y=self.height - 5),
            element("text", y_label, class_="middle", transform=f"translate(12 {number((bottom + top) / 2)}) rotate(-90)"),
        )
        return drawing(joined(*rules, *shapes, axis, *texts, *labels), height=self.height, alt=alt)


def frame(
    x: tuple[float, float],
    y: tuple[float, float],
    *,
    is_log: tuple[bool, bool] = (False, False),
    is_whole: bool = False,
    height: int = 230,
) -> Frame:
    """A frame for values from and to these ends; `is_whole` is about x."""
    return Frame(
        Scale(*x, start=_LEFT, stop=WIDTH - _RIGHT, is_log=is_log[0], is_whole=is_whole),
        Scale(*y, start=height - _BOTTOM, stop=_TOP, is_log=is_log[1]),
        height,
    )


def drawing(content: Markup, *, height: float, alt: str, width: float = WIDTH, class_: str | None = None) -> Markup:
    """An SVG of this size, described by `alt` for those who do not see it."""
    return element("svg", content, class_=class_, viewBox=f"0 0 {number(width)} {number(height)}", role="img", aria_label=alt)


def text_width(text: str) -> float:
    """Pixels that a 12-pixel text takes, rather too many."""
    return sum(
        _WIDE if letter in "WMmw@%—…" or unicodedata.east_asian_width(letter) in "WF" else _CAPITAL if letter.isupper() else _NARROW
        for letter in text
    )


def fitted(text: str, width: float) -> str:
    """The text, or as much of its start and end as fits into so many pixels."""
    text = shortened(text)
    while len(text) > 1 and text_width(text) > width:
        text = shortened(text.replace("…", ""), len(text) - 2)
    return text


def compact(value: float) -> str:
    """A number in few characters: 0.05, 250, 12k, 3.5M."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            factor = 1e3 if suffix == "k" else limit
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.4g}"


def limits(values: Sequence[np.ndarray], *, is_log: bool) -> tuple[float, float]:
    """Ends of a scale that holds all values, which are finite, and above 0 for a logarithm; never equal."""
    filled = [array for array in values if len(array)]
    low, high = min(float(array.min()) for array in filled), max(float(array.max()) for array in filled)
    if is_log:
        return (low / 1.15, high * 1.15) if high > low * 1.01 else (low / 2, high * 2)
    room = (high - low) * 0.02 or max(abs(high) * 0.5, 0.5)
    return low - room, high + room


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(factor * power for factor in (*_STEPS, 10, 20) if (high - low) / (factor * power) <= most - 1 + 1e-9)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, first + most + 1) if index * step <= high + step * 1e-9]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in (_STEPS, (1, 3), (1,)):
        ticks = [factor * 10.0**decade for decade in decades for factor in factors if low <= factor * 10.0**decade <= high]
        if len(ticks) <= most:
            break
    else:
        ticks = ticks[:: -(-len(ticks) // most)]
    return ticks if len(ticks) > 1 else _linear_ticks(low, high, most)
