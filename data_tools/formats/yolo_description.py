"""What a YOLO data set says about itself: Ultralytics' data.yaml, darknet's obj.data with obj.names, or a plain list of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data_tools.image_file import CONTROL_CHARACTERS, find_inside
from object_detection_ext.errors import InputError

PARTS = ("train", "val", "test")

LABEL_ROW = re.compile(r"[0-9]+(\s+[-+.eE0-9]+){4,}\s*")  # class, and numbers

_LARGEST = 1 << 18  # bytes; 10,000 class names are 250 kB, and PyYAML takes seconds for them


class YoloDescription(NamedTuple):
    """Classes, parts and keypoints of a YOLO data set."""

    path: Path
    names: Mapping[int, str]  # by class index, from 0; at least one
    parts: Mapping[str, tuple[str, ...]] = {}  # the locations of `train`, `val`, `test` as they are written
    root: str = ""  # what these are relative to, as it is written
    num_keypoints: int = 0  # that follow the box in each row of a label file
    keypoint_values: int = 3  # of one keypoint: x, y, and visibility if 3


class NamedClass(NamedTuple):
    """A class name, and where it stands."""

    where: str
    class_index: int
    text: str


def read_description(path: Path) -> YoloDescription:
    """Reads data.yaml (`*.yaml`, `*.yml`), obj.data (`*.data`) or a file of class names, one a line (`*.names`, `*.txt`).

    Raises:
        InputError: names file and line: not such a file; no class, a class twice, not as many as `nc`.
    """
    readers: dict[str, Callable[[Path], YoloDescription]] = {
        ".yaml": _read_yaml,
        ".yml": _read_yaml,
        ".data": _read_darknet,
        ".names": _read_names,
        ".txt": _read_names,
    }
    read = readers.get(path.suffix.lower())
    if read is None or not path.is_file():
        kinds = "data.yaml, darknet's obj.data, or a file of class names such as obj.names or classes.txt"
        raise InputError(f"{path}: the yolo format needs {kinds}" + ("" if path.is_file() else "; there is no such file"))
    return read(path)


def _read_text(path: Path) -> str:
    """A small text file in UTF-8; raises `InputError` for any other."""
    size = path.stat().st_size
    if size > _LARGEST:
        raise InputError(f"{path}: has {size:,} bytes, more than the {_LARGEST:,} that a description may have")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8: {error}") from None


def _collect(names: Iterable[NamedClass]) -> dict[int, str]:
    by_index, by_text = dict[int, str](), dict[str, int]()
    for where, index, text in names:
        if not text or CONTROL_CHARACTERS.search(text):
            raise InputError(f"{where}: must be the name of class {index}, got {text!r}")
        if index in by_index:
            raise InputError(f"{where}: class {index} is named twice, {by_index[index]!r} and {text!r}")
        if text in by_text:
            raise InputError(f"{where}: {text!r} is the name of class {by_text[text]} and of class {index}")
        by_index[index], by_text[text] = text, index
    return by_index


def _read_yaml(path: Path) -> YoloDescription:
    from data_tools.formats.yolo_yaml import YamlFields  # PyYAML takes longer to load than all formats

    fields = YamlFields(path, _read_text(path))
    names = _collect(fields.names())
    if not names:
        raise InputError(
            f"{path}: `names` must list the classes, as in names: [cat, dog]; the file sets {', '.join(fields.nodes) or 'nothing'}"
        )
    count = fields.whole_number("nc", default=len(names))
    if count != len(names):
        raise InputError(f"{fields.where('nc')}: nc is {count}, but `names` has {len(names)} classes")
    num_keypoints, keypoint_values = fields.keypoint_shape()
    return YoloDescription(path, names, fields.parts(), fields.text("path"), num_keypoints, keypoint_values)


def _read_darknet(path: Path) -> YoloDescription:
    fields: dict[str, str] = {}
    for line in _read_text(path).splitlines():
        key, equals, value = line.partition("=")
        if equals and not key.lstrip().startswith("#"):
            fields[key.strip()] = value.strip()
    names = fields.get("names", "").replace("\\", "/")
    if not names:
        raise InputError(f"{path}: must name a file of class names, as in names = data/obj.names; it sets {', '.join(fields) or 'nothing'}")
    # The path counts from where darknet was started: some end of it lies beside this file.
    parts = PurePosixPath(names).parts
    folder = path.parent.resolve()
    ends = ["/".join(parts[start:]) for start in range(len(parts)) if parts[start] != "/" and ".." not in parts[start:]]
    found = next((found for end in ends if (found := find_inside(folder, end))), None)
    if found is None:
        raise InputError(f"{path}: no file {names!r}, nor an end of this path, in {folder}")
    return _read_names(found)._replace(path=path)


def _read_names(path: Path) -> YoloDescription:
    lines = _read_text(path).rstrip().splitlines()
    if lines and LABEL_ROW.fullmatch(lines[0]):
        raise InputError(f"{path}:1: must be the name of class 0, got {lines[0]!r}, a row of a label file")
    names = _collect(NamedClass(f"{path}:{index + 1}", index, line.strip()) for index, line in enumerate(lines))
    if not names:
        raise InputError(f"{path} lists no class")
    return YoloDescription(path, names)
