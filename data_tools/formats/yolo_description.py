"""What a YOLO data set says about itself: Ultralytics' data.yaml, darknet's obj.data with obj.names, or a plain list of names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from data_tools.image_file import CONTROL_CHARACTERS, find_inside
from object_detection_ext.errors import InputError

PARTS = ("train", "val", "test")

_LARGEST = 1 << 18  # bytes; 10,000 class names are 250 kB, and PyYAML takes seconds for them
_MOST_KEYPOINTS = 1000
_NOTHING = ("", "~", "null")  # how YAML writes an empty value


class YoloDescription(NamedTuple):
    """Classes, parts and keypoints of a YOLO data set."""

    path: Path
    names: Mapping[int, str]  # by class index, from 0; at least one
    parts: Mapping[str, tuple[str, ...]] = {}  # the locations of `train`, `val`, `test` as they are written
    root: str = ""  # what these are relative to, as it is written
    num_keypoints: int = 0  # that follow the box in each row of a label file
    keypoint_values: int = 3  # of one keypoint: x, y, and visibility if 3


class _Name(NamedTuple):
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
    size = path.stat().st_size
    if size > _LARGEST:
        raise InputError(f"{path}: has {size:,} bytes, more than the {_LARGEST:,} that a description may have")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8: {error}") from None


def _collect(names: Iterable[_Name]) -> dict[int, str]:
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
    fields = _YamlFields(path)
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


class _YamlFields:
    """The top level of a data.yaml, by key.

    Nodes, not values: scalars stay as they are written (a class called `no` or `1.0`), every node knows its line, and an alias is a second
    reference, so that aliases of aliases cost nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.nodes: dict[str, Any] = {}
        for key, node in _compose(path).value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in self.nodes:
                raise InputError(f"{self._at(key)}: `{key.value}` is set twice, first in line {self.nodes[key.value].start_mark.line + 1}")
            self.nodes[key.value] = node

    def where(self, key: str) -> str:
        return self._at(self.nodes[key])

    def text(self, key: str) -> str:
        return _text(self.nodes.get(key))

    def whole_number(self, key: str, *, default: int) -> int:
        if key not in self.nodes:
            return default
        number = _whole_number(self.nodes[key])
        if number is None:
            raise InputError(f"{self.where(key)}: {key} must be a whole number, got {self.text(key)!r}")
        return number

    def names(self) -> list[_Name]:
        """`names`: a list, or a mapping from class indices."""
        node = self.nodes.get("names")
        if isinstance(node, yaml.SequenceNode):
            return [_Name(f"{self._at(value)}: names", index, _text(value)) for index, value in enumerate(node.value)]
        names = []
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            index = _whole_number(key)
            if index is None:
                raise InputError(f"{self._at(key)}: names: a class index must be a whole number from 0, got {_text(key)!r}")
            names.append(_Name(f"{self._at(value)}: names", index, _text(value)))
        return names

    def parts(self) -> dict[str, tuple[str, ...]]:
        """Where `train`, `val` and `test` lie: a folder or a list file each, or several."""
        parts = {}
        for key in PARTS:
            node = self.nodes.get(key)
            values = node.value if isinstance(node, yaml.SequenceNode) else [node] if node is not None else []
            if not all(isinstance(value, yaml.ScalarNode) for value in values):
                raise InputError(f"{self.where(key)}: {key} must be a folder or a list of folders")
            texts = tuple(text for value in values if (text := _text(value)) not in _NOTHING)
            parts |= {key: texts} if texts else {}
        return parts

    def keypoint_shape(self) -> tuple[int, int]:
        """How many keypoints an object has, and how many values a keypoint; no keypoints where the file does not say."""
        node = self.nodes.get("kpt_shape")
        if node is None:
            return 0, 3
        numbers = [_whole_number(value) or 0 for value in node.value] if isinstance(node, yaml.SequenceNode) else []
        if len(numbers) != 2 or not 1 <= numbers[0] <= _MOST_KEYPOINTS or numbers[1] not in (2, 3):
            raise InputError(f"{self.where('kpt_shape')}: kpt_shape must be [number of keypoints, 2 or 3], as in [17, 3]")
        return numbers[0], numbers[1]

    def _at(self, node: Any) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"


def _compose(path: Path) -> Any:
    try:
        root = yaml.compose(_read_text(path), Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except RecursionError:
        raise InputError(f"{path}: not valid YAML: nested too deeply") from None
    except InputError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # control characters, a version of thousands of digits
        raise InputError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(root, yaml.MappingNode):
        raise InputError(f"{path}: must be a mapping with `names`, as Ultralytics' data.yaml; got {'nothing' if root is None else root.id}")
    return root


def _text(node: Any) -> str:
    return node.value.strip() if isinstance(node, yaml.ScalarNode) else ""


def _whole_number(node: Any) -> int | None:
    text = _text(node)
    return int(text) if text.isdecimal() and len(text) < 10 else None


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
    names = _collect(_Name(f"{path}:{index + 1}", index, line.strip()) for index, line in enumerate(lines))
    if not names:
        raise InputError(f"{path} lists no class")
    return YoloDescription(path, names)
