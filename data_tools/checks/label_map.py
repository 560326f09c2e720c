"""A label map by itself and against the model's num_classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from object_detection_ext.data.label_map import LabelMap, load_label_map
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Check, Finding, Severity

BAD_LABEL_MAP = Check(
    "bad_label_map",
    Severity.ERROR,
    "a label map that is missing or cannot be meant: an item without id or name, merged or misplaced items, a doubled id or name, "
    "id 0 for anything but background",
    "correct the line that is named; gaps between ids are legal",
)
NO_LABEL_MAP = Check(
    "no_label_map",
    Severity.WARNING,
    "an input reader without label map: labels cannot be checked against texts, and tables show numbers",
    "set label_map_path",
)
ID_ABOVE_NUM_CLASSES = Check(
    "id_above_num_classes",
    Severity.ERROR,
    "a label-map id above model.ssd.num_classes",
    "set num_classes to the largest id of the label map",
)
NUM_CLASSES_ABOVE_IDS = Check(
    "num_classes_above_ids",
    Severity.WARNING,
    "num_classes above the largest id: outputs that no object ever teaches",
    "set num_classes to the largest id of the label map, unless a checkpoint with more classes is continued",
)
SIMILAR_NAMES = Check(
    "similar_names",
    Severity.WARNING,
    "class names that differ by case, spaces, hyphens or underscores only, in a label map, between two of them, or in the records",
    "give the class one name everywhere; two names are two classes",
)
CHECKS = (BAD_LABEL_MAP, NO_LABEL_MAP, ID_ABOVE_NUM_CLASSES, NUM_CLASSES_ABOVE_IDS, SIMILAR_NAMES)

_SEPARATORS = re.compile(r"[\s_-]+")


class LabelMapCheck(NamedTuple):
    """A label map, None where it cannot be read, and what is wrong with it."""

    label_map: LabelMap | None
    findings: tuple[Finding, ...]


class NamedAt(NamedTuple):
    """A class name and where it stands."""

    name: str
    where: str


def check_label_map(path: str, *, num_classes: int | None = None, field: str = "--label_map", where: str = "") -> LabelMapCheck:
    """Reads a label map and says what is wrong with it.

    Args:
        path: of the text file.
        num_classes: the model's; None without a config.
        field: the flag or config field that names the map.
        where: the place of that field; the map's path where empty.
    """
    if not Path(path).is_file():
        message = f"{field}: there is no file {path!r} (current directory: {Path.cwd()})"
        return LabelMapCheck(None, (BAD_LABEL_MAP(where or path, message, advice=_nearest_file(Path(path))),))
    try:
        label_map = load_label_map(path)
    except OSError as error:
        return LabelMapCheck(None, (BAD_LABEL_MAP(path, f"the label map cannot be read: {error.strerror or error}"),))
    except InputError as error:
        return LabelMapCheck(None, (BAD_LABEL_MAP(*split_place(error)),))
    return LabelMapCheck(label_map, tuple(_check_num_classes(label_map, path, num_classes)))


def split_place(error: InputError) -> tuple[str, str]:
    """The place that a message begins with, and the rest."""
    where, _, message = str(error).partition(": ")
    return (where, message) if message else ("", where)


def names_in(label_map: LabelMap, where: str) -> Iterator[NamedAt]:
    """Yields the names of a label map, for `check_names`."""
    for item in label_map.items:
        yield NamedAt(item.name, f"{where}: id {item.id}")


def check_names(names: Iterable[NamedAt]) -> Iterator[Finding]:
    """Yields each group of names that differ in nothing that a person would say aloud."""
    groups: dict[str, dict[str, str]] = {}
    for name, where in names:
        groups.setdefault(spoken(name), {}).setdefault(name, where)
    for spellings in groups.values():
        if len(spellings) > 1:
            listed = ", ".join(f"{name!r} ({where})" for name, where in spellings.items())
            yield SIMILAR_NAMES(next(iter(spellings.values())), f"{listed} differ in spelling only")


def spoken(name: str) -> str:
    """What names that are said alike have in common."""
    return _SEPARATORS.sub("", name.casefold())


def _check_num_classes(label_map: LabelMap, path: str, num_classes: int | None) -> Iterator[Finding]:
    if num_classes is None:
        return
    try:
        load_label_map(path, num_classes=num_classes)
    except InputError as error:  # names the line of the first
        above = sum(item.id > num_classes for item in label_map.items)
        where, message = split_place(error)
        more = f"; {above - 1} more are" if above > 1 else ""
        yield ID_ABOVE_NUM_CLASSES(where, message + more, advice=f"set num_classes to {label_map.max_id}, the largest id of the label map")
    else:
        if label_map.max_id < num_classes:
            yield NUM_CLASSES_ABOVE_IDS(path, f"num_classes is {num_classes}, the largest id is {label_map.max_id}")


def _nearest_file(path: Path) -> str:
    beside = sorted(other.name for other in path.parent.glob("*.pbtxt")) if path.parent.is_dir() else []
    return f"in {path.parent} there are {', '.join(beside[:5])}" if beside else "give the path of a label map"
