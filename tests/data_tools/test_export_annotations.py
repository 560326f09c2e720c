"""Records back to annotations, and annotations to records and back."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lxml import etree
from pycocotools import mask as mask_api

from data_tools.annotated_image import ReadOptions
from data_tools.create_tf_record import create_tf_record
from data_tools.export_annotations import export_annotations, main
from data_tools.formats.coco import FORMAT as COCO
from data_tools.formats.coco import read_coco
from data_tools.formats.voc import FORMAT as VOC
from data_tools.formats.voc import read_voc
from data_tools.masks import polygons_to_mask, rle_to_mask
from data_tools.record_file import read_records
from data_tools.tf_example import encode_example, float_feature, frame_record, int64_feature, parse_example, text_feature
from object_detection_ext.errors import InputError

coco_mask: Any = mask_api  # its own types say less than it takes


def records_of(folder: Path, read: Any, options: ReadOptions) -> tuple[list[Path], Path]:
    """Converts a data set; the record file and its label map."""
    folder.mkdir()
    create_tf_record(read(options), folder / "a.record")
    return [folder / "a.record"], folder / "a_label_map.pbtxt"


def by_image(content: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    names = {image["id"]: image["file_name"] for image in content["images"]}
    annotations = defaultdict(list)
    for annotation in content["annotations"]:
        annotations[names[annotation["image_id"]]].append(annotation)
    return {name: annotations[name] for name in names.values()}


def test_tinycoco_comes_back(test_data: Path, tmp_path):
    images, instances = test_data / "tinycoco/images/train2017", test_data / "tinycoco/annotations/instances_train2017.json"
    records, label_map = records_of(tmp_path / "records", read_coco, ReadOptions(images, instances, include_masks=True))
    summary = export_annotations(records, label_map, tmp_path / "out", to="coco")
    content = json.loads((tmp_path / "out/annotations/instances.json").read_text())
    original = json.loads(instances.read_text())
    assert (summary.num_images, summary.num_objects, summary.notes) == (32, 288, ())
    keys = ("id", "file_name", "height", "width")
    assert [{key: item[key] for key in keys} for item in content["images"]] == [
        {key: item[key] for key in keys} for item in original["images"]
    ]
    assert {(item["id"], item["name"]) for item in content["categories"]} == {(item["id"], item["name"]) for item in original["categories"]}
    sizes = {image["file_name"]: (image["height"], image["width"]) for image in original["images"]}
    assert content["annotations"][0].keys() - original["annotations"][0].keys() == set()
    for name, objects in by_image(original).items():
        for was, is_now in zip(objects, by_image(content)[name], strict=True):
            assert [is_now[key] for key in ("image_id", "category_id", "iscrowd")] == [
                was[key] for key in ("image_id", "category_id", "iscrowd")
            ]
            assert is_now["bbox"] == pytest.approx(was["bbox"], abs=1e-9)
            assert np.float32(is_now["area"]) == np.float32(was["area"])
            is_rle = isinstance(was["segmentation"], dict)
            mask = rle_to_mask(was["segmentation"], sizes[name]) if is_rle else polygons_to_mask(was["segmentation"], sizes[name])
            assert np.array_equal(coco_mask.decode(is_now["segmentation"]), mask)
    for item in content["images"]:
        assert (tmp_path / "out/images" / item["file_name"]).read_bytes() == (images / item["file_name"]).read_bytes()
    found = COCO.recognise(tmp_path / "out")
    assert found == ReadOptions(tmp_path / "out/images", tmp_path / "out/annotations/instances.json")


def test_bccd_comes_back(test_data: Path, tmp_path):
    root = test_data / "bccd/BCCD"
    split = tmp_path / "split.txt"
    stems = [f"BloodImage_{number:05d}" for number in (0, 2, 7, 11, 14, 340, 379, 410)]
    split.write_text("\n".join(stems))
    records, label_map = records_of(tmp_path / "records", read_voc, ReadOptions(root / "JPEGImages", root / "Annotations", split))
    summary = export_annotations(records, label_map, tmp_path / "out", to="voc")
    assert (summary.num_images, summary.notes) == (8, ())
    assert (tmp_path / "out/ImageSets/Main/all.txt").read_text().split() == stems
    tags = ("name", "pose", "truncated", "difficult", "bndbox/xmin", "bndbox/ymin", "bndbox/xmax", "bndbox/ymax")
    for stem in stems:
        was, is_now = (etree.parse(str(folder / "Annotations" / f"{stem}.xml")) for folder in (root, tmp_path / "out"))
        assert [is_now.findtext(f"size/{tag}") for tag in ("width", "height")] == [
            was.findtext(f"size/{tag}") for tag in ("width", "height")
        ]
        objects = [[tuple(item.findtext(tag) for tag in tags) for item in each.iterfind("object")] for each in (was, is_now)]
        assert objects[0] == objects[1] and objects[0]
        name = f"{stem}.jpg"
        assert (tmp_path / "out/JPEGImages" / name).read_bytes() == (root / "JPEGImages" / name).read_bytes()
    found = VOC.recognise(tmp_path / "out")
    assert found == ReadOptions(tmp_path / "out/JPEGImages", tmp_path / "out/Annotations")
    again, _ = records_of(tmp_path / "again", read_voc, ReadOptions(found.images, found.annotations, split))
    assert examples(again) == examples(records)


def examples(records: list[Path]) -> list[dict[str, Any]]:
    shard = records[0].with_name(f"{records[0].name}-00000-of-00001")
    return [parse_example(payload) for payload in read_records(shard)]


def test_keypoints_and_records_come_back(coco_set, tmp_path):
    coco_set.content["categories"] = [
        {"id": 1, "name": "person", "keypoints": ["nose", "head"]},
        {"id": 90, "name": "toothbrush", "keypoints": ["head", "tail"]},
    ]
    first, second = coco_set.content["annotations"]
    first["keypoints"], second["keypoints"] = [10, 20.25, 2, 0, 0, 0], [5, 6, 1, 7, 8, 2]
    first["segmentation"] = second["segmentation"] = {"size": [48, 64], "counts": [0, 48, 48 * 63]}
    options = ReadOptions(coco_set.images, coco_set.write(), include_masks=True, include_keypoints=True)
    records, label_map = records_of(tmp_path / "records", read_coco, options)
    export_annotations(records, label_map, tmp_path / "out", to="coco")
    content = json.loads((tmp_path / "out/annotations/instances.json").read_text())
    assert [(item["keypoints"], item["num_keypoints"]) for item in content["annotations"]] == [
        (first["keypoints"], 1),
        (second["keypoints"], 2),
    ]
    assert [(item["name"], item["keypoints"]) for item in content["categories"]] == [
        ("person", ["nose", "head"]),
        ("toothbrush", ["head", "tail"]),
    ]
    options = ReadOptions(tmp_path / "out/images", tmp_path / "out/annotations/instances.json", include_masks=True, include_keypoints=True)
    again, _ = records_of(tmp_path / "again", read_coco, options)
    assert examples(again) == examples(records)


@pytest.fixture
def jpeg(write_image, tmp_path) -> bytes:
    write_image(tmp_path / "x.jpg")
    return (tmp_path / "x.jpg").read_bytes()


def write_records(folder: Path, jpeg: bytes, *names: str, source_ids: tuple[str, ...] = (), **more: bytes) -> tuple[list[Path], Path]:
    """Records with one box of a cat each; `more` are serialized features, "__" standing for "/"."""
    features = {
        "image/object/bbox/ymin": float_feature([0.25]),
        "image/object/bbox/xmin": float_feature([0.0]),
        "image/object/bbox/ymax": float_feature([0.5]),
        "image/object/bbox/xmax": float_feature([1.0]),
        "image/object/class/text": text_feature(["cat"]),
    } | {key.replace("__", "/"): value for key, value in more.items()}
    frames = []
    for index, name in enumerate(names):
        texts = {"image/filename": text_feature([name]), "image/source_id": text_feature([(source_ids or names)[index]])}
        frames.append(frame_record(encode_example(features | texts | {"image/encoded": b"\x0a" + _message(jpeg)})))
    (folder / "a.record").write_bytes(b"".join(frames))
    (folder / "map.pbtxt").write_text("item { id: 3 name: 'cat' }\n")
    return [folder / "a.record"], folder / "map.pbtxt"


def _message(value: bytes) -> bytes:
    """A list of one byte string, with its length before it."""
    body = b"\x0a" + _varint(len(value)) + value
    return _varint(len(body)) + body


def _varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + _varint(value >> 7) if value > 0x7F else bytes([value])


HOSTILE = ("../../escaped.jpg", "/tmp/escaped.jpg", "a.jpg", "A.jpg", "b/c.jpg", "..", "x\0y")


@pytest.mark.parametrize("to", ["coco", "voc"])
def test_hostile_names_stay_inside(tmp_path, jpeg, to):
    (tmp_path / "below").mkdir()
    records, label_map = write_records(tmp_path, jpeg, *HOSTILE)
    before = set(tmp_path.rglob("*"))
    summary = export_annotations(records, label_map, tmp_path / "below/out", to=to)
    new = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "below/out") for path in new)
    assert sum(path.suffix == ".jpg" for path in new) == len(HOSTILE)
    assert "have another name than in their record, such as 'image_000000.jpg' for '../../escaped.jpg'" in summary.notes[0]
    source = (read_coco if to == "coco" else read_voc)((COCO if to == "coco" else VOC).recognise(tmp_path / "below/out"))
    assert sum(len(source.load(entry).objects) for entry in source.entries) == len(HOSTILE)


@pytest.mark.parametrize(
    ("source_ids", "expected"),
    [
        pytest.param(("7", "30"), [7, 30], id="numbers"),
        pytest.param(("7", "7"), [1, 2], id="twice"),
        pytest.param(("7", "07"), [1, 2], id="leading zero"),
        pytest.param(("7", "b"), [1, 2], id="a text"),
        pytest.param(("7", "9" * 30), [1, 2], id="too large"),
    ],
)
def test_image_ids(tmp_path, jpeg, source_ids, expected):
    export_annotations(*write_records(tmp_path, jpeg, "a.jpg", "b.jpg", source_ids=source_ids), tmp_path / "out", to="coco")
    content = json.loads((tmp_path / "out/annotations/instances.json").read_text())
    assert [image["id"] for image in content["images"]] == expected
    assert [item["image_id"] for item in content["annotations"]] == expected
    assert content["annotations"][0] == {
        "id": 1,
        "image_id": expected[0],
        "category_id": 3,
        "bbox": [0.0, 12.0, 64.0, 12.0],
        "area": 768.0,
        "iscrowd": 0,
        "segmentation": [],
    }


def test_features_without_a_place_are_named(tmp_path, jpeg):
    more = {
        "image__object__difficult": int64_feature([1]),
        "image__object__weight": float_feature([0.5]),
        "image__depth": int64_feature([3]),
    }
    records, label_map = write_records(tmp_path, jpeg, "a.jpg", **more)
    lost = f"{records[0]}: features that are not kept, of 1 records: image/depth (in 1)"
    summary = export_annotations(records, label_map, tmp_path / "coco", to="coco")
    place = "the coco format has no place for image/object/difficult, image/object/weight: left out"
    assert summary.notes == (lost, place)
    summary = export_annotations(records, label_map, tmp_path / "voc", to="voc")
    assert summary.notes == (lost, "the voc format has no place for image/object/weight: left out")


def test_nothing_is_left_of_a_failure(tmp_path, jpeg):
    records, label_map = write_records(tmp_path, jpeg, "a.jpg", "b.jpg", image__object__class__text=text_feature(["bird"]))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r'a\.record: record 0: object 0 \(bird\): class "bird" is not in the label map'):
        export_annotations(records, label_map, tmp_path / "out", to="coco")
    content = records[0].read_bytes()
    records[0].write_bytes(content[:-3] + b"xyz")
    with pytest.raises(InputError, match=r"a\.record: record 1 at byte \d+: the checksum of the data does not fit"):
        export_annotations(records, label_map, tmp_path / "out", to="voc")
    assert set(tmp_path.rglob("*")) == before


def test_texts_that_xml_cannot_hold(tmp_path, jpeg):
    records, label_map = write_records(tmp_path, jpeg, "a.jpg", image__object__view=text_feature(["\x01"]))
    with pytest.raises(InputError, match=r"record 0: object 0 \(cat\): class 'cat' or view '.*x01' cannot stand in XML"):
        export_annotations(records, label_map, tmp_path / "out", to="voc")
    records, label_map = write_records(tmp_path, jpeg, "<a> & b.jpg", image__object__view=text_feature(["<&>"]))
    export_annotations(records, label_map, tmp_path / "out", to="voc")
    source = read_voc(ReadOptions(tmp_path / "out/JPEGImages", tmp_path / "out/Annotations"))
    assert [item.view for entry in source.entries for item in source.load(entry).objects] == ["<&>"]


def test_command(tmp_path, jpeg, capsys):
    (records,), label_map = write_records(tmp_path, jpeg, "a.jpg")
    flags = [f"--records={records}", f"--label_map={label_map}", "--to=coco", f"--output={tmp_path / 'out'}"]
    assert main(flags) == 0
    assert capsys.readouterr().out == f"1 images with 1 objects in {tmp_path / 'out'}\n"
    with pytest.raises(InputError, match="is there already; choose a new folder"):
        main(flags)
    with pytest.raises(SystemExit) as raised:
        main([*flags, "--to=kitti"])
    assert raised.value.code == 2
