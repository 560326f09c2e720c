"""The classes of record files: those of their label map, and those that only the records know, with the ids that they have there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from object_detection_ext.data.label_map import LabelMap, LabelMapItem
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    from data_tools.formats.tfrecord_scan import RecordEntry

NO_LABEL_MAP = LabelMap(())


def complete_label_map(label_map: LabelMap, class_labels: Mapping[tuple[bytes, int], RecordEntry]) -> LabelMap:
    """The label map with the classes that records have besides, under the labels that stand there.

    Args:
        label_map: of the records, perhaps `NO_LABEL_MAP`.
        class_labels: each class text that has a label, with it, and the first record that says so.

    Raises:
        InputError: a text has another label than in the map or an earlier record, or a label another text; names the record and both.
    """
    items = list(label_map.items)
    places = dict.fromkeys(items, "the label map")
    items_by_label = {item.id: item for item in items}
    items_by_text = {text: item for item in items for text in (item.name, item.display_name) if text}
    items_by_text |= {item.name: item for item in items}  # a name counts before another class's display name
    for (encoded, label), entry in class_labels.items():
        try:
            text = encoded.decode()
        except UnicodeDecodeError:
            continue  # the reader of the record refuses it
        item = items_by_text.get(text)
        if item is not None and item.id != label:
            raise InputError(f"{entry}: class text {text!r} has label {label}, in {places[item]} it has {item.id}{_ADVICE}")
        if item is None and label in items_by_label:
            item = items_by_label[label]
            raise InputError(f"{entry}: label {label} is of class text {text!r}, in {places[item]} of {item.name!r}{_ADVICE}")
        if item is None:
            if label < 1:
                raise InputError(f"{entry}: class text {text!r} has label {label}; labels start at 1 (0 is background)")
            item = items_by_text[text] = items_by_label[label] = LabelMapItem(label, text)
            places[item] = str(entry)
            items.append(item)
    return LabelMap(tuple(sorted(items, key=lambda each: each.id)))


_ADVICE = "; give the label map that the records were made with, or mend them with the doctor's --fix"
