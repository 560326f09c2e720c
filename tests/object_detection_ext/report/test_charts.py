"""Shapes stand where the values say; odd values never break a drawing."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from object_detection_ext.report.axes import Scale, compact, frame, limits
from object_detection_ext.report.charts import Bar, Zone, bars, heat_map, histogram, line_chart, scatter

ODD = np.array([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-300, 1e99, 1.7e308, -1.7e308, 5.0])


def points(path: str) -> np.ndarray:
    return np.array([[float(x) for x in pair.split()] for pair in re.split("[MLz]", path) if pair])


def paths(reader, kind: str) -> list[str]:
    return [attributes["d"] for tag, attributes in reader.tags if tag == "path" and kind in str(attributes.get("class")).split()]


def test_scales() -> None:
    linear = Scale(0, 10, 100, 0)
    assert linear(np.array([0, 5, 10, 99, -1])).tolist() == [100, 50, 0, 0, 100]
    logarithmic = Scale(1, 100, 0, 200, is_log=True)
    assert logarithmic(np.array([1.0, 10.0, 100.0, 0.5])).tolist() == pytest.approx([0, 100, 200, 0])


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 10, 0, 1), [0, 2, 4, 6, 8, 10]),
        (Scale(0, 1, 0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (Scale(-3, 4, 0, 1), [-2, 0, 2, 4]),
        (Scale(97, 103, 0, 1), [98, 100, 102]),
        (Scale(2, 300, 0, 1, is_log=True), [3, 10, 30, 100, 300]),
        (Scale(1e-3, 1e3, 0, 1, is_log=True), [1e-3, 1e-1, 1e1, 1e3]),
        (Scale(0.5, 1.5, 0, 1, is_whole=True), [1]),
        (Scale(0.5, 4.5, 0, 1, is_whole=True), [1, 2, 3, 4]),
        (Scale(40, 45, 0, 1, is_log=True), [40, 41, 42, 43, 44, 45]),
    ],
    ids=[
        "tens",
        "fifths",
        "below zero",
        "far from zero",
        "thirds of decades",
        "decades",
        "one whole number",
        "whole numbers",
        "no decade inside",
    ],
)
def test_ticks(scale: Scale, ticks: list[float]) -> None:
    assert scale.ticks(6) == pytest.approx(ticks)


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize(("low", "high"), [(1e-9, 2e-9), (1, 1.0001), (3, 1e12), (0.5, 7.3), (99.9, 100.1)])
@pytest.mark.parametrize("most", [3, 5, 6])
def test_ticks_are_few_and_inside(low: float, high: float, most: int, is_log: bool) -> None:
    ticks = Scale(low, high, 0, 1, is_log=is_log).ticks(most)
    assert len(ticks) <= most
    assert all(low - 1e-6 * (high - low) <= tick <= high + 1e-6 * (high - low) for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.05, "0.05"),
        (250, "250"),
        (9999, "9999"),
        (12_000, "12k"),
        (123_456, "123k"),
        (3_500_000, "3.5M"),
        (2e9, "2G"),
        (-5, "-5"),
    ],
)
def test_compact(value: float, text: str) -> None:
    assert compact(value) == text


def test_limits_are_never_equal() -> None:
    for is_log in (False, True):
        for value in (0.0 if not is_log else 1e-6, 5.0, 1e9):
            low, high = limits([np.array([]), np.array([value])], is_log=is_log)
            assert low < value < high


def test_a_histogram_of_counts_has_a_bin_a_number(read_strictly) -> None:
    chart = histogram({"train": np.array([1, 1, 1, 2])}, x_label="boxes", alt="two images", is_whole=True)
    reader = read_strictly(chart)
    (outline,) = paths(reader, "area")
    corners = points(outline)
    field = frame((0.5, 2.5), (0, 75 * 1.12))
    heights = [float(field.y(75)), float(field.y(25))]
    assert sorted(set(corners[:, 1].tolist())) == pytest.approx(sorted([field.y.start, *heights]), abs=0.06)
    assert corners[1:3, 1].tolist() == pytest.approx([heights[0]] * 2, abs=0.06)
    assert corners[1:3, 0].tolist() == pytest.approx([field.x.start, float(field.x(1.5))], abs=0.06)
    assert reader.tags[0] == ("svg", {"viewbox": "0 0 360 230", "role": "img", "aria-label": "two images"})


def test_series_of_a_histogram_are_compared_in_percent(read_strictly) -> None:
    reader = read_strictly(histogram({"a": np.repeat([1, 9], 100), "b": np.array([1, 9])}, x_label="x", alt=""))
    one, other = paths(reader, "area")
    assert one == other
    assert "a" in reader.text


def test_zones_are_named_where_there_is_room(read_strictly) -> None:
    zones = [Zone("small", 32), Zone("medium", 96), Zone("large", math.inf)]
    reader = read_strictly(histogram({"x": np.geomspace(4, 400, 50)}, x_label="x", alt="", is_log=True, zones=zones))
    assert all(zone.name in reader.text for zone in zones)
    assert len(paths(reader, "zone")) == 2
    reader = read_strictly(histogram({"x": np.geomspace(4, 20, 50)}, x_label="x", alt="", is_log=True, zones=zones))
    assert "small" in reader.text
    assert "large" not in reader.text


def test_bars_are_as_long_as_their_values(read_strictly) -> None:
    reader = read_strictly(bars([Bar("cat", [100, 50]), Bar("<b>" * 40, [None, 0])], ["train", "eval"], alt=""))
    widths = [float(attributes["width"]) for tag, attributes in reader.tags if tag == "rect"]
    assert widths == pytest.approx([298, 149])
    assert "none" in reader.text
    assert "<b><b>" in reader.text
    with pytest.raises(ValueError, match="2 values"):
        bars([Bar("cat", [1])], ["train", "eval"], alt="")


def test_a_heat_map_is_darkest_where_most_is(read_strictly) -> None:
    counts = np.zeros((4, 8))
    counts[0, 0], counts[3, 7] = 12, 1
    shapes = [attributes for tag, attributes in read_strictly(heat_map(counts, x_label="", y_label="", alt="")).tags if tag == "path"]
    assert [shape["fill-opacity"] for shape in shapes] == ["0.08", "1"]
    assert shapes[1]["d"].startswith("M26 6h")  # the first row is on top
    assert len([shape for shape in shapes if shape["d"].count("M") == 1]) == 2


def test_a_scatter_draws_a_bounded_number_of_dots(read_strictly) -> None:
    array = np.random.default_rng(0).uniform(1, 100, (5000, 2))
    corner = np.array([[1.0, 1.0], [2.0, 1.0], [2.0, 2.0]])
    reader = read_strictly(
        scatter({"x": array}, x_label="", y_label="", alt="", is_log=True, crosses=np.ones((2, 2)), regions=[corner, corner], most=1000)
    )
    assert sum(path.count("M") for path in paths(reader, "dots")) == 1000
    assert len(paths(reader, "region")) == 2
    assert paths(reader, "cross")[0].count("M") == 2


def test_a_line_goes_from_point_to_point(read_strictly) -> None:
    reader = read_strictly(line_chart({"rate": np.array([[0, 0.0], [10, 1.0], [20, 0.0]])}, x_label="step", y_label="rate", alt=""))
    corners = points(paths(reader, "stroke")[0])
    assert corners.shape == (3, 2)
    assert corners[1, 0] == pytest.approx((corners[0, 0] + corners[2, 0]) / 2, abs=0.06)
    assert corners[1, 1] < corners[0, 1] == corners[2, 1]


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize(
    "values", [ODD, np.array([]), np.array([math.nan]), np.array([5.0]), np.array([5.0] * 9), np.array([0.0])],
    ids=["odd", "none", "nan", "one", "equal", "zero"],
)  # fmt: skip
def test_odd_values_never_break_a_chart(values: np.ndarray, is_log: bool, read_strictly) -> None:
    pairs = np.stack([values, values[::-1]], axis=1)
    for chart in (
        histogram({"a": values, "b": np.array([])}, x_label="", alt="", is_log=is_log, zones=[Zone("z", 1), Zone("y", math.inf)]),
        scatter({"a": pairs, "b": pairs[:1]}, x_label="", y_label="", alt="", is_log=is_log, crosses=pairs),
        line_chart({"a": pairs}, x_label="", y_label="", alt="", is_log=(is_log, False)),
        bars([Bar("a", [value]) for value in values], ["x"], alt=""),
        heat_map(np.tile(values, (2, 1)), x_label="", y_label="", alt=""),
    ):
        read_strictly(chart)


def test_counts_may_be_many(read_strictly) -> None:
    read_strictly(histogram({"a": np.array([0, 1, 100_000])}, x_label="", alt="", is_whole=True))
