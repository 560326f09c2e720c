"""The class hierarchy of Open Images, a tree: `{"LabelName": ..., "Subcategory": [{"LabelName": ..., "Subcategory": [...]}, ...]}`.

Its root only holds the tree together and is no class; `Part`, beside `Subcategory`, lists parts instead of kinds (a face of a person) and
is not followed, as in the TF Object Detection API. A class may stand in several places.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_tools.image_file import CONTROL_CHARACTERS
from object_detection_ext.errors import InputError

_LARGEST_FILE = 1 << 24  # bytes; the tree of 600 classes has 100,000
_DEEPEST = 50  # levels; the tree of 600 classes has 6


@dataclass(frozen=True)
class ClassHierarchy:
    """What a class implies: an object of a class is also one of its parents; a class that is absent rules out its children.

    Both are transitive, in the order of the tree; every class of the tree has an entry in both.
    """

    name: str  # for messages: the file
    parents: Mapping[str, tuple[str, ...]]  # nearest first
    children: Mapping[str, tuple[str, ...]]


def read_hierarchy(path: Path) -> ClassHierarchy:
    """Reads the JSON file.

    Raises:
        InputError: no such tree, too deep a tree, or a class that is a parent of its own; names the file and the place.
    """
    parents: dict[str, dict[str, None]] = {}  # dicts serve as sets that keep their order
    children: dict[str, dict[str, None]] = {}
    for name, ancestors, where in _classes(_load(path), str(path)):
        if name in ancestors:
            raise InputError(f"{where}: the class {name!r} is a parent of its own")
        parents.setdefault(name, {}).update(dict.fromkeys(ancestors))
        children.setdefault(name, {})
        for ancestor in ancestors:
            children[ancestor][name] = None
    return ClassHierarchy(str(path), {name: tuple(found) for name, found in parents.items()}, {k: tuple(v) for k, v in children.items()})


def _classes(root: object, path: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yields name, ancestors (nearest first) and place of every node but the root, parents before children."""
    pending: list[tuple[object, tuple[str, ...], str]] = [(root, (), path)]
    while pending:
        node, ancestors, where = pending.pop()
        if not isinstance(node, dict):
            raise InputError(f"{where}: a class must be an object with LabelName, got {str(node)!r}")
        below = ancestors
        if where != path:
            name = node.get("LabelName")
            if not isinstance(name, str) or not name or CONTROL_CHARACTERS.search(name):
                raise InputError(f"{where}: LabelName must be the code of a class, got {str(name)!r}")
            yield name, ancestors, where
            below = (name, *ancestors)
        kinds = node.get("Subcategory", [])
        if not isinstance(kinds, list):
            raise InputError(f"{where}: Subcategory must be a list, got {str(kinds)!r}")
        if len(below) > _DEEPEST:
            raise InputError(f"{where}: the tree has more than {_DEEPEST} levels")
        pending += [(kind, below, f"{where}: Subcategory[{index}]") for index, kind in reversed(list(enumerate(kinds)))]


def _load(path: Path) -> object:
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes; a class hierarchy has at most {_LARGEST_FILE:,}")
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict) or "Subcategory" not in content:
        raise InputError(f"{path}: must be an object with LabelName and Subcategory, as Open Images' class hierarchy is")
    return content
