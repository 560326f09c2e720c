from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Keypoint, PixelBox, ReadOptions, Source
from data_tools.create_tf_record import create_tf_record
from data_tools.formats.coco import read_coco
from data_tools.formats.open_images import read_open_images
from data_tools.formats.tfrecord import FORMAT, read_tfrecord
from data_tools.record_file import read_records
from data_tools.record_patterns import find_record_files
from data_tools.selection import Selection
from data_tools.tf_example import bytes_feature, encode_example, float_feature, frame_record, int64_feature, parse_example
from data_tools.write_options import WriteOptions
from object_detection_ext.data.label_map import LabelMapItem, load_label_map
from object_detection_ext.errors import InputError
from tests.data_tools.small_sets import make_open_images

LABEL_MAP = "item { id: 3 name: 'cat' display_name: 'Cat' keypoints { id: 1 label: 'nose' } keypoints { id: 2 label: 'tail' } }\n"
LABEL_MAP += "item { id: 7 name: 'dog' }\n"


def encode(image: Image.Image, file_format: str) -> bytes:
    file = io.BytesIO()
    image.save(file, format=file_format)
    return file.getvalue()


JPEG = encode(Image.new("RGB", (64, 48)), "JPEG")
MASK = np.zeros((48, 64), np.uint8)
MASK[3:5, 6:9] = 1
PNG = encode(Image.fromarray(MASK), "PNG")
BOXES = {
    "image/object/bbox/ymin": [0.25, 0.0],
    "image/object/bbox/xmin": [0.125, 0.0],
    "image/object/bbox/ymax": [0.75, 1.0],
    "image/object/bbox/xmax": [0.5, 1.0],
}
RECORD = {
    "image/encoded": [JPEG],
    "image/height": [48],
    "image/width": [64],
    "image/filename": [b"a.jpg"],
    "image/source_id": [b"17"],
    "image/object/class/text": [b"dog", b"cat"],
    "image/object/class/label": [7, 3],
} | BOXES


def to_payload(features: dict[str, list[Any]]) -> bytes:
    makers = {bytes: bytes_feature, int: int64_feature, float: float_feature}
    return encode_example({key: makers[type(values[0])](values) if values else float_feature([]) for key, values in features.items()})


class RecordSet:
    """A record file and its label map."""

    def __init__(self, root: Path) -> None:
        self.path, self.label_map = root / "a.record", root / "label_map.pbtxt"
        self.label_map.write_text(LABEL_MAP)

    def write(self, *records: dict[str, list[Any]] | bytes) -> Path:
        self.path.write_bytes(b"".join(frame_record(each if isinstance(each, bytes) else to_payload(each)) for each in records))
        return self.path

    def read(self, *records: dict[str, list[Any]] | bytes) -> Source:
        self.write(*records)
        return read_tfrecord(ReadOptions(self.path, self.label_map))

    def load(self, *records: dict[str, list[Any]] | bytes) -> list[AnnotatedImage]:
        source = self.read(*records)
        return [source.load(entry) for entry in source.entries]


@pytest.fixture
def record_set(tmp_path) -> RecordSet:
    return RecordSet(tmp_path)


def test_a_record(record_set):
    source = record_set.read(RECORD)
    (image,) = map(source.load, source.entries)
    where = f"{record_set.path}: record 0"
    assert image == AnnotatedImage(
        record_set.path,
        "a.jpg",
        "17",
        (48, 64),
        (
            AnnotatedObject("dog", PixelBox(0.25, 0.125, 0.75, 0.5), f"{where}: object 0 (dog)"),
            AnnotatedObject("cat", PixelBox(0, 0, 1, 1), f"{where}: object 1 (cat)"),
        ),
        where,
        encoded=JPEG,
        has_relative_boxes=True,
    )
    assert (source.class_ids, source.notes) == ({"cat": 3, "dog": 7}, ())
    assert source.class_keypoints == {"cat": ((1, "nose"), (2, "tail"))}


