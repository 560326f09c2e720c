"""The classes that objects name, by label and by text, against the label map and the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Check, Finding, RecordPlace, Severity
from object_detection_ext.text_scan import nearest

LABEL_OUT_OF_RANGE = Check(
    "label_out_of_range",
    Severity.ERROR,
    "a class label below 1 or above model.ssd.num_classes",
    "set num_classes to the largest id, or write the records again with the right label map; --fix takes the text's id if there is one",
)
LABEL_NOT_IN_MAP = Check(
    "label_not_in_map",
    Severity.ERROR,
    "a class label that the label map has no item for",
    "add the item, or write the records again with the right label map",
)
TEXT_NOT_IN_MAP = Check(
    "text_not_in_map",
    Severity.ERROR,
    "a class text that is no name in the label map",
    "add the class to the label map, or correct the text where the records are made",
)
LABEL_TEXT_DISAGREE = Check(
    "label_text_disagree",
    Severity.ERROR,
    "a class label that the label map gives another name than the object's class text: records made with another map, often one off by one",
    "give the label map that the records were made with, or write them again; --fix takes the id of the text",
)
NO_CLASS = Check(
    "no_class",
    Severity.ERROR,
    "an object with neither a class label nor a class text that a label map could number",
    "set label_map_path if the records have texts; else write them again",
)
CHECKS = (LABEL_OUT_OF_RANGE, LABEL_NOT_IN_MAP, TEXT_NOT_IN_MAP, LABEL_TEXT_DISAGREE, NO_CLASS)


class NamedClass(NamedTuple):
    """How an object names its class."""

    label: int | None
    text: str  # "" without one


@dataclass
class _Seen:
    """The objects of one NamedClass."""

    where: str
    image: str
    record: RecordPlace
    object_index: int
    count: int = 0
    num_images: int = 0


@dataclass
class ClassTable:
    """Counts objects by how they name their class; a few rows, however many objects."""

    seen: dict[NamedClass, _Seen] = field(default_factory=dict)

    def add(self, classes: Sequence[NamedClass], *, where: Sequence[str], image: str, record: RecordPlace) -> None:
        """Takes the objects of one image; `where` is one place an object."""
        counted = set[NamedClass]()
        for index, each in enumerate(classes):
            row = self.seen.get(each)
            if row is None:
                row = self.seen[each] = _Seen(where[index], image, record, index)
            row.count += 1
            row.num_images += each not in counted
            counted.add(each)


def class_id(named: NamedClass, label_map: LabelMap | None) -> int:
    """The id that training gives: the label, else the text's in the map; 0 for none."""
    if named.label is not None:
        return named.label if 0 < named.label < 1 << 31 else 0
    return _id_of(named.text, label_map) or 0


def check_classes(table: ClassTable, *, label_map: LabelMap | None, num_classes: int | None, needs_ids: bool = True) -> Iterator[Finding]:
    """Yields one finding for each pair of label and text that is wrong, with the number of its objects and the first of them.

    Args:
        table: all objects of a set.
        label_map: None where there is none, or none that can be read.
        num_classes: the model's; None without a config.
        needs_ids: False for a source folder, whose classes get their ids when records are written, and where a label map cannot be read.
    """
    shift = _common_shift(table, label_map)
    known = _names_by_id(label_map)
    for named, seen in table.seen.items():
        label, text = named
        text_id = _id_of(text, label_map) if text else None
        if text and label_map is not None and text_id is None:
            yield _finding(TEXT_NOT_IN_MAP, seen, f"class text {text!r} is not in the label map{_hint(text, label_map)}")
        elif label is None and text_id is None:
            if needs_ids:
                yield _finding(
                    NO_CLASS, seen, f"the object has no class label{f', its text is {text!r}' if text else ' and no class text'}"
                )
        elif label is not None and label not in known and not 1 <= label <= (num_classes or label):
            allowed = f"num_classes {num_classes} allows 1 to {num_classes}" if num_classes else "ids start at 1"
            yield _finding(LABEL_OUT_OF_RANGE, seen, f"class label {label}{_quoted(text)} is out of range; {allowed}{shift}")
        elif label is not None and known and label not in known:
            yield _finding(LABEL_NOT_IN_MAP, seen, f"class label {label}{_quoted(text)} has no item in the label map{shift}")
        elif label is not None and text and known and text not in known[label]:
            message = f"class label {label} is {known[label][0]!r} in the label map, but the class text is {text!r}, which has id {text_id}"
            yield _finding(LABEL_TEXT_DISAGREE, seen, message + shift)


def _finding(check: Check, seen: _Seen, message: str) -> Finding:
    objects = f"{seen.count:,} object{'s' * (seen.count != 1)} in {seen.num_images:,} image{'s' * (seen.num_images != 1)}"
    return check(
        seen.where, f"{message} ({objects}, first: object {seen.object_index})", image=seen.image, record=seen.record,
        object_index=seen.object_index,
    )  # fmt: skip


def _common_shift(table: ClassTable, label_map: LabelMap | None) -> str:
    """Says it once more plainly where all labels are off by the same number, as with a map that starts at 0."""
    shifts = set[int]()
    for label, text in table.seen:
        text_id = _id_of(text, label_map) if text else None
        if label is not None and text_id is not None:
            shifts.add(label - text_id)
    if len(shifts) != 1 or (shift := shifts.pop()) == 0:
        return ""
    return f"; every label is {abs(shift)} {'below' if shift < 0 else 'above'} the id of its text"


def _id_of(text: str, label_map: LabelMap | None) -> int | None:
    if label_map is None or not text:
        return None
    try:
        return label_map.id_of(text)
    except InputError:
        return None


def _names_by_id(label_map: LabelMap | None) -> Mapping[int, tuple[str, ...]]:
    return {item.id: (item.name, item.display_name or item.name) for item in label_map.items} if label_map else {}


def _hint(text: str, label_map: LabelMap) -> str:
    near = nearest(text, [item.name for item in label_map.items])
    return f" (did you mean {near!r}?)" if near else ""


def _quoted(text: str) -> str:
    return f" ({text!r})" if text else ""
