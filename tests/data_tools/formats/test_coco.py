from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Keypoint, PixelBox, ReadOptions
from data_tools.formats.coco import read_coco
from object_detection_ext.errors import InputError


def load_all(coco_set, **options: Any) -> list[AnnotatedImage]:
    source = read_coco(ReadOptions(coco_set.images, coco_set.write(), **options))
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


SQUARE = [16, 12, 48, 12, 48, 24, 16, 24]
RLE = {"size": [48, 64], "counts": [0, 48, 48 * 63]}  # the first column


def square_mask() -> np.ndarray:
    mask = np.zeros((48, 64), np.uint8)
    mask[12:24, 16:48] = 1
    return mask


def masks_of(coco_set) -> list[Any]:
    first, _ = load_all(coco_set, include_masks=True)
    return [item.mask for item in first.objects]


def test_masks(coco_set):
    first, second = coco_set.content["annotations"]
    first["segmentation"], second["segmentation"] = [SQUARE], RLE
    polygon, rle = masks_of(coco_set)
    assert polygon.dtype == np.uint8 and np.array_equal(polygon, square_mask())
    assert rle[:, 0].all() and rle.sum() == 48
    second["segmentation"] = {"size": [48, 64], "counts": "0`1`n2"}  # 48 is 16 + 1 * 32, 3024 is 16 + 30 * 32 + 2 * 1024
    assert np.array_equal(masks_of(coco_set)[1], rle)
    second["segmentation"] = []
    assert masks_of(coco_set)[1] is None
    assert all(item.mask is None for image in load_all(coco_set) for item in image.objects)


def test_polygons_of_two_points_are_left_out_and_told(coco_set):
    first, second = coco_set.content["annotations"]
    first["segmentation"], second["segmentation"] = [[1, 2, 3, 4], SQUARE], RLE
    image, _ = load_all(coco_set, include_masks=True)
    assert np.array_equal(image.objects[0].mask, square_mask())
    assert image.notes == (
        f"{coco_set.annotations}: annotations[0] (toothbrush in a.jpg): 1 of 2 polygons have fewer than three points: left out",
    )


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        pytest.param("x", r"segmentation must be polygons .* or a run-length code, got x", id="a text"),
        pytest.param([1, 2, 3], "segmentation must be polygons", id="one level of lists"),
        pytest.param([[1, 2, 3, 4, 5, "6"]], "segmentation must be polygons", id="a text in a polygon"),
        pytest.param([[1, 2, 3, 4, 5, 6, 7]], "polygon 1 has 7 values", id="half a point"),
        pytest.param([[1, 2, 3, 4, 1e12, 6]], "polygon 1 has a point far outside the image, which is 64x48", id="far away"),
        pytest.param({"size": [64, 48], "counts": [3072]}, r"a run-length code must have size \[48, 64\]", id="another size"),
        pytest.param(
            {"size": [48, 64], "counts": [1]},
            "the run-length code has 1 pixels, the mask 3,072",
            id="too short",
        ),
    ],
)
def test_wrong_masks(coco_set, segmentation, message):
    coco_set.content["annotations"][0]["segmentation"] = segmentation
    load_all(coco_set)
    with pytest.raises(InputError, match=rf"annotations\[0\] \(toothbrush in a\.jpg\): {message}"):
        load_all(coco_set, include_masks=True)


@pytest.mark.parametrize("segmentation", [None, [], [[]], {}, [[1, 2, 3, 4]]])
def test_objects_without_a_mask(coco_set, segmentation):
    coco_set.content["annotations"][0]["segmentation"] = segmentation
    assert masks_of(coco_set)[0] is None


def test_masks_need_the_size_of_the_image(coco_set):
    coco_set.content["annotations"][0]["segmentation"] = [SQUARE]
    del coco_set.content["images"][0]["height"]
    with pytest.raises(InputError, match="its image has no height and width, which masks need"):
        load_all(coco_set, include_masks=True)


