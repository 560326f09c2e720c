"""Label maps: class ids and names, in the API's text format `item { id: 1 name: 'cat' display_name: 'Cat' }`. No TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from object_detection_ext.errors import InputError
from object_detection_ext.protos import string_int_label_map_pb2
from object_detection_ext.text_proto import merge_text, read_text, save_text
from object_detection_ext.text_scan import Site, nearest

BACKGROUND = "background"


@dataclass(frozen=True)
class LabelMapItem:
    """One class."""

    id: int  # from 1; gaps between ids are legal (COCO has 80 classes up to 90)
    name: str  # what `image/object/class/text` holds
    display_name: str = ""  # for people; empty when the map has none
    keypoints: tuple[tuple[int, str], ...] = ()  # (id, label)
    ancestor_ids: tuple[int, ...] = ()  # Open Images' class hierarchy
    descendant_ids: tuple[int, ...] = ()
    frequency: int = 0  # LVIS: 0 unspecified, 1 frequent, 2 common, 3 rare
    instance_count: int = 0  # LVIS


@dataclass(frozen=True)
class LabelMap:
    """The classes of a data set, without background (which has id 0 and needs no item).

    Raises:
        ValueError: An id below 1, or a doubled id or name.
    """

    items: tuple[LabelMapItem, ...]
    use_display_name: bool = False  # what `name_of` answers where an item has both

    def __post_init__(self) -> None:
        for item in self.items:
            if item.id < 1:
                raise ValueError(f'label map: the id of "{item.name}" must be >= 1, got {item.id}')
        if len(self._by_id) < len(self.items):
            raise ValueError(f"label map: doubled ids in {[item.id for item in self.items]}")
        if len({item.name for item in self.items}) < len(self.items):
            raise ValueError(f"label map: doubled names in {[item.name for item in self.items]}")

    @classmethod
    def from_names(cls, names: Iterable[str]) -> LabelMap:
        """Ids from 1 in the order of `names`."""
        return cls(tuple(LabelMapItem(index, name) for index, name in enumerate(names, start=1)))

    @property
    def max_id(self) -> int:
        """The highest id, which `num_classes` of the model must reach; 0 for an empty map."""
        return max(self._by_id, default=0)

    def name_of(self, class_id: int) -> str:
        """The name for people; `class_<id>` for an id in a gap of the map, as the API fills gaps."""
        item = self._by_id.get(class_id)
        if item is None:
            return f"class_{class_id}"
        return item.display_name or item.name if self.use_display_name else item.name

    def id_of(self, name: str) -> int:
        """The id of a class by its name or, failing that, by its display name, as the API reads records.

        Raises:
            InputError: No class is called so; names the nearest.
        """
        class_id = self._ids_by_name.get(name)
        if class_id is None:
            near = nearest(name, list(self._ids_by_name))
            hint = f' (did you mean "{near}"?)' if near else ""
            raise InputError(f'class "{name}" is not in the label map{hint}')
        return class_id

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the map in the API's text format; the file appears complete or not at all."""
        save_text(string_int_label_map_pb2.StringIntLabelMap(item=[_to_proto(item) for item in self.items]), path)

    @cached_property
    def _by_id(self) -> Mapping[int, LabelMapItem]:
        return {item.id: item for item in self.items}

    @cached_property
    def _ids_by_name(self) -> Mapping[str, int]:
        by_display_name = {item.display_name: item.id for item in self.items if item.display_name}
        return by_display_name | {item.name: item.id for item in self.items}


def load_label_map(path: str | os.PathLike[str], *, use_display_name: bool = False, num_classes: int | None = None) -> LabelMap:
    """Reads a label map.

    Args:
        path: Text-format `StringIntLabelMap`.
        use_display_name: `name_of` answers display names.
        num_classes: The model's; ids above it are refused.

    Raises:
        OSError: The file cannot be read.
        InputError: Names file and line: not a label map; an item that is empty, without name or id; an id that is negative, doubled,
            above `num_classes`, or 0 for anything but background; a doubled name.
    """
    message = string_int_label_map_pb2.StringIntLabelMap()
    parsed = merge_text(read_text(path), message, source=str(path))
    for site_path, earlier, later in parsed.overwritten:
        raise InputError(f'{later}: {site_path} is set twice (first on line {earlier.line}): is a "}}" or "item {{" missing between?')
    checked = _CheckedItems(parsed.sites, num_classes=num_classes, use_display_name=use_display_name)
    items = tuple(item for index, proto in enumerate(message.item) if (item := checked(index, proto)) is not None)
    if not items:
        raise InputError(f"{path}: the label map has no class; expected item {{ id: 1 name: 'cat' }}, ...")
    return LabelMap(items, use_display_name=use_display_name)


