from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Keypoint, PixelBox, ReadOptions
from data_tools.formats.yolo import FORMAT, LabelPlaces, read_yolo
from object_detection_ext.errors import InputError

DATA_YAML = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


class YoloSet:
    """An Ultralytics folder."""

    def __init__(self, root: Path, write_image: Any) -> None:
        self.root, self._write_image = root, write_image
        root.mkdir()
        self.write("data.yaml", DATA_YAML)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def add(self, name: str, labels: str | None = None) -> Path:
        """An image, named from the root, and its label file in the mirror folder."""
        self._write_image(self.root / name)
        if labels is None:
            return self.root / name
        return self.write(name.replace("images/", "labels/", 1).rsplit(".", 1)[0] + ".txt", labels)

    def options(self, images: str = "images", annotations: str = "data.yaml", **more: Any) -> ReadOptions:
        return ReadOptions(self.root / images, self.root / annotations, **more)

    def load(self, **options: Any) -> list[AnnotatedImage]:
        source = read_yolo(self.options(**options))
        return [source.load(entry) for entry in source.entries]


@pytest.fixture
def yolo_set(tmp_path, write_image) -> YoloSet:
    return YoloSet(tmp_path / "yolo", write_image)


def test_boxes_are_shares_of_the_image(yolo_set):
    labels = yolo_set.add("images/train/a.jpg", "1 0.5 0.25 0.5 0.25\n\n0 0.125 0.5 0.25 1\n")
    (image,) = yolo_set.load()
    assert image == AnnotatedImage(
        yolo_set.root / "images/train/a.jpg",
        "train/a.jpg",
        "train/a.jpg",
        None,
        (
            AnnotatedObject("dog", PixelBox(0.125, 0.25, 0.375, 0.75), f"{labels}:1 (dog)"),
            AnnotatedObject("cat", PixelBox(0, 0, 1, 0.25), f"{labels}:3 (cat)"),
        ),
        str(labels),
        has_relative_boxes=True,
    )


def test_class_index_0_is_label_id_1(yolo_set):
    yolo_set.add("images/train/a.jpg", "")
    yolo_set.write("data.yaml", "names: {0: cat, 7: dog}")
    assert read_yolo(yolo_set.options()).class_ids == {"cat": 1, "dog": 8}


def test_box_edges_within_rounding_of_the_image_are_its_edges(yolo_set):
    yolo_set.add("images/train/a.jpg", "0 0.1666665 0.9 0.333334 0.2001\n")  # 1/6, written with seven places and its width with six
    (image,) = yolo_set.load()
    assert image.objects[0].box == pytest.approx(PixelBox(0.79995, 0, 1, 0.3333335), abs=1e-9)
    assert image.objects[0].box.y_max == 1 and image.objects[0].box.x_min == 0


def test_parts_of_the_set(yolo_set):
    for name in ("train/a", "val/b", "backup/c"):
        yolo_set.add(f"images/{name}.jpg", "0 0.5 0.5 1 1\n")
    source = read_yolo(yolo_set.options())
    assert [entry.name for entry in source.entries] == ["train/a.jpg", "val/b.jpg"]
    assert source.notes == (
        f"{yolo_set.root}/data.yaml has the parts train, val: all were read; for one of them give its folder, "
        f"such as --images {yolo_set.root}/images/train",
        f"1 images in {yolo_set.root}/images are in no folder that {yolo_set.root}/data.yaml names: left out",
    )
    source = read_yolo(yolo_set.options("images/val"))
    assert ([entry.name for entry in source.entries], source.notes) == (["b.jpg"], ())
    source = read_yolo(yolo_set.options("images/backup"))  # asked for by name
    assert [entry.name for entry in source.entries] == ["c.jpg"]


@pytest.mark.parametrize(
    "description",
    [
        pytest.param("path: ../datasets/yolo\ntrain: images/train", id="a path of another machine"),
        pytest.param("path: /datasets/yolo\ntrain: images/train", id="an absolute path of another machine"),
        pytest.param("path: .\ntrain: [images/train]", id="a list"),
        pytest.param("train: ../images/train\nval:", id="one folder too high, as Roboflow writes"),
    ],
)
def test_where_parts_are_looked_for(yolo_set, description):
    yolo_set.add("images/train/a.jpg", "")
    yolo_set.add("images/b.jpg", "")
    yolo_set.write("data.yaml", f"{description}\nnames: [cat]\n")
    assert [image.filename for image in yolo_set.load()] == ["train/a.jpg"]
    assert [image.filename for image in yolo_set.load(images="images/train")] == ["a.jpg"]
    assert [image.filename for image in yolo_set.load(images=".")] == ["images/train/a.jpg"]


