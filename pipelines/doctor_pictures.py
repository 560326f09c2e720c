"""Pictures of a data set for its report: images worth looking at, and the places of findings, within a budget of bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from data_tools.checks.summary import ReaderSummary
from object_detection_ext.errors import InputError
from object_detection_ext.findings import FindingGroup, RecordPlace
from object_detection_ext.report.page import Markup, figure, shortened
from object_detection_ext.report.pictures import Box, picture, thumbnail

ReadImage = Callable[[ReaderSummary, int], bytes]  # encoded image; raises InputError where it cannot be read
BUDGET = 2_000_000  # bytes of all pictures in the page
_GOLDEN_RATIO = (5**0.5 - 1) / 2  # steps of this size keep any number of hues apart
_MOST_BOXES = 200  # of a picture: so many are drawn, faults and large ones first

_Place = tuple[ReaderSummary, int]


class Album:
    """Fetches images and makes pictures of them until the budget is spent."""

    def __init__(self, readers: Sequence[ReaderSummary], *, read_image: ReadImage, budget: int = BUDGET) -> None:
        self._read_image, self._left = read_image, budget
        self._starts = {reader.name: np.concatenate([[0], np.cumsum(reader.num_boxes)]) for reader in readers}
        names = dict.fromkeys(name for reader in readers for name in reader.class_counts)
        self._colors = {name: _color(number) for number, name in enumerate(names)}
        self._places = {reader.place(image): (reader, image) for reader in readers for image in range(reader.num_images)}

    def find(self, record: RecordPlace) -> _Place | None:
        """Reader and image of a record; None where no reader has it."""
        return self._places.get(record)

    def figure(self, reader: ReaderSummary, image: int, *, faults: Sequence[int] = (), size: int = 320, note: str = "") -> Markup | None:
        """The image with its boxes under its name; None where it cannot be read or the budget is spent.

        Args:
            reader: the set.
            image: index in it.
            faults: boxes to be drawn in red, by their index in the record.
            size: pixels of the picture's longer side.
            note: under the name.
        """
        if self._left <= 0:
            return None
        try:
            shown = thumbnail(self._read_image(reader, image), size=size)
        except (InputError, OSError):
            return None
        boxes = self._boxes(reader, image, frozenset(faults))
        name = reader.image_names[image] or str(reader.place(image))
        drawn = figure(picture(shown, boxes, alt=_description(name, boxes)), shortened(name, 60), note)
        self._left -= len(drawn)
        return drawn

    def told_unseen(self, reader: ReaderSummary, image: int, indices: Sequence[int]) -> str:
        """Says which of the boxes have no place that could be drawn; empty where all have one."""
        rows = [index for index in indices if not np.isfinite(reader.boxes[self._starts[reader.name][image] + index]).all()]
        return f"; object {', '.join(map(str, rows[:5]))} cannot be drawn" if rows else ""

    def _boxes(self, reader: ReaderSummary, image: int, faults: frozenset[int]) -> list[Box]:
        start, stop = self._starts[reader.name][image : image + 2]
        boxes = np.nan_to_num(reader.boxes[start:stop].astype(np.float64), posinf=0, neginf=0)
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        order = sorted(range(stop - start), key=lambda index: (index not in faults, -areas[index]))
        return [self._box(reader, start + index, index, is_fault=index in faults) for index in order[:_MOST_BOXES]]

    def _box(self, reader: ReaderSummary, row: int, index: int, *, is_fault: bool) -> Box:
        name = reader.object_names[row]
        is_numbered = is_fault and reader.is_record_set  # annotation files have numbers, or lines, of their own
        y_min, x_min, y_max, x_max = reader.boxes[row].tolist()
        return Box(y_min, x_min, y_max, x_max, f"{name} (object {index})" if is_numbered else name, self._colors[name], is_fault)


def choose_samples(reader: ReaderSummary, most: int) -> list[int]:
    """Up to `most` images: for each of the rarest classes one that has it, the rest evenly spread over those with boxes; in order."""
    first_image: dict[str, int] = {}
    for name, image in zip(reader.object_names, reader.box_images.tolist(), strict=True):
        first_image.setdefault(name, image)
    rarest = list(reader.class_counts)[::-1]
    chosen = dict.fromkeys(first_image[name] for name in rarest[: most // 2])
    others = np.setdiff1d(np.flatnonzero(reader.num_boxes), list(chosen))
    if not len(others) and not chosen:
        others = np.arange(reader.num_images)
    spread = np.unique(np.linspace(0, len(others) - 1, most - len(chosen)).round().astype(int)) if len(others) else []
    return sorted([*chosen, *others[spread].tolist()])


def finding_figures(group: FindingGroup, album: Album, most: int) -> list[Markup]:
    """Pictures of up to `most` images of a check's findings, the boxes in question in red."""
    figures: list[Markup] = []
    with_record = [finding for finding in group.findings if finding.record is not None]
    for record, findings in groupby(with_record, key=lambda finding: finding.record):
        place = album.find(record) if record else None
        if record is None or place is None or len(figures) >= most:
            continue
        indices = [finding.object_index for finding in findings if finding.object_index is not None]
        where = str(record) if place[0].is_record_set else record.path
        drawn = album.figure(*place, faults=indices, note=shortened(where, 90) + album.told_unseen(*place, indices))
        if drawn is not None:
            figures.append(drawn)
    return figures


def _color(number: int) -> str:
    """The colour of a class: neighbours differ, and none is as red as a fault."""
    hue = 40 + 270 * (number * _GOLDEN_RATIO % 1)  # degrees; reds lie above 310 and below 40
    return f"hsl({hue:.0f} 90% {(45, 60, 35)[number % 3]}%)"


def _description(name: str, boxes: Sequence[Box]) -> str:
    counts = Counter(box.name for box in boxes if not box.is_fault).most_common(6)
    told = [f"{count} {shortened(word, 40)}" for word, count in counts]
    faults = [f"{shortened(box.name, 60)} in red" for box in boxes if box.is_fault][:6]
    return f"{shortened(name, 60)}: {', '.join([*faults, *told]) or 'no boxes'}"
