from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, ReadOptions, Source
from data_tools.create_tf_record import create_tf_record
from data_tools.formats.labelme import FORMAT, read_labelme
from object_detection_ext.errors import InputError

TRIANGLE = [[10, 5], [30.5, 5], [10, 25.25]]


def shape(label: object = "cat", points: object = TRIANGLE, kind: object = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | more


class LabelmeSet:
    """A folder of images and JSON files together, as LabelMe leaves it; 64x48 images."""

    def __init__(self, root: Path, write_image: Any) -> None:
        self.root, self._write_image = root, write_image
        root.mkdir()

    def add(self, stem: str, *shapes: Any, image: str | None = "", **more: Any) -> Path:
        """A JSON file `stem` and its image, named otherwise where `image` says so, none where that is None."""
        name = f"{stem}.jpg" if image == "" else image
        if name is not None:
            self._write_image(self.root / name)
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": list(shapes),
            "imagePath": Path(name or f"{stem}.jpg").name,
            "imageData": None,
        }
        return self.write(stem, json.dumps(content | {"imageHeight": 48, "imageWidth": 64} | more))

    def write(self, stem: str, text: str) -> Path:
        path = self.root / f"{stem}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, images: str = ".", annotations: str = ".", **options: Any) -> Source:
        return read_labelme(ReadOptions(self.root / images, self.root / annotations, **options))

    def load(self, **options: Any) -> list[AnnotatedImage]:
        source = self.read(**options)
        return [source.load(entry) for entry in source.entries]


@pytest.fixture
def labelme_set(tmp_path, write_image) -> LabelmeSet:
    return LabelmeSet(tmp_path / "labelme", write_image)


def test_an_image_with_two_shapes(labelme_set):
    path = labelme_set.add("a", shape(), shape("dog", [[40, 30], [20, 10]], "rectangle"))
    (image,) = labelme_set.load()
    assert image == AnnotatedImage(
        labelme_set.root / "a.jpg",
        "a.jpg",
        "a.jpg",
        (48, 64),
        (
            AnnotatedObject("cat", PixelBox(5, 10, 25.25, 30.5), f"{path}: shapes[0] (cat)"),
            AnnotatedObject("dog", PixelBox(10, 20, 30, 40), f"{path}: shapes[1] (dog)"),
        ),
        str(path),
    )


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(bool)).save(file, format="PNG")  # LabelMe's masks have one bit a pixel
    return base64.b64encode(file.getvalue()).decode()


RING = np.pad(np.ones((3, 4), np.uint8), 1)  # 5x6 with an empty edge

SHAPES = [  # shape, box, the pixels of its mask
    pytest.param(shape(points=[[8, 4], [16, 4], [16, 12], [8, 12]]), PixelBox(4, 8, 12, 16), np.s_[4:12, 8:16], id="polygon"),
    pytest.param(shape(points=[[8, 4], [16, 4], [16, 12], [8, 12]], kind=None), PixelBox(4, 8, 12, 16), np.s_[4:12, 8:16], id="version 3"),
    pytest.param(
        shape(points=[[16, 4], [16, 12], [8, 12], [8, 4]], kind="oriented_rectangle"),
        PixelBox(4, 8, 12, 16),
        np.s_[4:12, 8:16],
        id="oriented",
    ),
    # The PNG's upper left pixel is (10, 20); its ones start a pixel further and are 4 wide, 3 high.
    pytest.param(shape(points=[[10, 20], [15, 24]], kind="mask", mask=png(RING)), PixelBox(21, 11, 24, 15), np.s_[21:24, 11:15], id="mask"),
    pytest.param(
        shape(points=[[62, 46], [67, 50]], kind="mask", mask=png(RING)), PixelBox(47, 63, 50, 67), np.s_[47:, 63:], id="mask over the edge"
    ),
    pytest.param(
        shape(points=[[-3.2, -2.6], [2, 1]], kind="mask", mask=png(RING)), PixelBox(-2, -2, 1, 2), np.s_[:1, :2], id="mask before the edge"
    ),
    pytest.param(
        shape(points=[[90, 90], [95, 94]], kind="mask", mask=png(RING)), PixelBox(91, 91, 94, 95), np.s_[:0, :0], id="mask outside"
    ),
]


@pytest.mark.parametrize(("item", "box", "pixels"), SHAPES)
def test_boxes_and_masks(labelme_set, item, box, pixels):
    labelme_set.add("a", item)
    ((found,),) = [image.objects for image in labelme_set.load()]
    assert (found.box, found.mask) == (box, None)
    ((found,),) = [image.objects for image in labelme_set.load(include_masks=True)]
    expected = np.zeros((48, 64), np.uint8)
    expected[pixels] = 1
    assert found.box == box and np.array_equal(found.mask, expected)


