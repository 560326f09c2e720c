"""The classes that records are made with: those of the data set, selected and renamed, and their label map."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from data_tools.annotated_image import Source
from data_tools.selection import SelectingReader, Selection
from data_tools.survey import Survey
from object_detection_ext.data.label_map import LabelMap, LabelMapItem
from object_detection_ext.errors import InputError


class ChosenClasses(NamedTuple):
    """A data set that shows only what was selected."""

    source: Source
    facts: Survey | None
    notes: tuple[str, ...]


def choose_classes(source: Source, facts: Survey | None, selection: Selection) -> ChosenClasses:
    """Applies `selection` to the objects of a data set.

    Args:
        source: the data set.
        facts: the survey of it; may be None where the format has class ids.
        selection: what to leave out and to rename.

    Raises:
        InputError: the selection names a class that is not in the data set.
    """
    if not selection.changes_classes:
        return ChosenClasses(source, facts, ())
    names = source.class_ids if source.class_ids is not None else facts.class_texts if facts else ()
    selection.check(names)
    merged = selection.merged_classes(names)
    renamed = [(selection(name), points) for name, points in source.class_keypoints.items()]
    keypoints = {name: points for name, points in renamed if name is not None and name not in merged}  # parts may differ in theirs
    items = {name: _lone(item) for name, item in source.class_items.items() if selection(name) == name and name not in merged}
    ids, notes = None if source.class_ids is None else _choose_ids(dict(source.class_ids), selection), ()
    if ids is not None and source.class_ids is not None and len(ids) < len(source.class_ids):
        ids = {name: id_ for id_, name in enumerate(sorted(ids, key=ids.__getitem__), start=1)}
        notes = (f"{len(ids)} of {len(source.class_ids)} classes are left; their ids count from 1, in the order that they had",)
    load = SelectingReader(source.load, selection, merged)
    chosen = dataclasses.replace(source, load=load, class_ids=ids, class_keypoints=keypoints, class_items=items)
    return ChosenClasses(chosen, None if facts is None else facts.select(selection), notes)


def derive_label_map(source: Source, facts: Survey | None) -> LabelMap:
    """The format's ids, or where it has none the names in `facts` in alphabetical order from 1.

    Raises:
        InputError: there is no object, or an id cannot stand in a label map.
    """
    if source.class_ids is not None:
        by_id = sorted(source.class_ids.items(), key=lambda item: item[1])
        if by_id and by_id[0][1] < 1:
            name, id_ = by_id[0]
            raise InputError(f"category {name!r} has id {id_}, but label ids start at 1 (0 is background); give a --label_map")
        items = [
            dataclasses.replace(
                source.class_items.get(name) or LabelMapItem(id_, name, display_name=name),
                id=id_,
                keypoints=source.class_keypoints.get(name, ()),
            )
            for name, id_ in by_id
        ]
        return LabelMap(tuple(items))
    if facts is None or not facts.class_texts:
        raise InputError("the annotations hold no object, so that no label map can be made from them; give a --label_map")
    return LabelMap.from_names(facts.class_texts)


def _lone(item: LabelMapItem) -> LabelMapItem:
    """An item without what it says of other ids, which may not be what they were."""
    return dataclasses.replace(item, ancestor_ids=(), descendant_ids=())


def _choose_ids(class_ids: dict[str, int], selection: Selection) -> dict[str, int]:
    """Merged classes get the lowest id of their parts."""
    ids: dict[str, int] = {}
    for old_name, id_ in class_ids.items():
        name = selection(old_name)
        if name is not None:
            ids[name] = min(id_, ids.get(name, id_))
    return ids