def test_all_that_the_api_knows(record_set):
    more = {
        "image/object/difficult": [0, 1],
        "image/object/truncated": [1, 0],
        "image/object/occluded": [1, 0],
        "image/object/depiction": [0, 1],
        "image/object/is_crowd": [0, 1],
        "image/object/group_of": [1, 0],
        "image/object/view": [b"Left", b"Frontal"],
        "image/object/area": [12.5, 3072.0],
        "image/object/weight": [1.0, 0.25],
        "image/object/mask": [PNG, PNG],
        "image/object/keypoint/x": [0.5, 0.0, 0.25, float("nan")],
        "image/object/keypoint/y": [0.25, 0.0, 0.75, 0.5],
        "image/object/keypoint/visibility": [2, 0, 1, 2],
        "image/object/keypoint/text": [b"nose", b"tail"] * 2,
        "image/object/keypoint/num": [1, 1],
        "image/class/text": [b"dog", b""],
        "image/class/label": [7, 3],
        "image/class/confidence": [1.0, 0.0],
    }
    source = record_set.read(RECORD | more)
    (image,) = map(source.load, source.entries)
    dog, cat = image.objects
    assert (dog.is_difficult, dog.is_truncated, dog.is_occluded, dog.is_depiction, dog.is_crowd, dog.is_group_of) == (0, 1, 1, 0, 0, 1)
    assert (cat.is_difficult, cat.is_truncated, cat.is_occluded, cat.is_depiction, cat.is_crowd, cat.is_group_of) == (1, 0, 0, 1, 1, 0)
    assert (dog.view, dog.area, dog.weight, cat.view, cat.area, cat.weight) == ("Left", 12.5, 1, "Frontal", 3072, 0.25)
    assert np.array_equal(dog.mask, MASK)
    assert dog.keypoints == (Keypoint("nose", 0.25, 0.5, 2), Keypoint("tail", 0, 0, 0))
    assert cat.keypoints == (Keypoint("nose", 0.75, 0.25, 1), Keypoint("tail", 0, 0, 0))
    assert (image.image_labels, image.image_label_confidences) == (("dog", "cat"), (1, 0))
    kept = {*more} - {f"image/object/keypoint/{name}" for name in ("y", "visibility", "text", "num")} | {"image/object/class/label"}
    assert set(source.object_features) == kept and (source.extra_features, source.notes) == ((), ())


def test_features_of_the_data_sets_own(record_set):
    """KITTI's `truncated` is a float; what is not one float an object in every record cannot be kept."""
    own = {"image/object/truncated": [0.5, 0.25], "image/object/alpha": [-1.5, 2.0]}
    lost = {"image/depth": [1.0], "image/object/colour": [b"red", b"blue"], "image/object/pair": [1.0, 2.0]}
    negative = {key: [] for key in (*RECORD, *own)} | {key: RECORD[key] for key in RECORD if "object" not in key}
    source = record_set.read(RECORD | own | lost, negative | {"image/source_id": [b"18"]})
    assert source.extra_features == ("image/object/alpha", "image/object/truncated")
    assert [item.extras for item in source.load(source.entries[0]).objects] == [(-1.5, 0.5), (2.0, 0.25)]
    assert source.load(source.entries[1]).objects == ()
    assert source.notes == (
        f"{record_set.path}: features that are not kept, of 2 records: "
        "image/depth (in 1), image/object/colour (in 1), image/object/pair (in 1)",
    )
    assert source.object_features == ("image/object/class/label",)


def test_names_of_classes(record_set):
    def texts(record: dict[str, list[Any]]) -> list[str]:
        return [item.class_text for item in record_set.load(RECORD | record)[0].objects]

    assert texts({"image/object/class/text": [b"dog", b"Cat"]}) == ["dog", "cat"]  # a display name
    assert texts({"image/object/class/text": [b"Cat", b"bird"], "image/object/class/label": []}) == ["cat", "bird"]  # of another label map
    unnamed = {"image/object/class/text": [b"", b"dog"], "image/object/class/label": [3, 7]}
    assert texts(unnamed) == ["cat", "dog"]
    assert texts({"image/object/class/text": []}) == ["dog", "cat"]
    assert texts({"image/object/class/label": []}) == ["dog", "cat"]
    with pytest.raises(InputError, match=r"record 0 at byte 0: the class label 4 is not in the label map, and there is no text for it"):
        texts({"image/object/class/text": [], "image/object/class/label": [7, 4]})