def test_circles(labelme_set):
    labelme_set.add("a", shape(points=[[30, 20], [33, 24]], kind="circle"))
    ((item,),) = [image.objects for image in labelme_set.load(include_masks=True)]
    assert item.box == PixelBox(15, 25, 25, 35)
    assert item.mask is not None and item.mask[15:25, 25:35].sum() == item.mask.sum() == pytest.approx(np.pi * 25, abs=3)
    assert np.array_equal(item.mask[15:25, 25:35], item.mask[15:25, 25:35].T)


def test_groups_are_one_object(labelme_set):
    parts = [shape(points=[[x, 8], [x + 8, 8], [x + 8, 16], [x, 16]], group_id=3) for x in (0, 40)]
    path = labelme_set.add("a", parts[0], shape("dog", group_id=3), shape(), parts[1])
    (image,) = labelme_set.load(include_masks=True)
    assert [(item.class_text, item.where) for item in image.objects] == [
        ("cat", f"{path}: shapes[0] (cat)"),
        ("dog", f"{path}: shapes[1] (dog)"),
        ("cat", f"{path}: shapes[2] (cat)"),
    ]
    assert image.objects[0].box == PixelBox(8, 0, 16, 48)
    assert image.objects[0].mask is not None and image.objects[0].mask.sum() == 128


def test_a_rectangle_has_no_mask_but_as_part_of_a_group(labelme_set):
    corners, all_corners = [[8, 16], [0, 8]], [[0, 8], [8, 8], [8, 16], [0, 16]]
    square = shape(points=[[40, 8], [48, 8], [48, 16], [40, 16]], group_id=3)
    labelme_set.add(
        "a",
        *[shape(points=points, kind="rectangle") for points in (corners, all_corners)],
        shape(points=corners, kind="rectangle", group_id=3),
        square,
    )
    (image,) = labelme_set.load(include_masks=True)
    *alone, group = image.objects
    assert [(item.box, item.mask) for item in alone] == [(PixelBox(8, 0, 16, 8), None)] * 2
    expected = np.zeros((48, 64), np.uint8)
    expected[8:16, :8] = expected[8:16, 40:48] = 1
    assert group.box == PixelBox(8, 0, 16, 48) and np.array_equal(group.mask, expected)


def test_shapes_without_extent(labelme_set):
    path = labelme_set.add(
        "a", shape(points=[[1, 2]], kind="point"), shape(points=TRIANGLE, kind="linestrip"), shape("__ignore__", kind="line"), shape()
    )
    (image,) = labelme_set.load()
    assert len(image.objects) == 1
    assert image.notes == (f"{path}: 2 points and lines have no extent: left out",)


@pytest.mark.parametrize(
    ("named", "image"),
    [
        pytest.param("../images/a 1.jpg", "images/a 1.jpg", id="beside"),
        pytest.param("..\\images\\a 1.jpg", "images/a 1.jpg", id="Windows"),
        pytest.param("C:\\Users\\me\\a 1.jpg", "images/a 1.jpg", id="another machine"),
        pytest.param("/Users/me/a 1.jpg", "images/a 1.jpg", id="absolute"),
        pytest.param("../images/train/a 1.jpg", "images/train/a 1.jpg", id="below"),
        pytest.param("renamed.jpg", "images/b.png", id="by the stem of the JSON file"),
        pytest.param(None, "images/b.png", id="no path"),
    ],
)
def test_where_the_image_is_looked_for(labelme_set, write_image, named, image):
    write_image(labelme_set.root / image)
    labelme_set.add("json/b", shape(), image=None, imagePath=named)
    (found,) = labelme_set.load(images="images", annotations="json")
    assert (found.path, found.filename) == (labelme_set.root / image, image.removeprefix("images/"))


