"""What a data set looks like: its classes, objects and images as charts and tables of its report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_tools.checks.input_size import InputSize
from data_tools.checks.summary import ReaderSummary
from object_detection_ext.report.axes import compact
from object_detection_ext.report.charts import Bar, Zone, bars, heat_map, histogram, scatter
from object_detection_ext.report.page import Markup, details, figure, grid, joined, shortened, table, wide

COCO_ZONES = (Zone("small", 32), Zone("medium", 96), Zone("large", math.inf))  # sides in pixels; cocodataset.org, detection evaluation
_HEAT_CELLS = 24
_MOST_BARS, _BARS_OF_CHART = 42, 14
_FEW_CLASSES = 12  # their table stands beside the chart
_MOST_ROWS = 1000
_MOST_SIZES = 8
_SMALLEST = 2.0  # pixels: shorter sides count as such, or they would stretch the logarithmic axes of all others
_REGION_POINTS = 10  # on each of the four sides of an anchor's region


class ObjectSizes(NamedTuple):
    """Objects that can be learnt, as the network's input shows them."""

    heights: np.ndarray  # [N] float64, pixels
    widths: np.ndarray  # [N] float64, pixels

    @property
    def sides(self) -> np.ndarray:
        """[N] square roots of the areas."""
        return np.sqrt(self.heights * self.widths)


def object_sizes(reader: ReaderSummary, input_size: InputSize) -> ObjectSizes:
    """Sizes of the sound boxes, of their part inside the image; images of unknown size are left out."""
    known = reader.is_sound & (reader.image_sizes[reader.box_images].min(axis=1) > 0)
    sizes, index = np.unique(reader.image_sizes[reader.box_images[known]], axis=0, return_inverse=True)
    scaled = np.array([input_size(int(height), int(width)) for height, width in sizes], np.float64).reshape(-1, 2)
    clipped = np.clip(reader.boxes[known].astype(np.float64), 0, 1)
    sides = np.maximum((clipped[:, 2:] - clipped[:, :2]) * scaled[index.reshape(-1)], _SMALLEST)
    return ObjectSizes(sides[:, 0], sides[:, 1])


