from __future__ import annotations

from typing import Any

import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, ReadOptions
from data_tools.formats.coco import read_coco
from object_detection_ext.errors import InputError


def load_all(coco_set, *, split_file=None) -> list[AnnotatedImage]:
    source = read_coco(ReadOptions(coco_set.images, coco_set.write(), split_file))
    return [source.load(entry) for entry in source.entries]


def test_images_in_file_order_with_their_objects(coco_set):
    path = coco_set.annotations
    first, second = load_all(coco_set)
    assert first == AnnotatedImage(
        coco_set.images / "a.jpg",
        "a.jpg",
        "7",
        (48, 64),
        (
            AnnotatedObject("toothbrush", PixelBox(12, 16, 24, 48), f"{path}: annotations[0] (toothbrush in a.jpg)", area=300.5),
            AnnotatedObject("person", PixelBox(0, 0, 48, 64), f"{path}: annotations[1] (person in a.jpg)", is_crowd=True, area=3072),
        ),
        f"{path}: image id 7",
    )
    assert (second.filename, second.objects) == ("b.jpg", ())


def test_category_ids_are_label_ids(coco_set):
    assert read_coco(ReadOptions(coco_set.images, coco_set.annotations)).class_ids == {"person": 1, "toothbrush": 90}


def test_category_0_counts_only_where_used(coco_set):
    coco_set.content["categories"].append({"id": 0, "name": "things"})
    assert read_coco(ReadOptions(coco_set.images, coco_set.write())).class_ids == {"person": 1, "toothbrush": 90}
    coco_set.content["annotations"][0]["category_id"] = 0
    assert read_coco(ReadOptions(coco_set.images, coco_set.write())).class_ids == {"person": 1, "toothbrush": 90, "things": 0}


def test_what_may_be_missing(coco_set):
    for annotation in coco_set.content["annotations"]:
        del annotation["area"], annotation["iscrowd"], annotation["id"]
    del coco_set.content["images"][0]["width"]
    coco_set.content["images"][1]["id"] = "b"
    first, second = load_all(coco_set)
    assert [(item.area, item.is_crowd) for item in first.objects] == [(384, False), (3072, False)]
    assert (first.size, second.source_id) == (None, "b")


def test_split_file_takes_names_stems_and_ids(coco_set, tmp_path):
    split = tmp_path / "split.txt"
    for lines, names in (("b.jpg\na.jpg\n", ["b.jpg", "a.jpg"]), ("3\n", ["b.jpg"]), ("a\n", ["a.jpg"])):
        split.write_text(lines)
        assert [image.filename for image in load_all(coco_set, split_file=split)] == names
    split.write_text("a\nc\n")
    with pytest.raises(InputError, match=r"split\.txt:2: 'c' is no file name, stem or id of an image in "):
        load_all(coco_set, split_file=split)
    split.write_text("a\n7\n")
    with pytest.raises(InputError, match=r"split\.txt:2: '7' is listed twice, first in line 1"):
        load_all(coco_set, split_file=split)