@pytest.mark.parametrize("named", ["../../secret.jpg", "/etc/passwd", "..\\..\\secret.jpg", "../images/../../secret.jpg"])
def test_nothing_outside_the_image_folder_is_read(labelme_set, write_image, tmp_path, named):
    write_image(tmp_path / "secret.jpg")
    write_image(labelme_set.root / "images/other.jpg")
    path = labelme_set.add("json/b", shape(), image=None, imagePath=named)
    with pytest.raises(InputError, match=rf"{path}: no image '.*' in .*/images, nor one called 'b', and no imageData"):
        labelme_set.load(images="images", annotations="json")
    (labelme_set.root / "images/secret.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(InputError, match=r"leads out of the folder|and no imageData"):
        labelme_set.load(images="images", annotations="json")


def test_links_to_json_files_elsewhere_are_refused(labelme_set, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    labelme_set.add("a")
    (labelme_set.root / "b.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(InputError, match=r"'b\.json' leads out of the folder"):
        labelme_set.load()


def test_embedded_images(labelme_set, write_image, tmp_path):
    write_image(tmp_path / "x.jpg")
    data = (tmp_path / "x.jpg").read_bytes()
    path = labelme_set.add("below/a", shape(), image=None, imagePath="../pictures/x.jpg", imageData=base64.b64encode(data).decode())
    (image,) = labelme_set.load()
    assert (image.path, image.filename, image.source_id, image.encoded) == (path, "below/x.jpg", "below/x.jpg", data)
    labelme_set.add("below/a", shape(), image="below/a.jpg", imageData="!not needed!")
    assert labelme_set.load()[0].encoded is None
    (labelme_set.root / "below/a.jpg").unlink()
    with pytest.raises(InputError, match=r"a\.json: imageData is not an image in base64: "):
        labelme_set.load()


def test_images_without_json_files(labelme_set, write_image):
    labelme_set.add("b", shape())
    labelme_set.add("c", shape(), image="renamed.jpg")
    write_image(labelme_set.root / "a.jpg")
    source = labelme_set.read()
    assert [(entry.annotation, entry.image) for entry in source.entries] == [(None, "a.jpg"), ("b.json", ""), ("c.json", "")]
    assert source.notes == ("1 of 3 images have no JSON file: kept, as images without objects",)
    image = source.load(source.entries[0])
    assert image == AnnotatedImage(labelme_set.root / "a.jpg", "a.jpg", "a.jpg", None, (), str(labelme_set.root / "a.jpg"))


def test_split_files(labelme_set, tmp_path):
    for stem in ("a", "b", "c"):
        labelme_set.add(stem)
    split = tmp_path / "split.txt"
    split.write_text("c.json\na\nb.jpg\n")
    assert [image.filename for image in labelme_set.load(split_file=split)] == ["c.jpg", "a.jpg", "b.jpg"]
    for text, message in (
        ("d\n", "split.txt:1: 'd' is neither a JSON file nor an image"),
        ("a\na.jpg", "split.txt:2: 'a.jpg' is listed twice"),
    ):
        split.write_text(text)
        with pytest.raises(InputError, match=message):
            labelme_set.load(split_file=split)


CUT = png(RING)[:-40]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        pytest.param(3, r"shapes\[0\] must be an object, got 3", id="a number"),
        pytest.param(shape(label=None), r"shapes\[0\] must have a label, got None", id="no label"),
        pytest.param(shape(label="a\nb"), r"shapes\[0\] must have a label", id="control characters"),
        pytest.param(
            shape(kind="cube"), r"shapes\[0\] \(cat\): the shape_type 'cube' is not known; known are polygon, rectangle", id="kind"
        ),
        pytest.param(shape(kind=["polygon"]), "shapes", id="kind a list"),
        pytest.param(shape(points=None), r"points must be a list of \[x, y\], got None", id="no points"),
        pytest.param(shape(points=[[1, 2], [3, 4], [5]]), r"points must be a list of \[x, y\]", id="half a point"),
        pytest.param(shape(points=[[1, 2], [3, 4], [5, "6"]]), r"points must be a list of \[x, y\]", id="a text"),
        pytest.param(shape(points=[[1, 2], [3, 4], [5, 1e300]]), r"points must be a list of \[x, y\]", id="huge"),
        pytest.param(shape(points=[[1, 2], [3, 4]]), "a polygon has three points or more, got 2", id="two points"),
        pytest.param(shape(points=TRIANGLE, kind="rectangle"), "a rectangle has two corners, got 3 points", id="three corners"),
        pytest.param(shape(points=TRIANGLE, kind="oriented_rectangle"), "an oriented rectangle has four corners, got 3", id="oriented"),
        pytest.param(shape(points=TRIANGLE, kind="circle"), "a circle has two points, its centre and one on it, got 3", id="circle"),
        pytest.param(shape(points=[[1, 2], [3, 4]], kind="mask"), "a mask has two corners and a PNG in base64", id="no mask"),
        pytest.param(shape(points=[[1, 2], [3, 4]], kind="mask", mask="%"), "its mask is not in base64", id="not base64"),
        pytest.param(shape(points=[[1, 2], [3, 4]], kind="mask", mask=CUT), "a mask that is not a whole PNG file", id="half a PNG"),
        pytest.param(shape(points=[[1, 2], [3, 4]], kind="mask", mask=png(np.zeros((3, 3)))), "its mask has no pixel", id="an empty mask"),
        pytest.param(shape(group_id="1"), "group_id must be a whole number or null, got '1'", id="group"),
    ],
)
def test_wrong_shapes(labelme_set, item, message):
    path = labelme_set.add("a", item)
    with pytest.raises(InputError, match=message) as raised:
        labelme_set.load()
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[]", r"must be an object with a list of `shapes`, as LabelMe writes it; got a JSON list", id="a list"),
        pytest.param('{"images": []}', "must be an object with a list of `shapes`.*; got the keys images", id="COCO"),
        pytest.param('{"shapes": {}}', "must be an object with a list of `shapes`", id="shapes a dict"),
        pytest.param('{"shapes": [],\n"x": NaN}', r"a\.json:2: not valid JSON: NaN is not a number that JSON allows", id="nan"),
        pytest.param("", r"a\.json:1: not valid JSON: Expecting value", id="empty"),
        pytest.param("[" * 100_000, r"a\.json:1: not valid JSON: nested too deeply", id="deep"),
        pytest.param(
            '{"shapes": [], "imageHeight": 0, "imageWidth": 4}',
            "imageHeight and imageWidth must be positive integers, got 0 and 4",
            id="size",
        ),
    ],
)
def test_wrong_files(labelme_set, text, message):
    labelme_set.add("a")
    labelme_set.write("a", text)
    with pytest.raises(InputError, match=message):
        labelme_set.load()