def with_classes(*pairs: tuple[str, int]) -> dict[str, list[Any]]:
    """A record of two objects."""
    return RECORD | {
        "image/object/class/text": [text.encode() for text, _ in pairs],
        "image/object/class/label": [label for _, label in pairs],
    }


def test_ids_of_classes_that_the_label_map_lacks(record_set):
    source = record_set.read(RECORD, with_classes(("bird", 5), ("Cat", 3)), with_classes(("eel", 2), ("bird", 5)))
    assert source.class_ids == {"eel": 2, "cat": 3, "bird": 5, "dog": 7}
    assert [item.class_text for item in source.load(source.entries[2]).objects] == ["eel", "bird"]


def test_ids_without_a_label_map(record_set):
    path = record_set.write(with_classes(("bird", 5), ("cat", 3)), with_classes(("eel", 2), ("bird", 5)))
    assert read_tfrecord(ReadOptions(path, path)).class_ids == {"eel": 2, "cat": 3, "bird": 5}
    record_set.write(RECORD | {"image/object/class/label": []})
    assert read_tfrecord(ReadOptions(path, path)).class_ids is None  # in alphabetical order then, as of any format without ids


@pytest.mark.parametrize("has_label_map", [True, False])
def test_ids_of_open_images_with_their_parents(tmp_path, has_label_map):
    create_tf_record(read_open_images(make_open_images(tmp_path).options), tmp_path / "a.record")
    label_map = tmp_path / "a_label_map.pbtxt"
    expected = {"Animal": 1, "Cat": 2, "Dog": 3}  # the root of the tree is no class
    assert {item.name: item.id for item in load_label_map(label_map).items} == expected
    source = read_tfrecord(ReadOptions(tmp_path / "a.record", label_map if has_label_map else tmp_path / "a.record"))
    assert source.class_ids == expected
    image = source.load(source.entries[0])
    assert [item.class_text for item in image.objects] == ["Cat", "Animal"]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        pytest.param(
            [("dog", 7), ("cat", 3)], [("dog", 3), ("cat", 3)], "class text 'dog' has label 3, in the label map it has 7", id="another map"
        ),
        pytest.param(
            [("dog", 7), ("dog", 7)], [("Cat", 2), ("cat", 3)], "class text 'Cat' has label 2, in the label map it has 3", id="off by one"
        ),
        pytest.param(
            [("dog", 7), ("dog", 7)], [("bird", 3), ("cat", 3)], "label 3 is of class text 'bird', in the label map of 'cat'", id="taken"
        ),
        pytest.param(
            [("bird", 5), ("dog", 7)],
            [("bird", 6), ("dog", 7)],
            "class text 'bird' has label 6, in .*a.record: record 0 it has 5",
            id="two ids",
        ),
        pytest.param(
            [("bird", 5), ("dog", 7)],
            [("eel", 5), ("dog", 7)],
            "label 5 is of class text 'eel', in .*a.record: record 0 of 'bird'",
            id="two texts",
        ),
        pytest.param([("dog", 7), ("dog", 7)], [("bird", 0), ("dog", 7)], r"class text 'bird' has label 0; labels start at 1", id="from 0"),
    ],
)
def test_text_and_label_that_do_not_agree(record_set, first, second, message):
    with pytest.raises(InputError, match=rf"^{record_set.path}: record 1: {message}"):
        record_set.read(with_classes(*first), with_classes(*second))


