"""Each fault of a box is found, and nothing else finds anything."""

from __future__ import annotations

import dataclasses
import re

import pytest

from data_tools.checks.input_size import FixedInputSize
from object_detection_ext.data import schema

EDGES = (schema.OBJECT_YMIN, schema.OBJECT_XMIN, schema.OBJECT_YMAX, schema.OBJECT_XMAX)


def set_box(record, *edges, index=0):
    for key, value in zip(EDGES, edges, strict=True):
        record[key][index] = value


# Of record 3 of the training set; each with words of the message.
BOX_FAULTS = {
    "nan_box": ((0.25, float("nan"), 0.75, 0.375), r"object 0 \(cat\): the box .*xmin nan.* is not finite"),
    "inverted_box": ((0.75, 0.125, 0.25, 0.375), "edges in the wrong order"),
    "pixel_box": ((18.0, 12.0, 54.0, 36.0), "is given in pixels"),
    "empty_box": ((0.25, 0.125, 0.25, 0.375), "is empty"),
    "outside_box": ((0.25, 0.125, 0.75, 1.25), "leaves the image"),
}


@pytest.mark.parametrize("check", BOX_FAULTS)
def test_a_broken_box(sets, check):
    box, message = BOX_FAULTS[check]
    set_box(sets.train[3], *box)
    scan = sets.scan()
    assert list(sets.found(scan)) == [check]
    (finding,) = sets.found(scan)[check].findings
    assert (finding.record.index, finding.object_index, finding.image) == (3, 0, "id3")
    assert finding.where == f"{sets.paths['train']}: record 3"
    assert re.search(message, finding.message)
    assert scan.summary().readers[0].is_sound.sum() == (40 if check == "outside_box" else 39)


def test_a_box_beyond_the_image_is_not_sound(sets):
    set_box(sets.train[3], 0.25, 1.125, 0.75, 1.25)
    scan = sets.scan()
    assert "lies outside of the image" in sets.found(scan)["outside_box"].findings[0].message
    assert not scan.summary().readers[0].is_sound[6]


def test_rounding_of_an_edge_is_not_outside(sets):
    set_box(sets.train[3], -0.00005, 0.125, 1.00005, 0.375)
    assert not sets.found(sets.scan())


@pytest.mark.parametrize(("width", "checks"), [(3.9, ["tiny_box"]), (4.1, [])])
def test_a_box_is_tiny_below_four_pixels_of_the_input(sets, width, checks):
    sets.settings = dataclasses.replace(sets.settings, input_size=FixedInputSize(160, 320))
    set_box(sets.train[3], 0.25, 0.125, 0.75, 0.125 + width / 320)
    scan = sets.scan()
    assert list(sets.found(scan)) == checks
    if checks:
        assert "has 3.9x80.0 pixels at the training size" in sets.found(scan)["tiny_box"].findings[0].message


def test_the_same_box_twice(sets):
    set_box(sets.train[3], 0.25, 0.125, 0.75, 0.375, index=1)
    assert not sets.found(sets.scan())  # a cat and a dog may be in one place
    sets.train[3][schema.OBJECT_CLASS_LABEL], sets.train[3][schema.OBJECT_CLASS_TEXT] = [1, 1], [b"cat", b"cat"]
    sets.train.append(sets.train[3] | {schema.OBJECT_CLASS_LABEL: [2, 2], schema.OBJECT_CLASS_TEXT: [b"dog", b"dog"]})  # enough dogs
    assert sets.found(sets.scan())["double_box"].findings[0].object_index == 1
