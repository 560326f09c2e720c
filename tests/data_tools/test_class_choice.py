from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, Source
from data_tools.class_choice import choose_classes, derive_label_map
from data_tools.selection import Selection
from data_tools.survey import survey
from object_detection_ext.errors import InputError

COCO = {"person": 1, "car": 3, "truck": 8, "dog": 18}


def load(entry: str) -> AnnotatedImage:
    """The entry is the objects of the image: "car dog"."""
    objects = tuple(AnnotatedObject(name, PixelBox(0, 0, 1, 1), name) for name in entry.split())
    return AnnotatedImage(Path(__file__), "a.jpg", "a", None, objects, "here")


def source(*entries: str, class_ids: Mapping[str, int] | None = None) -> Source:
    return Source(entries, load, (), class_ids)


def ids(source: Source, selection: Selection) -> tuple[dict[str, int], tuple[str, ...]]:
    facts = survey(source, num_workers=1)
    chosen, facts, notes = choose_classes(source, facts, selection)
    return {item.name: item.id for item in derive_label_map(chosen, facts).items}, notes


@pytest.mark.parametrize(
    ("selection", "expected", "has_note"),
    [
        (Selection(), COCO, False),
        (Selection(renamed_classes={"car": "auto"}), {"person": 1, "auto": 3, "truck": 8, "dog": 18}, False),
        (Selection(classes=("dog", "car")), {"car": 1, "dog": 2}, True),
        (Selection(excluded_classes=("person",)), {"car": 1, "truck": 2, "dog": 3}, True),
        (Selection(renamed_classes={"dog": "car"}), {"person": 1, "car": 2, "truck": 3}, True),
    ],
    ids=["all", "a new name keeps the id", "fewer classes count from 1", "without one", "merged"],
)
def test_ids_of_a_format_that_has_some(selection, expected, has_note):
    found, notes = ids(source("car", class_ids=COCO), selection)
    assert found == expected
    assert bool(notes) == has_note
    if has_note:
        assert notes == (f"{len(expected)} of 4 classes are left; their ids count from 1, in the order that they had",)


def test_keypoints_follow_their_class_unless_it_is_merged():
    points = {"person": ((1, "nose"),), "dog": ((1, "tail"),), "car": ((1, "wheel"),)}
    keyed = dataclasses.replace(source("car", class_ids=COCO), class_keypoints=points)
    selection = Selection(renamed_classes={"person": "human", "truck": "car"}, excluded_classes=("dog",))
    chosen, facts, _ = choose_classes(keyed, None, selection)
    assert [(item.name, item.keypoints) for item in derive_label_map(chosen, facts).items] == [("human", ((1, "nose"),)), ("car", ())]


def test_names_in_alphabetical_order():
    assert ids(source("dog car", "truck"), Selection()) == ({"car": 1, "dog": 2, "truck": 3}, ())
    assert ids(source("dog car", "truck"), Selection(renamed_classes={"car": "van"}, classes=("van", "dog"))) == ({"dog": 1, "van": 2}, ())


def test_no_label_map_can_be_made():
    with pytest.raises(InputError, match="the annotations hold no object"):
        ids(source("", ""), Selection())
    with pytest.raises(InputError, match="category 'thing' has id 0, but label ids start at 1"):
        ids(source("", class_ids={"thing": 0, "car": 1}), Selection())


def test_a_class_that_is_not_there():
    with pytest.raises(InputError, match='--classes: class "cow" is not in the data set'):
        ids(source("dog", class_ids=COCO), Selection(classes=("cow",)))
    with pytest.raises(InputError, match='--classes: class "cow" is not in the data set'):
        ids(source("dog"), Selection(classes=("cow",)))
