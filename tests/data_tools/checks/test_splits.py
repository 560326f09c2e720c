"""Training against evaluation."""

from __future__ import annotations

import pytest

from data_tools.checks.scan import RecordSet
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap, LabelMapItem


def test_an_image_of_evaluation_in_training(sets):
    sets.train[5][schema.IMAGE_ENCODED], sets.train[5][schema.IMAGE_KEY_SHA256] = (
        sets.eval[2][schema.IMAGE_ENCODED],
        sets.eval[2][schema.IMAGE_KEY_SHA256],
    )
    scan = sets.scan()
    assert list(sets.found(scan)) == ["image_in_train_and_eval"]
    assert (scan.shared.exact, scan.shared.near) == ({5: 2}, {})


@pytest.mark.parametrize("change", ["quality", "size", "brightness", "png", "gray"])
def test_a_near_copy_of_evaluation_in_training(sets, make, change):
    image = make.picture(102)
    encoded = {
        "quality": lambda: make.encode(image, quality=40),
        "size": lambda: make.encode(image.resize((48, 36))),
        "brightness": lambda: make.encode(image.point(lambda value: value * 0.9)),
        "png": lambda: make.encode(image, "PNG"),
        "gray": lambda: make.encode(image.convert("L").convert("RGB")),
    }[change]()
    make.set_image(sets.train[5], encoded, format_="png" if change == "png" else "jpeg", size=(48, 36) if change == "size" else (96, 72))
    scan = sets.scan()
    assert "near_copy_in_train_and_eval" in sets.found(scan)
    assert (scan.shared.exact, scan.shared.near) == ({}, {5: 2})


def test_records_that_are_trained_and_evaluated_on(sets):
    path = str(sets.paths["train"])
    both = [RecordSet(name, (path,), sets.maps[name], "map.pbtxt") for name in ("train", "eval")]
    assert list(sets.found(sets.scan(record_sets=both))) == ["same_records"]


def test_classes_that_only_one_set_has(sets):
    for record in sets.train:
        record[schema.OBJECT_CLASS_LABEL], record[schema.OBJECT_CLASS_TEXT] = [1, 1], [b"cat", b"cat"]
    for record in sets.eval:
        record[schema.OBJECT_CLASS_LABEL], record[schema.OBJECT_CLASS_TEXT] = [2, 2], [b"dog", b"dog"]
    groups = sets.found(sets.scan())
    assert groups["class_only_in_train"].findings[0].message == "no object here for 'cat'"
    assert groups["class_only_in_eval"].findings[0].message == "no object here for 'dog'"


def test_label_maps_that_contradict_each_other(sets):
    sets.maps["eval"] = LabelMap((LabelMapItem(1, "dog"), LabelMapItem(2, "cat")))
    for record in sets.eval:
        record[schema.OBJECT_CLASS_TEXT] = [b"dog", b"cat"]
    groups = sets.found(sets.scan())
    assert groups["different_label_maps"].findings[0].message == "id 1 is 'cat' for training and 'dog' for evaluation"