def test_keypoints(coco_set):
    coco_set.content["categories"] = [
        {"id": 90, "name": "toothbrush", "keypoints": ["head", "tail"]},
        {"id": 1, "name": "person", "keypoints": ["nose", "head"], "skeleton": [[1, 2]]},
    ]
    first, second = coco_set.content["annotations"]
    first["keypoints"], second["keypoints"] = [10, 20, 2, 30, 40.5, 1], [0, 0, 0, 5, 6, 2]
    source = read_coco(ReadOptions(coco_set.images, coco_set.write(), include_keypoints=True))
    toothbrush, person = source.load(source.entries[0]).objects
    assert toothbrush.keypoints == (Keypoint("head", 20, 10, 2), Keypoint("tail", 40.5, 30, 1), Keypoint("nose", 0, 0, 0))
    assert person.keypoints == (Keypoint("head", 6, 5, 2), Keypoint("tail", 0, 0, 0), Keypoint("nose", 0, 0, 0))
    assert source.class_keypoints == {"toothbrush": ((1, "head"), (2, "tail")), "person": ((3, "nose"), (1, "head"))}
    del second["keypoints"]
    person = load_all(coco_set, include_keypoints=True)[0].objects[1]
    assert [(point.name, point.visibility) for point in person.keypoints] == [("head", 0), ("tail", 0), ("nose", 0)]


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        pytest.param([1, 2, 2], "keypoints must be x, y and visibility of each of the 2 keypoints of the category", id="one of two"),
        pytest.param({"nose": 1}, "keypoints must be x, y and visibility", id="a dict"),
        pytest.param([1, 2, 2, 3, "4", 2], "keypoints must be x, y and visibility", id="a text"),
        pytest.param([1, 2, 3, 4, 5, 2], r"the visibility of a keypoint must be 0, 1 or 2, got \[3, 2\]", id="visibility"),
    ],
)
def test_wrong_keypoints(coco_set, keypoints, message):
    coco_set.content["categories"][1]["keypoints"] = ["head", "tail"]
    coco_set.content["annotations"][0]["keypoints"] = keypoints
    with pytest.raises(InputError, match=rf"annotations\[0\] \(toothbrush in a\.jpg\): {message}"):
        load_all(coco_set, include_keypoints=True)


def test_keypoints_need_names(coco_set):
    with pytest.raises(InputError, match=r"no category names its keypoints; give a file like COCO's person_keypoints_\*\.json"):
        load_all(coco_set, include_keypoints=True)
    for names in (["head", "head"], "head", [1]):
        coco_set.content["categories"][1]["keypoints"] = names
        with pytest.raises(InputError, match="category 'toothbrush': keypoints must be a list of different names"):
            load_all(coco_set, include_keypoints=True)


def test_a_file_that_changes_while_it_is_read(coco_set):
    coco_set.content["annotations"][0]["segmentation"] = [SQUARE]
    source = read_coco(ReadOptions(coco_set.images, coco_set.write(), include_masks=True))
    coco_set.annotations.write_text("{}")
    with pytest.raises(InputError, match=r"annotations\[0\] .*: not valid JSON: .*; or the file has changed since it was listed"):
        source.load(source.entries[0])


def test_tinycoco_masks_and_keypoints_are_the_originals(test_data: Path, golden: Callable[[str], Path], tmp_path):
    path = golden("coco_masks.json")
    expected = json.loads(path.read_text())["images"]
    content = json.loads((test_data / "tinycoco/annotations/instances_val2017.json").read_text())
    made_up_keypoints = _function_of(path.with_name("make_coco_masks_golden.py"), "made_up_keypoints")
    for annotation in content["annotations"]:
        annotation["keypoints"] = made_up_keypoints(annotation)
    names = next(iter(expected.values()))["keypoint"]["text"]
    for category in content["categories"]:
        category |= {"keypoints": names} if category["id"] == 1 else {}
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    source = read_coco(
        ReadOptions(test_data / "tinycoco/images/val2017", tmp_path / "keypoints.json", include_masks=True, include_keypoints=True)
    )
    images = {image.filename: image for image in map(source.load, source.entries)}
    assert images.keys() == expected.keys()
    for filename, image in images.items():
        masks = [hashlib.sha256(np.ascontiguousarray(item.mask).tobytes()).hexdigest() for item in image.objects if item.mask is not None]
        assert masks == expected[filename]["masks"]
        points, (height, width) = [point for item in image.objects for point in item.keypoints], image.size or (0, 0)
        of = expected[filename]["keypoint"]
        assert [point.x / width for point in points] == pytest.approx(of["x"]) and [point.y / height for point in points] == pytest.approx(
            of["y"]
        )
        assert [point.visibility for point in points] == of["visibility"]
        assert [point.name for point in points] == names * len(image.objects)


def _function_of(script: Path, name: str) -> Callable[..., Any]:
    """A function of a script whose imports are not installed here."""
    source = script.read_text()
    start = source.index(f"def {name}(")
    namespace: dict[str, Any] = {}
    exec(source[start : source.index("\n\n\n", start)], namespace)
    return namespace[name]


def test_one_file_under_two_image_ids(coco_set):
    coco_set.content["images"][1]["file_name"] = "a.jpg"
    with pytest.raises(InputError, match=r"image id 3: 'a\.jpg' is the image of id 7 too; its annotations must have one image id"):
        load_all(coco_set)


def test_polygons_that_are_no_numbers_are_refused_where_they_are_needed(coco_set):
    path = coco_set.write()
    path.write_text(path.read_text().replace('"segmentation": []', '"segmentation": [[1..2, 3]]'))
    assert len(read_coco(ReadOptions(coco_set.images, path)).entries) == 2
    source = read_coco(ReadOptions(coco_set.images, path, include_masks=True))
    with pytest.raises(InputError, match=r"annotations\[0\] \(toothbrush in a\.jpg\): not valid JSON: .*; or the file has changed"):
        source.load(source.entries[0])
