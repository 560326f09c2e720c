from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, ReadOptions
from data_tools.formats.open_images import FORMAT, read_open_images
from object_detection_ext.errors import InputError

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
BOX = "{0},xclick,{1},1,0.1,0.3,0.2,0.6,{2}"
TREE = {
    "LabelName": "/m/root",
    "Subcategory": [{"LabelName": "/m/animal", "Subcategory": [{"LabelName": "/m/cat"}, {"LabelName": "/m/dog"}]}, {"LabelName": "/m/car"}],
}


@dataclasses.dataclass
class OpenImagesSet:
    root: Path

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def boxes(self) -> Path:
        return self.root / "boxes.csv"

    def write(self, name: str, *lines: str) -> Path:
        path = self.root / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def write_boxes(self, *lines: str) -> Path:
        return self.write("boxes.csv", HEADER, *lines)

    def load(self, **options) -> list[AnnotatedImage]:
        source = read_open_images(ReadOptions(self.images, self.boxes, **options))
        return [source.load(entry) for entry in source.entries]


@pytest.fixture
def oid(tmp_path):
    made = OpenImagesSet(tmp_path / "oid")
    made.images.mkdir(parents=True)
    for image_id in ("0b", "0a", "0c"):
        (made.images / f"{image_id}.jpg").write_bytes(b"not read here")
    made.write_boxes(
        BOX.format("0b", "/m/cat", "1,0,-1,0,0"),
        BOX.format("ff", "/m/cat", "0,0,0,0,0"),
        BOX.format("0a", "/m/car", "0,1,0,1,0"),
        BOX.format("0b", "/m/dog", "0,0,1,0,0"),
    )
    return made


def test_images_objects_and_flags(oid):
    source = read_open_images(ReadOptions(oid.images, oid.boxes))
    assert source.object_features == (
        "image/object/class/label",
        "image/object/occluded",
        "image/object/truncated",
        "image/object/group_of",
        "image/object/depiction",
    )
    assert source.notes == (
        f"{oid.boxes}: 1 rows name images that are not in {oid.images}: left out",
        f"1 images have no row in {oid.boxes}: kept, as images without objects",
    )
    first, second, third = [source.load(entry) for entry in source.entries]
    box = PixelBox(0.2, 0.1, 0.6, 0.3)
    assert first == AnnotatedImage(
        oid.images / "0a.jpg",
        "0a.jpg",
        "0a",
        None,
        (AnnotatedObject("/m/car", box, f"{oid.boxes}:4 (/m/car)", is_truncated=True, is_depiction=True),),
        f"{oid.boxes}:4: image 0a.jpg",
        has_relative_boxes=True,
    )
    assert second.objects == (
        AnnotatedObject("/m/cat", box, f"{oid.boxes}:2 (/m/cat)", is_occluded=True),
        AnnotatedObject("/m/dog", box, f"{oid.boxes}:5 (/m/dog)", is_group_of=True),
    )
    assert (third.source_id, third.objects, third.image_labels) == ("0c", (), ())


def test_columns_in_any_order_and_flags_that_are_not_there(oid):
    oid.write("boxes.csv", "YMax,YMin,LabelName,XMax,XMin,ImageID", "0.6,0.2,/m/cat,0.3,0.1,0a")
    source = read_open_images(ReadOptions(oid.images, oid.boxes))
    assert source.object_features == ("image/object/class/label",)
    (item,) = source.load(source.entries[0]).objects
    assert (item.box, item.is_group_of) == (PixelBox(0.2, 0.1, 0.6, 0.3), False)


def test_image_level_labels_say_what_is_there_and_what_is_not(oid):
    labels = oid.write(
        "labels.csv",
        "ImageID,Source,LabelName,Confidence",
        "0c,verification,/m/dog,1",
        "0c,verification,/m/animal,0",
        "0a,machine,/m/cat,0.7",
        "ff,verification,/m/cat,1",
    )
    source = read_open_images(ReadOptions(oid.images, oid.boxes, image_labels=labels))
    assert source.object_features[-3:] == ("image/class/text", "image/class/label", "image/class/confidence")
    assert f"{labels}: 1 rows name images that are not in {oid.images}: left out" in source.notes
    found = [(image.image_labels, image.image_label_confidences) for image in map(source.load, source.entries)]
    assert found == [(("/m/cat",), (0.7,)), ((), ()), (("/m/dog", "/m/animal"), (1, 0))]

    tree = oid.write("tree.json", json.dumps(TREE))
    found = [(image.image_labels, image.image_label_confidences) for image in oid.load(image_labels=labels, hierarchy=tree)]
    assert found == [(("/m/cat",), (0.7,)), ((), ()), (("/m/dog", "/m/animal", "/m/animal", "/m/cat", "/m/dog"), (1, 1, 0, 0, 0))]