def test_lists_of_images(yolo_set):
    for name in ("a", "b", "c"):
        yolo_set.add(f"images/{name}.jpg", "")
    yolo_set.write("data.yaml", "train: train.txt\nnames: [cat]\n")
    assert read_yolo(yolo_set.options()).notes == (
        f"{yolo_set.root}/data.yaml names lists of images, such as train.txt: all images were read; for one list give it as --split_file",
    )
    split = yolo_set.write("train.txt", "./images/c.jpg\n/Users/me/yolo/images/a.jpg\nimages\\b\n")
    source = read_yolo(yolo_set.options(split_file=split))
    assert ([entry.name for entry in source.entries], source.notes) == (["c.jpg", "a.jpg", "b.jpg"], ())
    for text, message in (
        ("a.jpg\nd.jpg\n", r"train\.txt:2: no end of 'd\.jpg' is the name of an image in "),
        ("../../etc/passwd\n", r"train\.txt:1: no end of '\.\./\.\./etc/passwd' is the name of an image in "),
        ("a.jpg\nimages/a.jpg\n", r"train\.txt:2: 'a\.jpg' is listed twice, first in line 1"),
    ):
        yolo_set.write("train.txt", text)
        with pytest.raises(InputError, match=message):
            read_yolo(yolo_set.options(split_file=split))


def test_two_images_of_one_name(yolo_set):
    labels = yolo_set.add("images/train/a.jpg", "0 0.5 0.5 1 1\n")
    yolo_set.add("images/train/a.png")
    source = read_yolo(yolo_set.options())
    assert [len(source.load(entry).objects) for entry in source.entries] == [1, 1]
    assert source.notes == (f"1 label files, such as {labels}, have several images of their name: read for each",)


def test_images_without_labels_and_labels_without_images(yolo_set):
    yolo_set.add("images/train/a.jpg", "0 0.5 0.5 1 1\n")
    yolo_set.add("images/train/b.jpg")
    for name in ("c", "classes"):
        yolo_set.write(f"labels/train/{name}.txt", "x")
    source = read_yolo(yolo_set.options())
    assert source.notes == (
        "1 of 2 images have no label file: kept, as images without objects",
        f"1 label files, such as {yolo_set.root}/labels/train/c.txt, have no image: not read",
    )
    image = source.load(source.entries[1])
    assert (image.filename, image.objects, image.where) == ("train/b.jpg", (), str(yolo_set.root / "images/train/b.jpg"))


def test_label_files_beside_the_images(yolo_set, write_image):
    write_image(yolo_set.root / "obj_train_data/a.PNG")
    labels = yolo_set.write("obj_train_data/a.txt", "0 0.5 0.5 1 1\n")
    yolo_set.write("obj.names", "cat\ndog\n")
    yolo_set.write("obj.data", "names = data/obj.names\ntrain = data/train.txt\n")
    split = yolo_set.write("train.txt", "data/obj_train_data/a.PNG\n")
    for images in ("obj_train_data", "."):
        (image,) = yolo_set.load(images=images, annotations="obj.data", split_file=split)
        assert (image.where, image.objects[0].class_text) == (str(labels), "cat")


def test_label_places(tmp_path):
    (tmp_path / "images/images").mkdir(parents=True)
    assert LabelPlaces(tmp_path / "images").paths("x/a.b.jpg") == [tmp_path / "labels/x/a.b.txt", tmp_path / "images/x/a.b.txt"]
    assert LabelPlaces(tmp_path).paths("train/images/a.jpg") == [tmp_path / "train/labels/a.txt", tmp_path / "train/images/a.txt"]
    assert LabelPlaces(tmp_path / "images/images").paths("a.jpg")[0] == tmp_path / "images/labels/a.txt"


SQUARE = "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n"


