"""Records whose lists do not go together, or which are none."""

from __future__ import annotations

import pytest

from object_detection_ext.data import schema


def drop_label(record):
    record[schema.OBJECT_CLASS_LABEL].pop()


def drop_coordinate(record):
    record[schema.OBJECT_XMAX].pop()


def add_points(record):
    record[schema.OBJECT_KEYPOINT_X], record[schema.OBJECT_KEYPOINT_Y] = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop_label, "image/object/class/label has 1 values for 2 boxes"),
        (drop_coordinate, "the box coordinates differ in number: ymin 2, xmin 2, ymax 2, xmax 1"),
        (add_points, "image/object/keypoint/y has 3 values for 2 boxes"),
    ],
)
def test_lists_of_different_length(sets, spoil, message):
    spoil(sets.eval[1])
    scan = sets.scan()
    assert sets.found(scan)["list_lengths"].findings[0].message.startswith(message)
    assert list(sets.found(scan)) == ["list_lengths"]


def test_a_feature_of_the_wrong_type(sets):
    sets.train[3][schema.OBJECT_CLASS_LABEL] = [1.0, 2.0]
    scan = sets.scan()
    assert list(sets.found(scan)) == ["wrong_feature_type"]
    assert sets.found(scan)["wrong_feature_type"].findings[0].message == "image/object/class/label must hold int64, got floats"


def test_a_record_that_is_no_example(sets):
    sets.train.append(b"\xff\xff\xff")
    assert list(sets.found(sets.scan())) == ["not_an_example"]