def test_the_label_map_keeps_what_it_says(record_set, tmp_path):
    path = record_set.write(RECORD)
    record_set.label_map.write_text(LABEL_MAP + "item { id: 9 name: 'animal' display_name: 'Animal' descendant_ids: 3 descendant_ids: 7 }")
    options = ReadOptions(path, record_set.label_map)
    create_tf_record(read_tfrecord(options), tmp_path / "b.record")
    given = load_label_map(record_set.label_map)
    assert load_label_map(tmp_path / "b_label_map.pbtxt") == given
    create_tf_record(read_tfrecord(options), tmp_path / "b.record", WriteOptions(selection=Selection(excluded_classes=("dog",))))
    cat, animal = load_label_map(tmp_path / "b_label_map.pbtxt").items
    assert cat == dataclasses.replace(given.items[0], id=1)
    assert animal == LabelMapItem(2, "animal", display_name="Animal")


def test_what_may_be_missing(record_set):
    keys = [key for key in RECORD if key not in ("image/height", "image/filename", "image/source_id")]
    first, second = record_set.load({key: RECORD[key] for key in keys}, {"image/encoded": [JPEG]})
    assert (first.filename, first.source_id, first.size) == ("a.record-0", "a.record-0", None)
    assert (second.filename, second.objects) == ("a.record-1", ())


def test_keypoints_without_names_and_visibility(record_set):
    points = {"image/object/keypoint/x": [0.1, 0.2, 0.3, 0.4], "image/object/keypoint/y": [0.5, 0.6, 0.7, 0.8]}
    first, second = (item.keypoints for item in record_set.load(RECORD | points)[0].objects)
    assert [(point.name, point.visibility) for point in first + second] == [("0", 2), ("1", 2)] * 2
    assert second[1].x == np.float32(0.4) and second[1].y == np.float32(0.8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"image/encoded": []}, "image/encoded must be one image, got 0", id="no image"),
        pytest.param({"image/height": [b"48"]}, "image/height must hold int64, got bytes", id="height a text"),
        pytest.param({"image/object/class/label": [7.0, 3.0]}, "image/object/class/label must hold int64, got floats", id="labels floats"),
        pytest.param({"image/object/class/label": [7]}, "image/object/class/label has 1 values, where there must be 2", id="one label"),
        pytest.param({"image/object/class/text": [b"cat"], "image/object/class/label": []}, "1 classes for 2 boxes", id="one class"),
        pytest.param({"image/object/bbox/xmin": [0.5]}, "ymin, xmin, ymax, xmax of the boxes differ in number: 2, 1, 2, 2", id="edges"),
        pytest.param({"image/object/is_crowd": [1]}, "image/object/is_crowd has 1 values, where there must be 2", id="one flag"),
        pytest.param({"image/object/class/text": [b"\xff", b"cat"]}, "image/object/class/text is not a text in UTF-8", id="not UTF-8"),
        pytest.param({"image/object/mask": [PNG, b"x"]}, "a mask that is not a whole PNG file", id="mask"),
        pytest.param(
            {"image/object/mask": [encode(Image.new("1", (4000, 4000)), "PNG")] * 2},
            "a mask of 4000x4000 pixels, more than the 3,072 that are allowed",
            id="a mask larger than its image",
        ),
        pytest.param(
            {"image/object/keypoint/x": [0.5] * 3, "image/object/keypoint/y": [0.5] * 3},
            "image/object/keypoint/x has 3 values for 2 objects, which must have as many each",
            id="keypoints",
        ),
    ],
)
def test_wrong_records(record_set, change, message):
    with pytest.raises(InputError, match=message) as raised:
        record_set.load(RECORD, RECORD | change)
    offset = len(frame_record(to_payload(RECORD)))
    assert str(raised.value).startswith(f"{record_set.path}: record 1 at byte {offset}: ")


def load_all(options: ReadOptions) -> list[AnnotatedImage]:
    source = read_tfrecord(options)
    return [source.load(entry) for entry in source.entries]


