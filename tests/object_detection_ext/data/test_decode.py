"""What each key of a record means, and that wrong ground truth is found both in the graph and in words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.data.decode import ExampleDecoder, source_id_of
from object_detection_ext.data.label_map import LabelMap, LabelMapItem, load_label_map
from object_detection_ext.data.record_index import index_records
from tests.object_detection_ext.data.records import example, jpeg

LABEL_MAP = LabelMap((LabelMapItem(1, "n01", display_name="cat"), LabelMapItem(3, "n03", display_name="dog"), LabelMapItem(4, "bird")))
DECODE = ExampleDecoder(num_classes=4, label_map=LABEL_MAP)
BOXES = [[0.0, 0.25, 0.5, 0.75], [0.5, 0.5, 0.5, 1.0]]  # the second has no area, which the API allows


def _in_graph(decode: ExampleDecoder, record: bytes) -> Any:
    return next(iter(tf.data.Dataset.from_tensors(record).map(decode)))


@pytest.mark.parametrize("run", [lambda decode, record: decode(tf.constant(record)), _in_graph], ids=["eager", "tf.data"])
def test_all_keys(run: Any) -> None:
    record = example(
        jpeg(size=(20, 40)),
        BOXES,
        [3, 1],
        source_id=[b"007"],
        filename=[b"a.jpg"],
        object_class_text=[b"n03", b"cat"],
        object_weight=[0.5, 2.0],
        object_is_crowd=[0, 1],
        object_difficult=[1, 0],
        object_area=[33.0, 44.0],
    )
    decoded = run(DECODE, record)
    assert decoded.image.shape == (20, 40, 3) and decoded.image.dtype == tf.uint8
    np.testing.assert_array_equal(decoded.boxes, BOXES)
    np.testing.assert_array_equal(decoded.classes, [2, 0])
    np.testing.assert_array_equal(decoded.weights, [0.5, 2.0])
    np.testing.assert_array_equal(decoded.is_crowd, [False, True])
    np.testing.assert_array_equal(decoded.difficult, [True, False])
    np.testing.assert_array_equal(decoded.area, [33.0, 44.0])
    np.testing.assert_array_equal(decoded.original_shape, [20, 40])
    assert decoded.source_id == b"007"
    assert decoded.masks is None and decoded.keypoints is None


def test_defaults() -> None:
    decoded = DECODE(tf.constant(example(jpeg(size=(20, 40)), BOXES, [3, 1], filename=[b"a.jpg"])))
    np.testing.assert_array_equal(decoded.weights, [1, 1])
    np.testing.assert_array_equal(decoded.is_crowd, [False, False])
    np.testing.assert_array_equal(decoded.difficult, [False, False])
    np.testing.assert_array_equal(decoded.area, [10 * 20, 0])
    assert decoded.source_id == b"a.jpg"


def test_no_objects() -> None:
    decoded = DECODE(tf.constant(example(jpeg())))
    assert decoded.boxes.shape == (0, 4)
    assert all(len(values) == 0 for values in (decoded.classes, decoded.weights, decoded.is_crowd, decoded.difficult, decoded.area))


def test_texts_stand_for_missing_labels() -> None:
    texts = [b"dog", b"n01"]  # a display name and a name
    np.testing.assert_array_equal(DECODE(tf.constant(example(jpeg(), BOXES, object_class_text=texts))).classes, [2, 0])


def test_without_label_map_labels_count_and_texts_do_not() -> None:
    decoded = ExampleDecoder(num_classes=4)(tf.constant(example(jpeg(), BOXES, [2, 4], object_class_text=[b"x", b"y"])))
    np.testing.assert_array_equal(decoded.classes, [1, 3])


@pytest.mark.parametrize("kind", ["gray-jpeg", "rgba-png"])
def test_images_become_rgb(kind: str) -> None:
    if kind == "gray-jpeg":
        encoded, expected = jpeg([77], channels=1), [77, 77, 77]
    else:
        encoded, expected = tf.io.encode_png(np.full([24, 32, 4], [9, 8, 7, 0], np.uint8)).numpy(), [9, 8, 7]
    np.testing.assert_array_equal(DECODE(tf.constant(example(encoded))).image, np.broadcast_to(expected, [24, 32, 3]))


BAD = {
    "upside-down": ([*BOXES[:1], [0.6, 0.0, 0.5, 1.0]], [1, 1], {}, r"object 1 \(from 0\): the box .* = \[0.6, 0, 0.5, 1\] is upside down"),
    "nan": ([[0.0, float("nan"), 1.0, 1.0]], [1], {}, r"\[0, nan, 1, 1\] is upside down or not a number"),
    "label-above": (BOXES, [1, 5], {}, r"object 1 \(from 0\): class label 5 is out of range; num_classes 4 allows 1 to 4"),
    "label-0": (BOXES, [0, 1], {}, "class label 0 is out of range"),
    "label-in-gap": (BOXES, [1, 2], {}, "class label 2 has no item in the label map"),
    "unknown-text": (BOXES, [], {"object_class_text": [b"cat", b"dgo"]}, 'class "dgo" is not in the label map .did you mean "dog"'),
    "unknown-text-with-label": (BOXES, [1, 3], {"object_class_text": [b"cat", b"fox"]}, 'class "fox" is not in the label map'),
    "disagree": (BOXES, [1, 3], {"object_class_text": [b"cat", b"bird"]}, 'class label 3 is "n03" in the label map, but .* is "bird"'),
    "no-class": (BOXES, [], {}, "image/object/class/label is empty for 2 boxes"),
    "too-few-labels": (BOXES, [1], {}, "image/object/class/label has 1 values for 2 boxes"),
    "weights": (BOXES, [1, 1], {"object_weight": [1.0]}, "image/object/weight has 1 values for 2 boxes"),
    "texts": (BOXES, [1, 1], {"object_class_text": [b"cat"]}, "image/object/class/text has 1 values for 2 boxes"),
    "coordinates": (BOXES, [1, 1], {"object_bbox_ymin": [0.1]}, "the box coordinates differ in number"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_ground_truth_stops_the_graph_and_is_named(name: str) -> None:
    boxes, labels, features, message = BAD[name]
    record = example(jpeg(), boxes, labels, **features)
    with pytest.raises(tf.errors.OpError):
        _in_graph(DECODE, record)
    problem = DECODE.find_problem(record)
    assert problem is not None
    assert re.search(message, problem), problem


def test_texts_without_label_map_and_labels() -> None:
    problem = ExampleDecoder(num_classes=4).find_problem(example(jpeg(), BOXES, object_class_text=[b"cat", b"cat"]))
    assert problem is not None and "set label_map_path" in problem


def test_bytes_that_are_no_example() -> None:
    assert "no tf.Example" in (DECODE.find_problem(b"\xff\xff\xff") or "")
    assert source_id_of(b"\xff\xff\xff") == ""


@pytest.mark.parametrize("encoded", [jpeg()[:300], b"", b"no image"], ids=["cut", "empty", "text"])
def test_broken_image(encoded: bytes) -> None:
    record = example(encoded, BOXES, [1, 1])
    with pytest.raises(tf.errors.InvalidArgumentError):
        _in_graph(DECODE, record)
    assert DECODE.find_problem(record) is None  # the ground truth is right


def test_real_records(test_data: Path) -> None:
    index = index_records([str(test_data / "odapi" / "pets_examples.record")])
    decode = ExampleDecoder(37, load_label_map(test_data / "odapi" / "label_maps" / "pet_label_map.pbtxt"))
    for record in range(len(index)):
        assert decode.find_problem(index.read(record)) is None
        decoded = decode(tf.constant(index.read(record)))
        assert len(decoded.boxes) == len(decoded.classes) >= 1
        assert 0 <= min(decoded.classes) <= max(decoded.classes) < 37