NOT_A_LIST = "must be a list as in a COCO instances file"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"images": None}, f"`images` {NOT_A_LIST}; got NoneType", id="images null"),
        pytest.param({"categories": {"1": "cat"}}, f"`categories` {NOT_A_LIST}; got dict", id="categories a dict"),
        pytest.param({"annotations": [3]}, r"annotations\[0\] must be an object, got 3", id="annotation a number"),
        pytest.param({"images": []}, "`images` is empty", id="no images"),
        pytest.param({"images": [{"id": 1}]}, r"images\[0\] must have an id and a file_name, got id 1, file_name None", id="no file name"),
        pytest.param({"images": [{"id": [1], "file_name": "a"}]}, r"images\[0\] must have an id", id="id a list"),
        pytest.param({"images": [{"id": True, "file_name": "a"}]}, r"images\[0\] must have an id", id="id a boolean"),
        pytest.param({"images": [{"id": 1, "file_name": "\udc80"}]}, r"images\[0\] must have an id and a file_name", id="lone surrogate"),
        pytest.param({"images": [{"id": 1, "file_name": n} for n in "ab"]}, r"images\[1\]: id 1 is taken by 'a'", id="image id twice"),
        pytest.param(
            {"categories": [{"id": "1", "name": "cat"}]}, r"categories\[0\] must have an integer id and a name", id="category id text"
        ),
        pytest.param(
            {"categories": [{"id": 1, "name": n} for n in "ab"]}, r"categories\[1\]: id 1 is taken by 'a'", id="category id twice"
        ),
        pytest.param(
            {"categories": [{"id": i, "name": "a"} for i in (1, 2)]}, r"\[1\]: the name 'a' is taken by id 1", id="category name twice"
        ),
    ],
)
def test_wrong_shape(coco_set, change: dict[str, Any], message):
    coco_set.content |= change
    with pytest.raises(InputError, match=message) as raised:
        load_all(coco_set)
    assert str(raised.value).startswith(f"{coco_set.annotations}: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"image_id": 8}, r"annotations\[1\]: image_id 8 is not among `images`", id="unknown image"),
        pytest.param({"image_id": {}}, r"image_id \{\} is not among", id="image id a dict"),
        pytest.param({"category_id": 2}, r"annotations\[1\]: category_id 2 is not among `categories`", id="unknown category"),
        pytest.param(
            {"bbox": [1, 2, 3]}, r"annotations\[1\] \(person in a\.jpg\): bbox must be four numbers \[x, y, width, height\]", id="short box"
        ),
        pytest.param({"bbox": None}, "bbox must be four numbers .*, got None", id="no box"),
        pytest.param({"bbox": [1, 2, "3", 4]}, "bbox must be four numbers", id="text in a box"),
        pytest.param({"bbox": [1, 2, 10**400, 4]}, "bbox must be four numbers", id="a number of 400 digits"),
        pytest.param({"iscrowd": 2}, "iscrowd must be 0 or 1, got 2", id="crowd"),
        pytest.param({"area": "big"}, "area must be a number, got 'big'", id="area"),
    ],
)
def test_wrong_annotation(coco_set, change: dict[str, Any], message):
    coco_set.content["annotations"][1] |= change
    with pytest.raises(InputError, match=message):
        load_all(coco_set)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"file_name": "c.jpg"}, r"image id 7: no image 'c\.jpg' in ", id="missing"),
        pytest.param({"file_name": "../instances.json"}, r"image id 7: '\.\./instances\.json' leads out of the folder", id="climbs"),
        pytest.param({"height": 0}, "height and width must be positive integers, got 0 and 64", id="no height"),
        pytest.param({"width": "64"}, "height and width must be positive integers, got 48 and '64'", id="width a text"),
    ],
)
def test_wrong_image(coco_set, change: dict[str, Any], message):
    coco_set.content["images"][0] |= change
    with pytest.raises(InputError, match=message):
        load_all(coco_set)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", r"instances\.json:1: not valid JSON: Expecting value", id="empty"),
        pytest.param(b'{\n"images": [,]}', r"instances\.json:2: not valid JSON", id="syntax"),
        pytest.param(b"[]", "must be an object with images, annotations and categories, got a JSON list", id="a list"),
        pytest.param(
            b'{"shapes": [], "version": "5"}', "`categories` must be a list .*; the file has shapes, version", id="another format"
        ),
        pytest.param(b'{"images": [NaN]}', "NaN is not a number that JSON allows", id="nan"),
        pytest.param(b'{"images": ["\xff"]}', "not valid JSON: .*utf-8", id="not UTF-8"),
        pytest.param(b"[" * 100_000, "not valid JSON: maximum recursion", id="too deep"),
        pytest.param(b'{"images": [' + b"9" * 5000 + b"]}", "not valid JSON: Exceeds the limit", id="a number of 5000 digits"),
    ],
)
def test_not_json(coco_set, text, message):
    coco_set.annotations.write_bytes(text)
    with pytest.raises(InputError, match=message):
        read_coco(ReadOptions(coco_set.images, coco_set.annotations))