def test_damaged_files(record_set, tmp_path):
    path = record_set.write(RECORD, RECORD)
    content, half = path.read_bytes(), len(path.read_bytes()) // 2
    options = ReadOptions(path, record_set.label_map)

    def check(data: bytes, message: str) -> None:
        path.write_bytes(data)
        with pytest.raises(InputError, match=message):
            load_all(options)

    check(content[:-5], rf"a\.record: record 1 at byte {half}: the file ends within this record")
    check(content[: half + 4], rf"record 1 at byte {half}: the file ends within the head")
    check(b"x" + content, "record 0 at byte 0: the checksum of the length does not fit")
    flipped = bytearray(content)
    flipped[half - 50] ^= 1
    check(bytes(flipped), r"record 0 at byte 0: the checksum of the data does not fit|not a tf.Example")
    check(b"", "a.record has no record")
    record_set.write(b"\xff\xff\xff\xff")
    with pytest.raises(InputError, match=r"record 0: not a tf.Example"):
        read_tfrecord(options)
    with pytest.raises(InputError, match=r"no record file matches .*b\.record"):
        read_tfrecord(ReadOptions(tmp_path / "b.record", record_set.label_map))
    with pytest.raises(InputError, match="the tfrecord format keeps the masks and keypoints of records without --include_masks"):
        read_tfrecord(ReadOptions(path, record_set.label_map, include_masks=True))


def payloads(prefix: Path) -> list[bytes]:
    return [payload for path in find_record_files([prefix]) for payload in read_records(path)]


def test_records_written_again_are_the_same_bytes(coco_set, tmp_path):
    coco_set.content["annotations"][0]["segmentation"] = [[16, 12, 48, 12, 48, 24]]
    coco_set.content["annotations"][1]["segmentation"] = {"size": [48, 64], "counts": [0, 48, 48 * 63]}
    create_tf_record(read_coco(ReadOptions(coco_set.images, coco_set.write(), include_masks=True)), tmp_path / "a.record")
    create_tf_record(read_tfrecord(ReadOptions(tmp_path / "a.record", tmp_path / "a_label_map.pbtxt")), tmp_path / "b.record")
    assert payloads(tmp_path / "b.record") == payloads(tmp_path / "a.record")
    assert (tmp_path / "b_label_map.pbtxt").read_text() == (tmp_path / "a_label_map.pbtxt").read_text()


def test_the_pets_records_written_again_have_the_same_features(test_data: Path, tmp_path):
    path = test_data / "odapi/pets_examples.record"
    source = read_tfrecord(ReadOptions(path, test_data / "odapi/label_maps/pet_label_map.pbtxt"))
    assert source.notes == ()
    create_tf_record(source, tmp_path / "pets.record")
    again: Sequence[dict[str, list[Any]]] = [parse_example(payload) for payload in payloads(tmp_path / "pets.record")]
    assert again == [parse_example(payload) for payload in read_records(path)]


def test_recognised_folders(record_set, tmp_path):
    assert FORMAT.recognise(tmp_path) is None
    record_set.write(RECORD)
    assert FORMAT.recognise(tmp_path) == ReadOptions(tmp_path / "a.record", record_set.label_map)
    record_set.path.rename(tmp_path / "a.record-00000-of-00002")
    (tmp_path / "a.record-00001-of-00002").write_bytes((tmp_path / "a.record-00000-of-00002").read_bytes())
    assert FORMAT.recognise(tmp_path) == ReadOptions(tmp_path / "a.record", record_set.label_map)
    (tmp_path / "no.record").write_bytes(b"not a record file")
    assert FORMAT.recognise(tmp_path) == ReadOptions(tmp_path / "a.record", record_set.label_map)
    record_set.write(RECORD)
    record_set.path.rename(tmp_path / "b.record")
    with pytest.raises(InputError, match=r"holds several record sets or label maps: a\.record, b\.record, label_map\.pbtxt; choose with"):
        FORMAT.recognise(tmp_path)
    (tmp_path / "b.record").unlink()
    record_set.label_map.unlink()
    assert FORMAT.recognise(tmp_path) == ReadOptions(tmp_path / "a.record", tmp_path / "a.record")
