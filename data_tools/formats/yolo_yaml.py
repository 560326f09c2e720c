"""Ultralytics' data.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from data_tools.formats.yolo_description import PARTS, NamedClass
from object_detection_ext.errors import InputError

_MOST_KEYPOINTS = 1000
_NOTHING = ("", "~", "null")  # how YAML writes an empty value


class YamlFields:
    """The top level of a data.yaml, by key.

    Nodes, not values: scalars stay as they are written (a class called `no` or `1.0`), every node knows its line, and an alias is a second
    reference, so that aliases of aliases cost nothing.

    Raises (here and by the methods):
        InputError: names file and line.
    """

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self.nodes: dict[str, Any] = {}
        for key, node in _compose(path, text).value:
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

    def names(self) -> list[NamedClass]:
        """`names`: a list, or a mapping from class indices."""
        node = self.nodes.get("names")
        if isinstance(node, yaml.SequenceNode):
            return [NamedClass(f"{self._at(value)}: names", index, _text(value)) for index, value in enumerate(node.value)]
        names = []
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            index = _whole_number(key)
            if index is None:
                raise InputError(f"{self._at(key)}: names: a class index must be a whole number from 0, got {_text(key)!r}")
            names.append(NamedClass(f"{self._at(value)}: names", index, _text(value)))
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


def _compose(path: Path, text: str) -> Any:
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except RecursionError:
        raise InputError(f"{path}: not valid YAML: nested too deeply") from None
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