class _CheckedItems:
    """Turns proto items into ours one after the other, refusing what is wrong on its own or clashes with an earlier one."""

    def __init__(self, sites: Mapping[str, Site], *, num_classes: int | None, use_display_name: bool) -> None:
        self._sites = sites
        self._num_classes = num_classes
        self._use_display_name = use_display_name
        self._seen: dict[tuple[str, int | str], tuple[int, str]] = {}  # (field, value) -> index and name of the item

    def __call__(self, index: int, item: string_int_label_map_pb2.StringIntLabelMapItem) -> LabelMapItem | None:
        """The item, or None for background."""
        name = item.name or item.display_name
        if not name:
            has = f"id {item.id} has no name" if item.HasField("id") else "has neither id nor name"
            raise self._error(index, "", f"{has}; expected item {{ id: 1 name: 'cat' }}")
        if not item.HasField("id"):
            raise self._error(index, "", f'"{name}" has no id; ids start at 1')
        if item.id < 0:
            raise self._error(index, "id", f'"{name}" has the negative id {item.id}; ids start at 1')
        if item.id == 0 and BACKGROUND not in (item.name, item.display_name):
            raise self._error(index, "id", f'"{name}" has id 0, which is kept for background; ids start at 1')
        if self._num_classes is not None and item.id > self._num_classes:
            raise self._error(index, "id", f'"{name}" has id {item.id}, above num_classes {self._num_classes} of the model')
        self._refuse_doubled(index, name, "id", item.id)
        self._refuse_doubled(index, name, "name" if item.name else "display_name", name)
        if self._use_display_name and item.name and item.display_name:
            self._refuse_doubled(index, name, "display_name", item.display_name)
        return _from_proto(item, name) if item.id else None

    def _refuse_doubled(self, index: int, name: str, field: str, value: int | str) -> None:
        first, first_name = self._seen.setdefault((field, value), (index, name))
        if first != index:
            raise self._error(index, field, f'"{name}" has the {field} {value} of "{first_name}" on line {self._site(first, field).line}')

    def _site(self, index: int, field: str) -> Site:
        path = f"item[{index}]"
        return self._sites.get(f"{path}.{field}", self._sites[path])

    def _error(self, index: int, field: str, message: str) -> InputError:
        return InputError(f"{self._site(index, field)}: label map item {message}")


def _from_proto(item: string_int_label_map_pb2.StringIntLabelMapItem, name: str) -> LabelMapItem:
    return LabelMapItem(
        id=item.id,
        name=name,
        display_name=item.display_name,
        keypoints=tuple((keypoint.id, keypoint.label) for keypoint in item.keypoints),
        ancestor_ids=tuple(item.ancestor_ids),
        descendant_ids=tuple(item.descendant_ids),
        frequency=item.frequency,
        instance_count=item.instance_count,
    )


def _to_proto(item: LabelMapItem) -> string_int_label_map_pb2.StringIntLabelMapItem:
    """The inverse of `_from_proto`; leaves out what is empty."""
    return string_int_label_map_pb2.StringIntLabelMapItem(
        id=item.id,
        name=item.name,
        display_name=item.display_name or None,
        keypoints=[{"id": keypoint_id, "label": label} for keypoint_id, label in item.keypoints],
        ancestor_ids=item.ancestor_ids,
        descendant_ids=item.descendant_ids,
        frequency=string_int_label_map_pb2.LVISFrequency.Name(item.frequency) if item.frequency else None,
        instance_count=item.instance_count or None,
    )