def test_polygons_are_boxes_and_masks(yolo_set):
    yolo_set.add("images/train/a.jpg", SQUARE + "0 0.5 0.5 1 1\n")
    (image,) = yolo_set.load()
    assert [(item.box, item.mask) for item in image.objects] == [(PixelBox(0.25, 0.25, 0.75, 0.75), None), (PixelBox(0, 0, 1, 1), None)]
    (image,) = yolo_set.load(include_masks=True)
    square, box = image.objects
    expected = np.zeros((48, 64), np.uint8)
    expected[12:36, 16:48] = 1
    assert box.mask is None
    assert square.mask is not None and np.array_equal(square.mask, expected)


def test_masks_of_a_turned_image_are_those_of_the_displayed_one(yolo_set):
    """YOLO's tools look at images as they are displayed; where that is in doubt, the encoder asks."""
    yolo_set.add("images/train/a.jpg", SQUARE)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (64, 48)).save(yolo_set.root / "images/train/a.jpg", exif=exif)
    (image,) = yolo_set.load(include_masks=True)
    mask = image.objects[0].mask
    assert image.size is None
    assert mask is not None and mask.shape == (64, 48) and mask[16:48, 12:36].all() and mask.sum() == 32 * 24


@pytest.mark.parametrize(
    ("shape", "row", "keypoints"),
    [
        ("[2, 3]", "0.1 0.2 2 0 0 0.0", (Keypoint("0", 0.2, 0.1, 2), Keypoint("1", 0, 0, 0))),
        ("[2, 2]", "0.1 0.2 0 0", (Keypoint("0", 0.2, 0.1, 2), Keypoint("1", 0, 0, 0))),
    ],
)
def test_keypoints(yolo_set, shape, row, keypoints):
    yolo_set.add("images/train/a.jpg", f"0 0.5 0.5 1 1 {row}\n")
    yolo_set.write("data.yaml", f"names: [cat]\nkpt_shape: {shape}\n")
    ((item,),) = [image.objects for image in yolo_set.load()]
    assert (item.box, item.keypoints) == (PixelBox(0, 0, 1, 1), ())
    ((item,),) = [image.objects for image in yolo_set.load(include_keypoints=True)]
    assert item.keypoints == keypoints
    yolo_set.add("images/train/a.jpg", "0 0.5 0.5 1 1\n")
    with pytest.raises(InputError, match=r"a\.txt:1 \(cat\): with kpt_shape \[2, [23]\] a row has (11|9) columns, got 5"):
        yolo_set.load()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param("2 0.5 0.5 1 1", r"a\.txt:2: class index 2 is not among the 2 classes, 0 to 1", id="class too high"),
        pytest.param("-1 0.5 0.5 1 1", r":2: the class index must be a whole number from 0, got '-1'", id="class negative"),
        pytest.param("0.5 0.5 0.5 1 1", "the class index must be a whole number from 0, got '0.5'", id="class a fraction"),
        pytest.param("cat 0.5 0.5 1 1", "the class index must be a whole number from 0, got 'cat'", id="class a name"),
        pytest.param("1" * 5000 + " 0.5 0.5 1 1", "the class index must be a whole number", id="class of 5000 digits"),
        pytest.param("0 0.5 0.5 1", r":2 \(cat\): a row has 5 \(class, x, y, width, height\), or 7.*; got 4 columns", id="four columns"),
        pytest.param("0 .5 .5 1 1 .9", r"got 6 columns; six are a detection with its score, no ground truth", id="a score"),
        pytest.param("0 .5 .5 1 1 .9 .1 .2", "got 8 columns", id="half a point"),
        pytest.param("0 0.5 0.5 1.2 1", r":2 \(cat\): 1\.2 is not between 0 and 1: .*; are these pixels\?", id="above 1"),
        pytest.param("0 320 240 64 48", r"240 is not between 0 and 1: .*; are these pixels\?", id="pixels"),
        pytest.param("0 -0.5 0.5 1 1", "-0.5 is not between 0 and 1", id="below 0"),
        pytest.param("0 nan 0.5 1 1", "nan is not between 0 and 1", id="nan"),
        pytest.param("0 1e999 0.5 1 1", "1e999 is not between 0 and 1", id="infinite"),
        pytest.param("0 x 0.5 1 1", "'x' is not a number", id="a text"),
        pytest.param("0,0.5,0.5,1,1", "the class index must be a whole number from 0", id="commas"),
    ],
)
def test_wrong_rows(yolo_set, row, message):
    yolo_set.add("images/train/a.jpg", f"0 0.5 0.5 1 1\n{row}\n")
    with pytest.raises(InputError, match=message) as raised:
        yolo_set.load()
    assert str(raised.value).startswith(f"{yolo_set.root}/labels/train/a.txt:2")