def test_an_object_is_also_one_of_its_parent_classes(oid):
    tree = oid.write("tree.json", json.dumps(TREE))
    first, second, _ = oid.load(hierarchy=tree)
    assert [item.class_text for item in first.objects] == ["/m/car"]
    assert [(item.class_text, item.is_group_of) for item in second.objects] == [
        ("/m/cat", False),
        ("/m/animal", False),
        ("/m/dog", True),
        ("/m/animal", True),
    ]
    assert second.objects[1].where == f"{oid.boxes}:2 (/m/animal)"
    oid.write_boxes(BOX.format("0a", "/m/tree", "0,0,0,0,0"))
    with pytest.raises(InputError, match=rf"boxes\.csv:2: LabelName '/m/tree' is not in the class hierarchy {tree}"):
        oid.load(hierarchy=tree)


@pytest.mark.parametrize("header", [[], ["LabelName,DisplayName"]])
def test_names_instead_of_codes(oid, header):
    names = oid.write("names.csv", *header, "/m/cat,Cat", '/m/dog,"Dog, good"', "/m/car,Face", "/m/clock,Face")
    labels = oid.write("labels.csv", "ImageID,LabelName,Confidence", "0c,/m/cat,1", "0c,/m/tree,0")
    first, second, third = oid.load(class_descriptions=names, image_labels=labels)
    assert [item.class_text for item in (*first.objects, *second.objects)] == ["Face (/m/car)", "Cat", "Dog, good"]
    assert third.image_labels == ("Cat", "/m/tree")
    oid.write("names.csv", "/m/cat,Cat")
    with pytest.raises(InputError, match=r"boxes\.csv:4: LabelName '/m/car' is not in the class descriptions"):
        oid.load(class_descriptions=names)


def test_split_file(oid):
    split = oid.write("split.txt", "train/0c", "0a.jpg", "0b")
    assert [image.source_id for image in oid.load(split_file=split)] == ["0c", "0a", "0b"]
    assert len(oid.load(split_file=split)[2].objects) == 2
    for line, message in (
        ("0d", r"split\.txt:2: no image '0d' in "),
        ("train/0c.jpg", r"split\.txt:2: 'train/0c\.jpg' is listed twice, first in line 1"),
    ):
        split = oid.write("split.txt", "0c", line)
        with pytest.raises(InputError, match=message):
            oid.load(split_file=split)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(["ImageID,XMin", "0a,1"], r"boxes\.csv:1: no column LabelName, XMax, YMin, YMax; the header", id="columns"),
        pytest.param([HEADER + ",XMin", "0a"], r"boxes\.csv:1: a column stands twice in the header", id="doubled column"),
        pytest.param(
            [HEADER, BOX.format("ff", "/m/cat", "0,0,0,0,0")], r"boxes\.csv: none of its 1 rows names an image of ", id="no image"
        ),
        pytest.param([HEADER, BOX.format("0a", "/m/cat", "0,0")], r"boxes\.csv:2: the row has 10 cells, the header 13", id="few cells"),
        pytest.param(
            [HEADER, BOX.format("0a", "/m/cat", "yes,0,0,0,0")], r"boxes\.csv:2: IsOccluded must be 0, 1 or -1, got 'yes'", id="flag"
        ),
        pytest.param([HEADER, BOX.format("0a", "", "0,0,0,0,0")], r"boxes\.csv:2: LabelName must be a class, got ''", id="no class"),
        pytest.param(
            [HEADER, BOX.format("0a", "a", "0,0,0,0,0").replace("0.3", "a")], r"boxes\.csv:2: XMax must be a number, got 'a'", id="x"
        ),
    ],
)
def test_wrong_boxes(oid, lines, message):
    oid.write("boxes.csv", *lines)
    with pytest.raises(InputError, match=message):
        oid.load()


def test_wrong_companions(oid):
    labels = oid.write("labels.csv", "ImageID,LabelName,Confidence", "0a,/m/cat,2")
    with pytest.raises(InputError, match=r"labels\.csv:2: Confidence must lie between 0 and 1, got 2"):
        oid.load(image_labels=labels)
    for lines, message in (
        (["/m/cat"], r"names\.csv:1: a row of the class descriptions must have a code and a name, got '/m/cat'"),
        (["/m/cat,Cat", "/m/cat,Dog"], r"names\.csv:2: the code '/m/cat' has a name already, 'Cat'"),
    ):
        names = oid.write("names.csv", *lines)
        with pytest.raises(InputError, match=message):
            oid.load(class_descriptions=names)
    with pytest.raises(InputError, match="the open_images format has no use for --include_masks"):
        oid.load(include_masks=True)


def test_recognised_folder(oid):
    assert FORMAT.recognise(oid.root) == ReadOptions(oid.images, oid.boxes)
    oid.write("labels.csv", "ImageID,LabelName,Confidence")
    names = oid.write("class-descriptions-boxable.csv", "/m/cat,Cat")
    assert FORMAT.recognise(oid.root) == ReadOptions(oid.images, oid.boxes, class_descriptions=names)
    oid.images.rename(oid.root / "validation")
    assert FORMAT.recognise(oid.root) == ReadOptions(oid.root / "validation", oid.boxes, class_descriptions=names)
    oid.write("more.csv", HEADER)
    assert FORMAT.recognise(oid.root) is None