def test_two_images_of_one_name(labelme_set):
    labelme_set.add("a", shape(), image="a.jpg")
    labelme_set.add("a", shape(), image="a.png")
    source = read_labelme(ReadOptions(labelme_set.root, labelme_set.root))
    assert [source.load(entry).filename for entry in source.entries] == ["a.png"]
    assert source.notes == ("1 JSON files, such as a.json, have several images of their name: the one that they name is read, no other",)


def test_the_manifest_of_records_among_the_files(labelme_set):
    root = labelme_set.root
    labelme_set.add("b", shape())
    create_tf_record(FORMAT.read(ReadOptions(root, root)), root / "a.record")
    (root / ".hidden").mkdir()
    for name in ("._b.json", ".hidden/c.json"):
        (root / name).write_bytes(b"\0\5\x16\7")
    assert FORMAT.recognise(root) == ReadOptions(root, root)
    source = read_labelme(ReadOptions(root, root))
    assert [entry.annotation for entry in source.entries] == ["b.json"]
    assert source.notes == (f"{root / 'a_manifest.json'} is the manifest of records: not read",)
    (root / "b.json").unlink()
    assert FORMAT.recognise(root) is None
    with pytest.raises(InputError, match=r"no \*\.json file in .* but manifests of records"):
        read_labelme(ReadOptions(root, root))


def test_masks_need_a_size_and_one_that_is_possible(labelme_set):
    labelme_set.add("a", shape(), imageHeight=None)
    assert labelme_set.load()[0].size is None
    with pytest.raises(InputError, match="has no imageHeight and imageWidth, which masks need"):
        labelme_set.load(include_masks=True)
    for kind, points in (("circle", [[1, 2], [3, 4]]), ("polygon", TRIANGLE), ("mask", [[1, 2], [3, 4]])):
        labelme_set.add("a", shape(points=points, kind=kind, mask=png(RING)), imageHeight=10**9, imageWidth=10**9)
        with pytest.raises(InputError, match=r"a\.json: a mask of 1000000000x1000000000 pixels, more than the 268,435,456"):
            labelme_set.load(include_masks=True)


def test_missing_folders_and_options(labelme_set, tmp_path):
    with pytest.raises(InputError, match=r"no \*\.json file in "):
        labelme_set.load()
    with pytest.raises(InputError, match="is not a folder; the labelme format needs a folder of JSON files"):
        labelme_set.load(annotations="nothing")
    with pytest.raises(InputError, match="the labelme format has no use for --include_keypoints; it takes --split_file"):
        labelme_set.load(include_keypoints=True)


def test_recognised_folders(labelme_set, tmp_path):
    root = labelme_set.root
    assert FORMAT.recognise(root) is None
    labelme_set.add("a", shape())
    assert FORMAT.recognise(root) == ReadOptions(root, root)
    (root / "a.json").rename(root / "b.txt")
    labelme_set.add("annotations/a", image="images/a.jpg")
    assert FORMAT.recognise(root) == ReadOptions(root / "images", root / "annotations")
    (root / "annotations/a.json").write_text('{"images": []}')
    assert FORMAT.recognise(root) is None
