from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data_tools.annotated_image import AnnotatedImage, ReadOptions
from data_tools.formats.coco import read_coco
from data_tools.formats.coco_file import read_coco_file, unpack
from object_detection_ext.errors import InputError


def load_all(coco_set) -> list[AnnotatedImage]:
    source = read_coco(ReadOptions(coco_set.images, coco_set.write()))
    return [source.load(entry) for entry in source.entries]


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
    ("text", "message"),
    [
        pytest.param(b"", r"instances\.json:1: not valid JSON: Expecting value", id="empty"),
        pytest.param(b'{\n"images": [,]}', r"instances\.json:2: not valid JSON", id="syntax"),
        pytest.param(b"[]", "must be an object with images, annotations and categories, got a JSON list", id="a list"),
        pytest.param(
            b'{"shapes": [], "version": "5"}', "`categories` must be a list .*; the file has shapes, version", id="another format"
        ),
        pytest.param(b'{"images": [NaN]}', "NaN is not a number that JSON allows", id="nan"),
        pytest.param(b'{"images": ["\xff"]}', "not valid JSON: not UTF-8 at byte 13", id="not UTF-8"),
        pytest.param(b'{"images": ' + b"[" * 100_000, "not valid JSON: nested too deeply", id="too deep"),
        pytest.param(b'{"images": [' + b"9" * 5000 + b"]}", "not valid JSON: Exceeds the limit", id="a number of 5000 digits"),
    ],
)
def test_not_json(coco_set, text, message):
    coco_set.annotations.write_bytes(text)
    with pytest.raises(InputError, match=message):
        read_coco(ReadOptions(coco_set.images, coco_set.annotations))


def test_annotations_and_classes_may_come_before_images(coco_set):
    expected = load_all(coco_set)
    for order in ("annotations images categories", "categories annotations images", "images categories annotations"):
        coco_set.content = {"info": {"images": [3]}, "extra": [1, [2]]} | {key: coco_set.content[key] for key in order.split()}
        assert load_all(coco_set) == expected


def test_the_first_wrong_annotation_is_named(coco_set):
    first, second = coco_set.content["annotations"]
    coco_set.content["annotations"] = [first, second | {"bbox": [1]}, second | {"bbox": [2]}, second | {"image_id": 99}]
    with pytest.raises(InputError, match=r"annotations\[3\]: image_id 99 is not among `images`"):
        load_all(coco_set)
    coco_set.content["annotations"].pop()
    with pytest.raises(InputError, match=r"annotations\[1\] \(person in a\.jpg\): bbox must be .*, got \[1\]"):
        load_all(coco_set)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"images": [], "images": []}', "the key 'images' is set twice in one object", id="list twice"),
        pytest.param('{"images": [{"id": 1,\n"id": 2}]}', ":1: not valid JSON: the key 'id' is set twice in one object", id="id twice"),
        pytest.param(
            '{"images": [], "categories": [], "annotations": [{"image_id": 7, "segments_info": []}]}',
            r"panoptic annotations are not read; give the instances file \(instances_\*\.json\) of the same images",
            id="panoptic",
        ),
    ],
)
def test_files_of_another_kind(coco_set, text, message):
    coco_set.annotations.write_text(text)
    with pytest.raises(InputError, match=message):
        read_coco(ReadOptions(coco_set.images, coco_set.annotations))


def test_memory_does_not_grow_with_polygons(coco_set):
    """A process that lists 10,000 annotations of 1.3 kB may grow by less than the file; whole, they take five times that."""
    polygon = [[float(value % 48) + 0.125 for value in range(200)]]
    annotation = coco_set.content["annotations"][0] | {"segmentation": polygon}
    coco_set.content["annotations"] = [annotation] * 10_000
    size = coco_set.write().stat().st_size
    code = (
        "import resource, sys; from pathlib import Path; from data_tools.annotated_image import ReadOptions\n"
        "from data_tools.formats.coco import read_coco\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "source = read_coco(ReadOptions(Path(sys.argv[1]), Path(sys.argv[2]), include_masks=True))\n"
        "print(len(source.entries[0].annotations), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)\n"
    )
    command = [sys.executable, "-c", code, str(coco_set.images), str(coco_set.annotations)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert size > 13e6
    assert int(output[0]) == 10_000 * 61 and int(output[1]) < 10e6


def listed(path: Path) -> tuple[Any, Any, Any]:
    content = read_coco_file(path)
    return content.images, content.categories, {id_: unpack(bytes(packed)) for id_, packed in content.annotations.items()}


SPELLINGS = {
    "as json.dumps writes it": lambda text: text,
    "without spaces": lambda text: text.replace(", ", ",").replace(": ", ":"),
    "in lines": lambda text: json.dumps(json.loads(text), indent=1),
    "a backslash in an annotation": lambda text: text.replace('"iscrowd"', '"note": "a \\"b\\" c", "iscrowd"'),
    "brackets in a text": lambda text: text.replace('"iscrowd"', '"note": "}], [{", "iscrowd"'),
    "the name of the polygons as a text": lambda text: text.replace('"iscrowd"', '"note": "segmentation", "iscrowd"'),
    "more lists": lambda text: text.replace('"iscrowd"', '"first": [1, 2], "more": [[1], [2]], "iscrowd"'),
    "more objects": lambda text: text.replace('"iscrowd"', '"attributes": {"a": [1]}, "iscrowd"'),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_polygons_are_passed_over(coco_set, monkeypatch, spelling):
    """What is kept of the file, places included, is the same as where all of it is parsed."""
    polygons = [[16, 12.5, 48, 12, 48.25, 24.5e0], [-1, 2, 3, 4, 5, 6]]
    coco_set.content["annotations"][0]["segmentation"] = polygons
    coco_set.content["annotations"][1] = {"segmentation": polygons} | coco_set.content["annotations"][1]
    path = coco_set.write()
    path.write_text(SPELLINGS[spelling](path.read_text()))
    found = listed(path)
    monkeypatch.setattr("data_tools.formats.json_stream._BATCH", 0)  # entry by entry
    assert found == listed(path)


def test_real_polygons_are_passed_over(test_data, monkeypatch):
    path = test_data / "tinycoco" / "annotations" / "instances_train2017.json"
    found = listed(path)
    monkeypatch.setattr("data_tools.formats.json_stream._BATCH", 0)  # entry by entry
    assert found == listed(path)


@pytest.mark.parametrize(
    "polygons",
    [
        pytest.param("[" + "[1]," * 300_000 + "[1]", id="a bracket that does not close"),
        pytest.param("[" + "[1]," * 300_000 + "[1]] {", id="an object where none can be"),
        pytest.param("[[1]" + "]" * 300_000, id="brackets that close nothing"),
        pytest.param("[[1, NaN]]", id="NaN"),
    ],
)
def test_broken_polygons_take_no_longer(coco_set, polygons):
    path = coco_set.write()
    path.write_text(path.read_text().replace('"segmentation": []', f'"segmentation": {polygons}'))
    start = time.process_time()
    with pytest.raises(InputError, match=r"instances\.json:1: (not valid JSON|NaN is not a number)"):
        read_coco_file(path)
    assert time.process_time() - start < 3
