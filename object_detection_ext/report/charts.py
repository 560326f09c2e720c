"""Charts as inline SVG: no script, colours from the page's style, readable on a phone.

Values that are not finite, or beyond 1e100, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from object_detection_ext.report.axes import WIDTH, Scale, compact, drawing, fitted, frame, limits
from object_detection_ext.report.page import Markup, element, joined, number, shortened
from object_detection_ext.report.style import SERIES

_FEWEST_BINS, _BINS = 8, 32
_DOT_LAYERS = 6  # paths that the dots of a scatter are spread over: dots of different paths darken each other, so that crowds show
_HEAT_LEVELS = 12
_LARGEST = 1e100  # values beyond cannot be placed: their differences may overflow
_LEAST_ZONE = 40  # pixels that a zone's name needs


class Zone(NamedTuple):
    """A named part of the horizontal axis, from the end of the zone before it."""

    name: str
    until: float


class Bar(NamedTuple):
    """A row of a bar chart: one value a series, None where the series has none."""

    name: str
    values: Sequence[float | None]


def legend(names: Sequence[str]) -> Markup:
    """The colours of the series; nothing for a single one."""
    if len(names) < 2:
        return Markup("")
    keys = [element("span", class_=f"key s{index % SERIES}", aria_hidden="true") for index in range(len(names))]
    return element("ul", *[element("li", key, shortened(name, 40)) for key, name in zip(keys, names, strict=True)], class_="legend")


def histogram(
    series: Mapping[str, np.ndarray], *, x_label: str, alt: str, is_log: bool = False, is_whole: bool = False, zones: Sequence[Zone] = ()
) -> Markup:
    """How often values occur, in percent of their series, so that series of different lengths can be compared.

    Args:
        series: name -> [n] numbers.
        x_label: what the values are, with their unit.
        alt: description for those who do not see the chart.
        is_log: logarithmic horizontal axis; values that are not above 0 are left out.
        is_whole: the values are counts: a bin is a whole number, or several.
        zones: parts of the horizontal axis to tell apart.

    Returns:
        Legend and SVG; a line that says so where there is no value.
    """
    values = {name: _usable(array, is_log=is_log) for name, array in series.items()}
    if not any(map(len, values.values())):
        return _nothing()
    edges = _bin_edges(list(values.values()), is_log=is_log, is_whole=is_whole)
    shares = [100 * np.histogram(array, edges)[0] / max(len(array), 1) for array in values.values()]
    field = frame((edges[0], edges[-1]), (0.0, max(share.max() for share in shares) * 1.12), is_log=(is_log, False), is_whole=is_whole)
    shapes = []
    for index, share in enumerate(shares):
        corners = np.stack([np.repeat(field.x(edges), 2)[1:-1], np.repeat(field.y(share), 2)], axis=1)
        outline = np.concatenate([[[corners[0, 0], field.y.start]], corners, [[corners[-1, 0], field.y.start]]])
        shapes.append(element("path", class_=f"area s{index % SERIES}", d=_path(outline)))
    shapes += _zones(zones, field.x, top=field.y.stop, bottom=field.y.start)
    return joined(legend(list(series)), field(*shapes, x_label=x_label, y_label="share in %", alt=alt))


def bars(rows: Sequence[Bar], series: Sequence[str], *, alt: str, largest: float = 0.0) -> Markup:
    """Horizontal bars, those of a row under its name; every value stands beside its bar.

    Args:
        rows: from top to bottom.
        series: names of the values of a row.
        alt: description for those who do not see the chart.
        largest: value of the longest bar that the scale has room for, where it is not in these rows.

    Raises:
        ValueError: a row has not one value a series.
    """
    if any(len(row.values) != len(series) for row in rows):
        raise ValueError(f"every row of bars needs {len(series)} values")
    values = [value for row in rows for value in row.values if value is not None and np.isfinite(value)]
    if not values:
        return _nothing()
    scale = Scale(0.0, max(*values, largest, 1e-9), 0.0, WIDTH - 62.0)
    shapes, top = list[Markup](), 0
    for row in rows:
        shapes.append(element("text", fitted(row.name, WIDTH), y=top + 13))
        top += 18
        for index, value in enumerate(row.values):
            known = value if value is not None and np.isfinite(value) else None
            length = 0.0 if known is None else float(scale(known))
            if length > 0:
                shapes.append(element("rect", class_=f"bar s{index % SERIES}", x=0, y=top + 1, width=max(length, 1.0), height=11))
            shapes.append(
                element("text", "none" if known is None else compact(known), class_="soft", x=length + 6 if length else 0, y=top + 11)
            )
            top += 14
        top += 8
    return joined(legend(series), drawing(joined(*shapes), height=top, alt=alt))


def heat_map(counts: np.ndarray, *, x_label: str, y_label: str, alt: str) -> Markup:
    """A map of counts, the fullest cell darkest.

    Args:
        counts: [rows, columns] numbers from 0, the first row on top.
        x_label, y_label: what the axes are.
        alt: description for those who do not see the chart.
    """
    counts = np.where(np.isfinite(counts), counts, 0)
    if not counts.size or counts.max() <= 0:
        return _nothing()
    rows, columns = counts.shape
    left, top = 26.0, 6.0
    width = WIDTH - left - 12
    cell = width / columns
    height = rows * cell
    levels = np.ceil(counts / counts.max() * _HEAT_LEVELS).astype(int)
    shapes = []
    for level in range(1, _HEAT_LEVELS + 1):
        corners = [(number(left + x * cell), number(top + y * cell)) for y, x in np.argwhere(levels == level)]
        if corners:
            squares = "".join([f"M{x} {y}h{number(cell)}v{number(cell)}h-{number(cell)}z" for x, y in corners])
            shapes.append(element("path", class_="heat", fill_opacity=level / _HEAT_LEVELS, d=squares))
    edge = element("rect", class_="axis", x=left, y=top, width=width, height=height)
    below = element("text", x_label, class_="middle", x=left + width / 2, y=top + height + 18)
    beside = element("text", y_label, class_="middle", transform=f"translate(16 {number(top + height / 2)}) rotate(-90)")
    return drawing(joined(*shapes, edge, below, beside), height=top + height + 26, alt=alt)


def scatter(
    series: Mapping[str, np.ndarray],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    is_log: bool = False,
    crosses: np.ndarray | None = None,
    regions: Sequence[np.ndarray] = (),
    most: int = 2000,
) -> Markup:
    """Points, with crosses over them and shaded regions under them.

    Args:
        series: name -> [n, 2] x and y.
        x_label, y_label: what the axes are, with their units.
        alt: description for those who do not see the chart.
        is_log: both axes logarithmic; points with a coordinate that is not above 0 are left out.
        crosses: [m, 2] x and y.
        regions: [p, 2] corners of areas; shaded once where they overlap.
        most: of each series, evenly spread, only so many points are drawn.
    """
    points = {name: _usable_rows(array, is_log=is_log) for name, array in series.items()}
    marks = _usable_rows(np.zeros((0, 2)) if crosses is None else crosses, is_log=is_log)
    extent = [array for array in (*points.values(), marks) if len(array)]
    if not extent:
        return _nothing()
    field = frame(
        limits([array[:, 0] for array in extent], is_log=is_log), limits([array[:, 1] for array in extent], is_log=is_log),
        is_log=(is_log, is_log), height=WIDTH - 20,
    )  # fmt: skip
    shaded = [element("path", class_="region", d=_path(_placed(corners, field.x, field.y)) + "z") for corners in regions if len(corners)]
    shapes = [element("g", *shaded, opacity=0.22)] if shaded else []
    for index, array in enumerate(points.values()):
        placed = _placed(array[:: max(1, -(-len(array) // most))], field.x, field.y)
        for layer in range(min(_DOT_LAYERS, len(placed))):
            dots = "".join([f"M{x:.1f} {y:.1f}h0" for x, y in placed[layer::_DOT_LAYERS]])
            shapes.append(element("path", class_=f"dots s{index % SERIES}", d=dots))
    if len(marks):
        strokes = "".join([f"M{x - 4:.1f} {y:.1f}h8m-4 -4v8" for x, y in _placed(marks, field.x, field.y)])
        shapes.append(element("path", class_="cross", d=strokes))
    return joined(legend(list(series)), field(*shapes, x_label=x_label, y_label=y_label, alt=alt))


def line_chart(
    series: Mapping[str, np.ndarray], *, x_label: str, y_label: str, alt: str, is_log: tuple[bool, bool] = (False, False)
) -> Markup:
    """Lines through points.

    Args:
        series: name -> [n, 2] x and y, in the order of the line.
        x_label, y_label: what the axes are, with their units.
        alt: description for those who do not see the chart.
        is_log: which of the axes is logarithmic.
    """
    lines = [_usable_rows(array, is_log=any(is_log)) for array in series.values()]
    extent = [line for line in lines if len(line)]
    if not extent:
        return _nothing()
    field = frame(
        limits([line[:, 0] for line in extent], is_log=is_log[0]), limits([line[:, 1] for line in extent], is_log=is_log[1]), is_log=is_log
    )
    shapes = [
        element("path", class_=f"stroke s{index % SERIES}", d=_path(_placed(line, field.x, field.y)))
        for index, line in enumerate(lines)
        if len(line)
    ]
    return joined(legend(list(series)), field(*shapes, x_label=x_label, y_label=y_label, alt=alt))


def _nothing() -> Markup:
    return element("p", "Nothing to show.", class_="muted")


def _usable(values: np.ndarray, *, is_log: bool) -> np.ndarray:
    values = np.asarray(values, np.float64).reshape(-1)
    return values[(np.abs(values) < _LARGEST) & ((values > 0) | (not is_log))]


def _usable_rows(points: np.ndarray, *, is_log: bool) -> np.ndarray:
    points = np.asarray(points, np.float64).reshape(-1, 2)
    return points[(np.abs(points) < _LARGEST).all(axis=1) & ((points > 0).all(axis=1) | (not is_log))]


def _bin_edges(values: Sequence[np.ndarray], *, is_log: bool, is_whole: bool) -> np.ndarray:
    """[n + 1] float64: ends of n bins that hold all values; n follows the rule of Rice, 2 N^(1/3), within limits."""
    bins = int(min(max(2 * max(map(len, values)) ** (1 / 3), _FEWEST_BINS), _BINS))
    if is_whole:
        low, high = min(array.min() for array in values if len(array)), max(array.max() for array in values if len(array))
        width = max(1.0, np.ceil((high - low + 1) / _BINS))
        return low - 0.5 + width * np.arange(np.ceil((high - low + 1) / width) + 1)
    low, high = limits(values, is_log=is_log)
    return np.geomspace(low, high, bins + 1) if is_log else np.linspace(low, high, bins + 1)


def _zones(zones: Sequence[Zone], scale: Scale, *, top: float, bottom: float) -> list[Markup]:
    shapes, start = list[Markup](), scale.start
    for name, until in zones:
        stop = float(scale(until))
        if scale.low < until < scale.high:
            shapes.append(element("path", class_="zone", d=f"M{number(stop)} {number(bottom)}V{number(top)}"))
        if stop - start >= _LEAST_ZONE:
            shapes.append(element("text", name, class_="soft middle", x=(start + stop) / 2, y=top + 10))
        start = stop
    return shapes


def _placed(points: np.ndarray, x: Scale, y: Scale) -> np.ndarray:
    return np.stack([x(points[:, 0]), y(points[:, 1])], axis=1)


def _path(points: np.ndarray) -> str:
    return "M" + "L".join([f"{x:.1f} {y:.1f}" for x, y in points])