def test_wrong_label_files(yolo_set):
    path = yolo_set.add("images/train/a.jpg", "")
    path.write_bytes(b"\xff\xfe0\0")
    with pytest.raises(InputError, match=r"a\.txt: not a text file in UTF-8"):
        yolo_set.load()
    with path.open("wb") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(InputError, match=r"a\.txt: has 67,108,865 bytes, more than the 67,108,864 that a label file may have"):
        yolo_set.load()


def test_nothing_is_read_outside_the_set(yolo_set, tmp_path):
    yolo_set.add("images/train/a.jpg")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/a.txt").write_text("secret\n")
    (yolo_set.root / "labels").mkdir()
    (yolo_set.root / "labels/train").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=r"leads out of the folder|is a link that leads out of"):
        yolo_set.load()
    with pytest.raises(InputError, match="is a link that leads out of"):
        yolo_set.load(images="images/train")
    (yolo_set.root / "labels/train").unlink()
    (yolo_set.root / "labels/train").mkdir()
    (yolo_set.root / "labels/train/a.txt").symlink_to(tmp_path / "secret/a.txt")
    with pytest.raises(InputError, match="leads out of the folder"):
        yolo_set.load()


def test_what_is_missing(yolo_set):
    (yolo_set.root / "images").mkdir()
    with pytest.raises(InputError, match="no image in "):
        yolo_set.load()
    yolo_set.add("images/train/a.jpg")
    with pytest.raises(InputError, match=r"no label file for any of 1 images; .*/labels/train/a\.txt is the first that was looked for"):
        yolo_set.load()
    with pytest.raises(InputError, match="has no kpt_shape, so that its label files have no keypoints to include"):
        yolo_set.load(include_keypoints=True)
    with pytest.raises(InputError, match="the yolo format has no use for --image_labels"):
        yolo_set.load(image_labels=Path("x"))


def test_label_files_without_names_of_classes(tmp_path):
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("\n")
    assert FORMAT.recognise(tmp_path) is None  # without images, these are no data set
    (tmp_path / "images").mkdir()
    assert FORMAT.recognise(tmp_path) is None
    (labels / "b.txt").write_text("0 0.5 0.25 0.5 0.25\n")
    with pytest.raises(InputError, match=rf"^{tmp_path} has YOLO's label files, but no data\.yaml, obj\.data or classes\.txt that names"):
        FORMAT.recognise(tmp_path)
    (labels / "b.txt").write_text("Car 0.25 1 -1.57 10 20 50.5 40 1.5 1.6 4.0 -3.0 1.7 12.5 -1.6\n")  # KITTI
    assert FORMAT.recognise(tmp_path) is None


def test_recognised_folders(yolo_set, tmp_path):
    root = yolo_set.root
    assert FORMAT.recognise(root) == ReadOptions(root, root / "data.yaml")
    (root / "images").mkdir()
    assert FORMAT.recognise(root) == ReadOptions(root / "images", root / "data.yaml")
    yolo_set.write("args.yaml", "epochs: 3\nval: true\n")
    assert FORMAT.recognise(root) == ReadOptions(root / "images", root / "data.yaml")
    yolo_set.write("coco8.yaml", DATA_YAML)
    (root / "data.yaml").unlink()
    with pytest.raises(InputError, match=r"holds several YOLO descriptions: .*args\.yaml, .*coco8\.yaml; choose one with --annotations"):
        FORMAT.recognise(root)
    for name, text in (("obj.data", "classes=1\nnames=data/obj.names"), ("classes.txt", "cat"), ("labels/classes.txt", "cat")):
        folder = tmp_path / name.split(".")[0].replace("/", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
        assert FORMAT.recognise(folder) == ReadOptions(folder, folder / name)
    assert FORMAT.recognise(tmp_path) is None
