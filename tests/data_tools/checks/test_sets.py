"""What is wrong with a set as a whole."""

from __future__ import annotations

import dataclasses

from object_detection_ext.data import schema

EDGES = (schema.OBJECT_YMIN, schema.OBJECT_XMIN, schema.OBJECT_YMAX, schema.OBJECT_XMAX)


def test_an_empty_set(sets):
    sets.eval.clear()
    assert set(sets.found(sets.scan())) == {"no_records"}


def without_objects(record):
    for key in (*EDGES, schema.OBJECT_CLASS_LABEL, schema.OBJECT_CLASS_TEXT, schema.OBJECT_DIFFICULT):
        record[key] = []


def test_a_set_without_objects(sets):
    for record in sets.eval:
        without_objects(record)
    assert set(sets.found(sets.scan())) == {"no_objects"}


def test_images_without_objects_are_a_note(sets, make):
    sets.train.append(make.record(50))
    without_objects(sets.train[-1])
    group = sets.found(sets.scan())["images_without_objects"]
    assert group.severity == 0
    assert group.findings[0].message == f"1 of 21 images have no object, the first is 'id50' ({sets.paths['train']}: record 20)"


def test_a_class_with_few_objects(sets):
    sets.train.pop()
    groups = sets.found(sets.scan())
    assert list(groups) == ["rare_class"]
    assert [each.message for each in groups["rare_class"].findings] == [
        "class 'cat' has 19 objects in the train set",
        "class 'dog' has 19 objects in the train set",
    ]


def test_a_class_that_outnumbers_another_fifty_times(sets):
    for record in sets.train[1:]:
        count = 53
        for index, key in enumerate(EDGES):
            record[key] = [(0.25, 0.125, 0.75, 0.375)[index] + (0.001 * number if index % 2 else 0.0) for number in range(count)]
        record[schema.OBJECT_CLASS_LABEL], record[schema.OBJECT_CLASS_TEXT] = [1] * count, [b"cat"] * count
        record[schema.OBJECT_DIFFICULT] = []
    groups = sets.found(sets.scan())
    assert groups["class_imbalance"].findings[0].message == "'cat' has 1,008 objects, 'dog' 1"  # 19 images of 53 and one of 1


def test_more_boxes_than_are_kept(sets):
    sets.settings = dataclasses.replace(sets.settings, max_boxes=1, max_detections=1)
    groups = sets.found(sets.scan())
    assert groups["too_many_boxes"].findings[0].message == "20 images have more than 1 boxes (max_number_of_boxes), the most has 2"
    assert groups["too_few_detections"].findings[0].message == "4 images have more than 1 boxes (max_total_detections), the most has 2"


def test_the_same_image_twice_in_a_set(sets):
    sets.train.append(sets.train[3] | {schema.IMAGE_SOURCE_ID: [b"other"]})
    groups = sets.found(sets.scan())
    assert list(groups) == ["duplicate_image"]
    assert groups["duplicate_image"].findings[0].message == f"the image is that of 'id3' ({sets.paths['train']}: record 3)"
    assert groups["duplicate_image"].findings[0].record.index == 20


def test_near_copies_within_a_set(sets, make):
    make.set_image(sets.train[5], make.encode(make.picture(3), quality=40))
    make.set_image(sets.train[9], make.encode(make.picture(3).resize((48, 36))), size=(48, 36))
    sets.train.append(sets.train[3] | {schema.IMAGE_SOURCE_ID: [b"other"]})  # exact
    path = sets.paths["train"]
    groups = sets.found(sets.scan())
    assert list(groups) == ["duplicate_image", "near_copy_in_set"]
    assert groups["near_copy_in_set"].severity == 0
    (finding,) = groups["near_copy_in_set"].findings
    pairs = ", ".join(f"'id{image}' ({path}: record {image}) of 'id3' ({path}: record 3)" for image in (5, 9))
    assert finding.message == f"2 of 21 images are near copies of earlier ones: {pairs}"
    assert finding.record.index == 5


def test_a_source_id_twice_in_a_set(sets):
    sets.train[5][schema.IMAGE_SOURCE_ID] = [b"id3"]
    groups = sets.found(sets.scan())
    assert list(groups) == ["duplicate_source_id"]
    assert groups["duplicate_source_id"].findings[0].message == f"source id 'id3' belongs to 'id3' ({sets.paths['train']}: record 3) too"


def test_an_image_without_a_name(sets):
    sets.train[5][schema.IMAGE_SOURCE_ID] = sets.train[5][schema.IMAGE_FILENAME] = []
    assert list(sets.found(sets.scan())) == ["no_source_id"]