def class_section(readers: Sequence[ReaderSummary]) -> Markup:
    """Objects of each class, and a table with the images that have them."""
    counts = [reader.class_counts for reader in readers]
    names = list(
        dict.fromkeys([*(name for each in counts for name in each), *(name for each in readers for name in each.class_names.values())])
    )
    series = [reader.name for reader in readers]
    rows = [Bar(name, [each.get(name, 0) for each in counts]) for name in names]
    shown, note = rows, ""
    if len(rows) > _MOST_BARS:
        shown = [*rows[: _MOST_BARS // 2], *rows[-_MOST_BARS // 2 :]]
        note = f"The {_MOST_BARS // 2} most frequent and the {_MOST_BARS // 2} rarest of {len(rows):,} classes"
    parts = [shown[start : start + _BARS_OF_CHART] for start in range(0, len(shown), _BARS_OF_CHART)] or [[]]
    largest = max((value for each in counts for value in each.values()), default=0)
    charts = [
        figure(bars(part, series, alt=_bars_alt(part, series), largest=largest), f"Objects by class{', continued' if number else ''}", note)
        for number, part in enumerate(parts)
    ]
    ids = {name: class_id for reader in readers for class_id, name in reader.class_names.items()}
    images = [_images_by_class(reader) for reader in readers]
    header = ["class", "id", *[f"{name}: {what}" for name in series for what in ("objects", "images")]]
    cells = [
        [
            shortened(row.name),
            str(ids.get(row.name, "")),
            *[number for each in zip(row.values, _of(images, row.name), strict=True) for number in each],
        ]
        for row in rows[:_MOST_ROWS]
    ]
    left_out = f"; the first {_MOST_ROWS:,} of {len(rows):,}" if len(rows) > _MOST_ROWS else ""
    numbers = table(header, cells, caption=f"Objects and images by class{left_out}")
    if len(rows) <= _FEW_CLASSES:
        return grid(*charts, wide(numbers))
    return joined(grid(*charts), details(f"{len(rows):,} classes as a table", numbers))


def object_section(readers: Sequence[ReaderSummary], sizes: Mapping[str, ObjectSizes], *, unit: str) -> Markup:
    """Sizes, aspect ratios, number and places of objects."""
    sides = {name: each.sides for name, each in sizes.items()}
    ratios = {name: each.widths / each.heights for name, each in sizes.items()}
    per_image = {reader.name: reader.num_boxes for reader in readers}
    zones = [Zone("higher than wide", 1.0), Zone("wider than high", math.inf)]
    charts = [
        figure(
            histogram(sides, x_label=f"√area in {unit}", alt=_alt("object sizes", sides, "pixels"), is_log=True, zones=COCO_ZONES),
            "Object sizes",
            _shares_of_sizes(sides),
        ),
        figure(
            histogram(ratios, x_label="width / height", alt=_alt("aspect ratios", ratios, ""), is_log=True, zones=zones),
            "Aspect ratios",
            _quartiles(ratios),
        ),
        figure(
            histogram(per_image, x_label="objects in an image", alt=_alt("objects per image", per_image, ""), is_whole=True),
            "Objects per image",
            "; ".join(
                f"{name}: {_number_or_no(int((array == 0).sum()))} without, at most {array.max(initial=0):,}"
                for name, array in per_image.items()
            ),
        ),
    ]
    for reader in readers:
        counts = _centres(reader)
        alt = f"heat map of box centres in {reader.name}: {int(counts.sum()):,} objects"
        chart = heat_map(counts, x_label="left to right", y_label="top to bottom", alt=alt)
        charts.append(
            figure(
                chart, f"Centres of objects, {shortened(reader.name, 40)}", f"The fullest cell has {compact(float(counts.max()))} objects"
            )
        )
    return grid(*charts)


def anchor_chart(sizes: Mapping[str, ObjectSizes], shapes: np.ndarray, *, threshold: float) -> Markup:
    """Heights and widths of objects with the anchors over them.

    Args:
        sizes: of the objects of each set.
        shapes: [A, 2] height and width of anchors in pixels of the network's input; equal ones may come again.
        threshold: IoU from which an anchor takes an object.
    """
    shapes = np.unique(np.round(shapes, 2), axis=0)
    points = {name: np.stack([each.widths, each.heights], axis=1) for name, each in sizes.items()}
    drawn = scatter(
        points,
        x_label="width in pixels",
        y_label="height in pixels",
        alt=f"heights and widths of objects with {len(shapes)} shapes of anchors over them",
        is_log=True,
        crosses=shapes[:, ::-1],
        regions=[_region(height, width, threshold) for height, width in shapes if height > 0 and width > 0],
    )
    note = (
        f"Crosses are {len(shapes)} shapes of anchors. Objects in the grey have an IoU of {threshold:g} with one that lies exactly on them"
    )
    return figure(drawn, "Objects and anchors", note)


def image_section(readers: Sequence[ReaderSummary]) -> Markup:
    """Sizes of the images: the most frequent ones, and all as a chart where there are many."""
    counts = [Counter(map(tuple, reader.image_sizes.tolist())) for reader in readers]
    total = sum(counts, Counter[tuple[int, ...]]())
    common = total.most_common(_MOST_SIZES)
    rows = [[_size_words(*size), *[each.get(size, 0) for each in counts]] for size, _ in common]
    others = len(total) - len(common)
    if others:
        rest = [sum(each.values()) - sum(each.get(size, 0) for size, _ in common) for each in counts]
        rows.append([_count(others, "other size"), *rest])
    numbers = table(["width x height", *[reader.name for reader in readers]], rows, caption="Images by size in pixels")
    if len(total) <= _MOST_SIZES:
        return numbers
    points = {reader.name: reader.image_sizes[reader.image_sizes.min(axis=1) > 0][:, ::-1] for reader in readers}
    chart = scatter(
        points,
        x_label="width in pixels",
        y_label="height in pixels",
        alt=f"heights and widths of {len(total):,} sizes of images",
        is_log=True,
    )
    return joined(numbers, grid(figure(chart, "Image sizes")))


def overview(readers: Sequence[ReaderSummary]) -> Markup:
    """The numbers of each set."""
    quantities = {
        "images": lambda reader: reader.num_images,
        "images without objects": lambda reader: int((reader.num_boxes == 0).sum()),
        "objects": lambda reader: len(reader.boxes),
        "objects that cannot be learnt": lambda reader: int((~reader.is_sound).sum()),
        "crowds": lambda reader: int(reader.is_crowd.sum()),
        "classes with objects": lambda reader: len(reader.class_counts),
        "files": lambda reader: len(reader.paths),
    }
    rows = [[name, *[count(reader) for reader in readers]] for name, count in quantities.items()]
    return table(["number of", *[reader.name for reader in readers]], rows, caption="The data in numbers")


def _region(height: float, width: float, threshold: float) -> np.ndarray:
    """[P, 2] width and height on the edge of the region whose boxes, with the anchor's centre, have this IoU with it.

    With u and v the box's width and height in sizes of the anchor: where the box lies inside of the anchor the IoU is u v, where the anchor
    lies inside of the box 1 / (u v), and where they cross with u >= 1 >= v, v / (u v + 1 - v); the fourth side is that one with u and v
    exchanged.
    """
    t = threshold
    inner, outer = np.geomspace(t, 1, _REGION_POINTS), np.geomspace(1, 1 / t, _REGION_POINTS)
    crossing = t / (1 + t - t * outer)
    u = np.concatenate([inner, outer, outer[::-1], crossing[::-1]])
    v = np.concatenate([t / inner, crossing, 1 / (t * outer[::-1]), outer[::-1]])
    return np.stack([u * width, v * height], axis=1)


def _centres(reader: ReaderSummary) -> np.ndarray:
    """[cells, cells] numbers of sound boxes by the place of their centres in the image."""
    boxes = reader.boxes[reader.is_sound].clip(0, 1)
    y, x = (boxes[:, :2] + boxes[:, 2:]).T / 2
    return np.histogram2d(y, x, bins=_HEAT_CELLS, range=((0, 1), (0, 1)))[0]


def _images_by_class(reader: ReaderSummary) -> Mapping[str, int]:
    return Counter(name for name, _ in set(zip(reader.object_names, reader.box_images.tolist(), strict=True)))


def _of(counts: Sequence[Mapping[str, int]], name: str) -> list[int]:
    return [each.get(name, 0) for each in counts]


def _shares_of_sizes(sides: Mapping[str, np.ndarray]) -> str:
    told = []
    for name, array in sides.items():
        if len(array):
            counts = np.bincount(np.searchsorted([zone.until for zone in COCO_ZONES[:-1]], array, side="right"), minlength=len(COCO_ZONES))
            shares = ", ".join(f"{count / len(array):.0%} {zone.name}" for zone, count in zip(COCO_ZONES, counts, strict=True))
            told.append(f"{name}: {shares}")
    return "; ".join(told) + " (COCO's sizes: area from 32² and from 96²)" if told else ""


def _quartiles(values: Mapping[str, np.ndarray]) -> str:
    told = []
    for name, array in values.items():
        if len(array):
            low, high = np.quantile(array, [0.25, 0.75])
            told.append(f"{name}: half lie between {low:.2g} and {high:.2g}")
    return "; ".join(told)


def _alt(what: str, values: Mapping[str, np.ndarray], unit: str) -> str:
    medians = [
        f"median {np.median(array):.3g} {unit} in {shortened(name, 40)}".replace("  ", " ") for name, array in values.items() if len(array)
    ]
    return f"histogram of {what}: {', '.join(medians) or 'no objects'}"


def _bars_alt(rows: Sequence[Bar], series: Sequence[str]) -> str:
    told = "; ".join(
        f"{shortened(row.name, 40)} {', '.join(f'{value:g}' for value in row.values if value is not None)}" for row in rows[:10]
    )
    return f"objects by class in {', '.join(series)}: {told}"


def _size_words(height: int, width: int) -> str:
    return f"{width:,} x {height:,}" if height > 0 and width > 0 else "unknown"


def _number_or_no(number: int) -> str:
    return f"{number:,}" if number else "none"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")
