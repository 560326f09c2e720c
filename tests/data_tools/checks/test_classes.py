"""Labels and texts against each other, the label map and num_classes."""

from __future__ import annotations

import dataclasses

import pytest

from data_tools.checks.scan import RecordSet
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap, LabelMapItem


def set_class(record, label, text):
    record[schema.OBJECT_CLASS_LABEL][0] = label
    record[schema.OBJECT_CLASS_TEXT][0] = text


def shift_all(sets):
    for record in sets.train:
        record[schema.OBJECT_CLASS_LABEL] = [0, 1]


def without_classes(sets):
    for key in (schema.OBJECT_CLASS_LABEL, schema.OBJECT_CLASS_TEXT):
        sets.eval[0].pop(key)


SHIFTED = "; every label is 1 below the id of its text (20 objects in 20 images, first: object "
DISAGREE = "is 'cat' in the label map, but the class text is 'dog', which has id 2"
CLASS_FAULTS = {
    "range": (
        lambda sets: set_class(sets.eval[0], 3, b""),
        {"label_out_of_range": "class label 3 is out of range; num_classes 2 allows 1 to 2 (1 object in 1 image, first: object 0)"},
    ),
    "text": (
        lambda sets: set_class(sets.eval[0], 1, b"dogs"),
        {"text_not_in_map": "class text 'dogs' is not in the label map (did you mean 'dog'?)"},
    ),
    "disagree": (lambda sets: set_class(sets.eval[0], 1, b"dog"), {"label_text_disagree": f"class label 1 {DISAGREE} (1 object"}),
    "shifted": (
        shift_all,
        {
            "label_out_of_range": f"class label 0 ('cat') is out of range; num_classes 2 allows 1 to 2{SHIFTED}0)",
            "label_text_disagree": f"class label 1 {DISAGREE}{SHIFTED}1)",
        },
    ),
    "none": (without_classes, {"no_class": "the object has no class label and no class text"}),
}


@pytest.mark.parametrize(("spoil", "messages"), CLASS_FAULTS.values(), ids=CLASS_FAULTS.keys())
def test_a_wrong_class(sets, spoil, messages):
    spoil(sets)
    groups = sets.found(sets.scan())
    assert set(messages) <= set(groups)
    assert {check for check in groups if groups[check].severity == 2} == set(messages)
    for check, message in messages.items():
        assert groups[check].findings[0].message.startswith(message)


def test_a_label_in_a_gap_of_the_map(sets):
    sets.settings = dataclasses.replace(sets.settings, num_classes=90)
    sets.maps["eval"] = sets.maps["train"] = LabelMap((LabelMapItem(1, "cat"), LabelMapItem(2, "dog"), LabelMapItem(90, "owl")))
    set_class(sets.eval[0], 17, b"")
    groups = sets.found(sets.scan())
    assert groups["label_not_in_map"].findings[0].message.startswith("class label 17 has no item in the label map (1 object in 1 image")
    assert groups["unused_class"].findings[0].message == "no object in the train set for 'owl'"


def test_texts_without_labels_count_by_the_map(sets):
    for record in sets.train:
        record.pop(schema.OBJECT_CLASS_LABEL)
    scan = sets.scan()
    assert not sets.found(scan)
    assert scan.summary().readers[0].class_ids[:2].tolist() == [1, 2]


def test_texts_without_labels_or_map_are_no_class(sets):
    sets.maps["train"] = None
    for record in sets.train:
        record.pop(schema.OBJECT_CLASS_LABEL)
    unreadable, without = (RecordSet("train", (str(sets.paths["train"]),), None, path) for path in ("map.pbtxt", ""))
    assert (
        sets.found(sets.scan(record_sets=[without]))["no_class"]
        .findings[0]
        .message.startswith("the object has no class label, its text is 'cat'")
    )
    assert not sets.found(sets.scan(record_sets=[unreadable]))  # the map was complained of


def test_names_that_differ_by_case_or_space(sets):
    sets.maps["train"] = sets.maps["eval"] = None
    for record in sets.eval:
        record[schema.OBJECT_CLASS_TEXT] = [b"Cat ", b"dog"]
    group = sets.found(sets.scan())["similar_names"]
    assert "'cat' (" in group.findings[0].message
    assert "'Cat ' (" in group.findings[0].message
