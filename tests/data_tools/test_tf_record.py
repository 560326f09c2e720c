from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, Keypoint, PixelBox, ReadOptions
from data_tools.create_tf_record import create_tf_record
from data_tools.formats.coco import read_coco
from data_tools.formats.voc import read_voc
from data_tools.tf_record import RecordEncoder
from data_tools.write_options import WriteOptions
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.errors import InputError

LABELS = LabelMap.from_names(["cat", "dog"])
FEATURES = (schema.OBJECT_CLASS_LABEL, schema.OBJECT_AREA)


@pytest.fixture
def encode(tmp_path: Path, write_image, read_examples) -> Callable[..., tuple[Any, dict[str, list]]]:
    """Encodes an annotation of a 64x48 image, and reads the record back: what the encoder said, and the features."""
    path = tmp_path / "a.jpg"
    write_image(path)

    def run(*objects: tuple[str, tuple[float, float, float, float]], size: tuple[int, int] | None = (48, 64), **settings: Any):
        items = tuple(AnnotatedObject(name, PixelBox(*box), f"object {i}", area=8.0) for i, (name, box) in enumerate(objects))
        annotated = AnnotatedImage(path, "ä.jpg", "id", size, items, "a.xml")
        result = RecordEncoder(lambda _: annotated, FEATURES, LABELS, "labels.pbtxt", **settings)(None)
        (tmp_path / "record").write_bytes(result.record)
        (features,) = read_examples([tmp_path / "record"])
        return result, features

    return run


def test_image_features(encode, tmp_path):
    encoded = (tmp_path / "a.jpg").read_bytes()
    result, features = encode()
    assert {key: features[key] for key in sorted(features) if "/object/" not in key} == {
        "image/encoded": [encoded],
        "image/filename": ["ä.jpg"],
        "image/format": ["jpeg"],
        "image/height": [48],
        "image/key/sha256": [hashlib.sha256(encoded).hexdigest()],
        "image/source_id": ["id"],
        "image/width": [64],
    }
    assert all(values == [] for key, values in features.items() if "/object/" in key)
    assert (result.class_texts, result.broken_boxes, result.notes) == ((), (), ())


def test_object_features(encode):
    result, features = encode(("dog", (12, 16, 24, 64)), ("cat", (0, 0, 48, 1)))
    assert {key.removeprefix("image/object/"): values for key, values in features.items() if "/object/" in key} == {
        "bbox/ymin": [0.25, 0.0],
        "bbox/xmin": [0.25, 0.0],
        "bbox/ymax": [0.5, 1.0],
        "bbox/xmax": [1.0, 1 / 64],
        "class/text": ["dog", "cat"],
        "class/label": [2, 1],
        "area": [8.0, 8.0],
    }
    assert result.class_texts == ("dog", "cat")


@pytest.mark.parametrize(
    ("size", "x_max", "area", "note"),
    [
        pytest.param(None, 0.5, 8.0, None, id="not told"),
        pytest.param(
            (96, 128), 0.25, 2.0, "a.xml: says 128x96, .*a.jpg has 64x48 pixels: same shape, so the boxes were scaled", id="halved image"
        ),
        pytest.param((100, 128), 0.5, 8.0, "says 128x100, .*: the boxes were taken as pixels of the image", id="another shape"),
    ],
)
def test_size_that_is_not_the_images(encode, size, x_max, area, note):
    result, features = encode(("cat", (0, 0, 24, 32)), size=size)
    assert (features["image/height"], features["image/width"]) == ([48], [64])
    assert features["image/object/bbox/xmax"] == [x_max]
    assert features["image/object/area"] == [area]
    assert len(result.notes) == (0 if note is None else 1)
    assert note is None or re.search(note, result.notes[0])


def test_the_first_pixel_itself_is_a_box(encode):
    result, _ = encode(("cat", (0.0, 0.0, 1.0, 1.0)))
    assert (result.class_texts, result.broken_boxes) == (("cat",), ())


def test_a_turned_image_is_refused(encode):
    with pytest.raises(InputError, match=r"a\.xml: says 48x64, .*a\.jpg has 64x48 pixels: one of them is turned by 90 degrees"):
        encode(size=(64, 48))


GOOD = ("dog", (1.0, 1.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("box", "problem", "clipped"),
    [
        pytest.param((5, 5, 5, 5), "is empty", None, id="a point"),
        pytest.param((5, 5, 9, 5), "is empty", None, id="no width"),
        pytest.param((9, 5, 5, 9), "has its edges in the wrong order", None, id="inverted"),
        pytest.param((0, 0, 48, 64.5), "leaves the image", [0, 0, 1, 1], id="half a pixel too wide"),
        pytest.param((-12, -16, 24, 32), "leaves the image", [0, 0, 0.5, 0.5], id="negative"),
        pytest.param((50, 5, 60, 9), "leaves the image", None, id="wholly below"),
        pytest.param((0.25, 0.5, 0.75, 1.0), "lies within the first pixel, as if its numbers were shares of the image", None, id="shares"),
        pytest.param((float("nan"), 5, 6, 9), "is not finite", None, id="nan"),
        pytest.param((float("-inf"), 0, 24, 32), "is not finite", [0, 0, 0.5, 0.5], id="infinite"),
    ],
)
def test_broken_boxes(encode, box, problem, clipped):
    edges = ["image/object/bbox/ymin", "image/object/bbox/xmin", "image/object/bbox/ymax", "image/object/bbox/xmax"]
    result, features = encode(("cat", box), GOOD)
    assert features["image/object/class/text"] == ["dog"]
    assert features["image/object/area"] == [8.0]
    (message,) = result.broken_boxes
    assert message.startswith(f"object 0: box {problem} (xmin {box[1]:g}, ymin {box[0]:g}, ")
    assert message.endswith("image 64x48): left out")

    result, features = encode(("cat", box), GOOD, broken_boxes="clip")
    assert features["image/object/class/text"] == (["dog"] if clipped is None else ["cat", "dog"])
    assert result.broken_boxes[0].endswith(": left out" if clipped is None else ": clipped")
    if clipped is not None:
        assert [features[key][0] for key in edges] == clipped

    with pytest.raises(InputError, match=f"object 0: box {problem} .*image 64x48"):
        encode(("cat", box), GOOD, broken_boxes="error")


def test_a_class_that_the_map_lacks(encode):
    with pytest.raises(InputError, match=r'object 0: class "cats" is not in the label map .*"cat".*: labels\.pbtxt'):
        encode(("cats", (1, 1, 2, 2)))


def encode_one(annotated: AnnotatedImage, read_examples, tmp_path: Path, features: tuple[str, ...] = (), **settings: Any):
    result = RecordEncoder(lambda _: annotated, features, LABELS, "labels.pbtxt", **settings)(None)
    (tmp_path / "record").write_bytes(result.record)
    return result, read_examples([tmp_path / "record"])[0]


def annotate(path: Path, *objects: AnnotatedObject, size: tuple[int, int] | None = None, **fields: Any) -> AnnotatedImage:
    return AnnotatedImage(path, path.name, "id", size, objects, "a.xml", **fields)


STORED_BOX = (2, 4, 10, 20)  # [y_min, x_min, y_max, x_max] of the red patch in the stored picture of 40x24


@pytest.fixture
def turned_picture(tmp_path: Path) -> Callable[[str, int], Path]:
    """A picture of 40x24 with a red patch near its top left corner, to be turned by EXIF orientation."""

    def save(suffix: str, orientation: int) -> Path:
        picture, exif = Image.new("RGB", (40, 24), "gray"), Image.Exif()
        picture.paste("red", (STORED_BOX[1], STORED_BOX[0], STORED_BOX[3], STORED_BOX[2]))
        exif[0x0112] = orientation
        picture.save(tmp_path / f"a{suffix}", exif=exif, quality=95, subsampling=0)
        return tmp_path / f"a{suffix}"

    return save


def red_box(pixels: np.ndarray) -> tuple[int, int, int, int]:
    red = (pixels[..., 0] > 190) & (pixels[..., 1] < 70)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("exif_boxes", ["stored", "displayed", "auto"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_stay_on_their_pixels(orientation, exif_boxes, suffix, turned_picture, read_examples, tmp_path):
    """The patch is found again in the pixels of the record: there its box must be, wherever the annotation was made."""
    path = turned_picture(suffix, orientation)
    with Image.open(path) as image:
        displayed = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    if exif_boxes == "displayed":
        box, size = red_box(displayed), (displayed.shape[0], displayed.shape[1])
    else:
        box, size = STORED_BOX, (24, 40)
    annotated = annotate(path, AnnotatedObject("cat", PixelBox(*box), "object 1"), size=size)
    if exif_boxes == "auto" and orientation in (2, 3, 4):
        with pytest.raises(InputError, match=rf"a\.xml: {path} has EXIF orientation {orientation}, .* cannot be told"):
            encode_one(annotated, read_examples, tmp_path)
        return
    result, features = encode_one(annotated, read_examples, tmp_path, exif_boxes=exif_boxes)

    (encoded,) = features["image/encoded"]
    with Image.open(io.BytesIO(encoded)) as stored:
        pixels = np.asarray(stored.convert("RGB"))
        assert stored.getexif().get(0x0112, 1) == 1
    height, width = pixels.shape[:2]
    assert (height, width) == displayed.shape[:2] == ((40, 24) if orientation >= 5 else (24, 40))
    assert (features["image/height"], features["image/width"]) == ([height], [width])
    assert features["image/key/sha256"] == [hashlib.sha256(encoded).hexdigest()]
    assert features["image/format"] == [{".png": "png", ".jpg": "jpeg"}[suffix]]
    edges = [features[f"image/object/bbox/{edge}"][0] for edge in ("ymin", "xmin", "ymax", "xmax")]
    assert np.multiply(edges, (height, width) * 2) == pytest.approx(red_box(pixels))
    assert result.is_turned == (orientation != 1)
    if orientation == 1:
        assert encoded == path.read_bytes()
    elif suffix == ".png":
        np.testing.assert_array_equal(pixels, displayed)


def test_a_turned_image_without_objects_or_size(turned_picture, read_examples, tmp_path):
    result, features = encode_one(annotate(turned_picture(".jpg", 3)), read_examples, tmp_path)
    assert result.is_turned
    assert red_box(np.asarray(Image.open(io.BytesIO(features["image/encoded"][0])))) == (14, 20, 22, 36)


def test_a_turned_image_annotated_at_another_size(turned_picture, read_examples, tmp_path):
    """Drawn on the stored picture at twice its size: mask, box and point are turned, then scaled."""
    mask = np.zeros((48, 80), np.uint8)
    mask[4:20, 8:40] = 1
    item = AnnotatedObject("cat", PixelBox(4, 8, 20, 40), "object 1", mask=mask, area=512, keypoints=(Keypoint("tail", 4, 8),))
    annotated = annotate(turned_picture(".png", 6), item, size=(48, 80))
    result, features = encode_one(annotated, read_examples, tmp_path, (schema.OBJECT_MASK, schema.OBJECT_AREA, schema.OBJECT_KEYPOINT_X))
    pixels = np.asarray(Image.open(io.BytesIO(features["image/encoded"][0])))
    red = (pixels[..., 0] > 190) & (pixels[..., 1] < 70)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(features["image/object/mask"][0]))) == 1, red)
    assert features["image/object/area"] == [128.0]
    assert red_box(pixels) == (4, 14, 20, 22)  # the stored top left corner is displayed top right
    assert (features["image/object/keypoint/y"], features["image/object/keypoint/x"]) == ([pytest.approx(4 / 40)], [pytest.approx(22 / 24)])
    assert "says 48x80" in result.notes[0]


@pytest.mark.parametrize(("suffix", "mode"), [(".bmp", "P"), (".gif", "P"), (".webp", "RGB")])
def test_other_formats_are_stored_as_png(suffix, mode, read_examples, tmp_path):
    path = tmp_path / f"a{suffix}"
    Image.effect_noise((40, 24), 50).convert(mode).save(path)
    result, features = encode_one(annotate(path, AnnotatedObject("cat", PixelBox(0, 0, 12, 40), "object 1")), read_examples, tmp_path)
    (encoded,) = features["image/encoded"]
    assert features["image/format"] == ["png"]
    assert features["image/key/sha256"] == [hashlib.sha256(encoded).hexdigest()]
    assert (features["image/height"], features["image/width"], features["image/filename"]) == ([24], [40], [f"a{suffix}"])
    assert features["image/object/bbox/ymax"] == [0.5]
    assert (result.converted_from, result.is_turned) == (suffix[1:], False)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")), np.asarray(Image.open(path).convert("RGB")))


def test_verified_images(write_image, read_examples, tmp_path):
    path = tmp_path / "a.png"
    write_image(path)
    _, features = encode_one(annotate(path), read_examples, tmp_path, verify_images=True)
    assert features["image/encoded"] == [path.read_bytes()]
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + b"x" + whole[61:])
    encode_one(annotate(path), read_examples, tmp_path)
    with pytest.raises(InputError, match=rf"^{path}: broken PNG: the checksum of chunk b'IDAT' at byte \d+ does not fit"):
        encode_one(annotate(path), read_examples, tmp_path, verify_images=True)


def test_broken_images_that_have_to_be_decoded(turned_picture, write_image, read_examples, tmp_path):
    path = tmp_path / "a.bmp"
    write_image(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=rf"^{path}: broken BMP: .*truncated"):
        encode_one(annotate(path), read_examples, tmp_path)


def test_an_image_that_lies_in_another_file(write_image, read_examples, tmp_path):
    write_image(tmp_path / "a.jpg")
    encoded = (tmp_path / "a.jpg").read_bytes()
    annotated = annotate(tmp_path / "b.record")._replace(where="b.record: record 7")
    _, features = encode_one(annotated._replace(encoded=encoded), read_examples, tmp_path)
    assert features["image/encoded"] == [encoded]
    for broken, settings in ((encoded[:300], {}), (encoded[:-1], {"verify_images": True})):
        with pytest.raises(InputError, match=r"^b\.record: record 7: broken JPEG"):
            encode_one(annotated._replace(encoded=broken), read_examples, tmp_path, **settings)


def test_shares_of_the_image(write_image, read_examples, tmp_path):
    path = tmp_path / "a.jpg"
    write_image(path)
    boxes = [(0.25, 0.5, 0.75, 1.0), (-4e-6, 0.0, 0.5, 1.000004), (0.1, 0.1, 0.2, 1.1)]
    objects = [
        AnnotatedObject("cat", PixelBox(*box), f"a.txt:{i}", keypoints=(Keypoint("tail", 0.5, 0.25),)) for i, box in enumerate(boxes)
    ]
    annotated = annotate(path, *objects, has_relative_boxes=True)
    result, features = encode_one(annotated, read_examples, tmp_path, (schema.OBJECT_KEYPOINT_X,))
    assert result.broken_boxes == (
        "a.txt:2: box leaves the image (xmin 0.1, ymin 0.1, xmax 1.1, ymax 0.2; in shares of the image): left out",
    )
    for edge, values in (("ymin", [0.25, 0.0]), ("xmin", [0.5, 0.0]), ("ymax", [0.75, 0.5]), ("xmax", [1.0, 1.0])):
        assert features[f"image/object/bbox/{edge}"] == values
    assert (features["image/object/keypoint/x"], features["image/object/keypoint/y"]) == ([0.25, 0.25], [0.5, 0.5])


def test_image_level_labels_and_extra_features(write_image, read_examples, tmp_path):
    path = tmp_path / "a.jpg"
    write_image(path)
    keys = (schema.IMAGE_CLASS_TEXT, schema.IMAGE_CLASS_LABEL, schema.IMAGE_CLASS_CONFIDENCE)
    item = AnnotatedObject("cat", PixelBox(1, 2, 3, 4), "object 1", extras=(1.5,))
    labels = ("dog", "cow", "cat")  # the label map has no cow: Open Images labels images with classes that it has no boxes for
    annotated = annotate(path, item, image_labels=labels, image_label_confidences=(1.0, 0.5, 0.0))
    _, features = encode_one(annotated, read_examples, tmp_path, keys, extra_features=("image/object/truncated",))
    assert features["image/class/text"] == ["dog", "cat"]
    assert features["image/class/label"] == [2, 1]
    assert features["image/class/confidence"] == [1.0, 0.0]
    assert features["image/object/truncated"] == [1.5]


# Keys that the original converters do not write.
EXTRA_KEYS = {"coco": {"image/object/class/label"}, "voc": set()}


@pytest.mark.parametrize(("name", "split"), [("coco", "train"), ("coco", "val"), ("voc", "")])
def test_equal_to_the_original_converters(name, split, tmp_path, golden, test_data, read_examples):
    content = json.loads(golden("converters.json").read_text())
    expected = content[f"{name}_{split}" if split else name]
    if name == "coco":
        root = test_data / "tinycoco"
        source = read_coco(ReadOptions(root / "images" / f"{split}2017", root / "annotations" / f"instances_{split}2017.json"))
    else:
        root = test_data / "bccd" / "BCCD"
        (tmp_path / "split.txt").write_text("\n".join(expected))
        source = read_voc(ReadOptions(root / "JPEGImages", root / "Annotations", tmp_path / "split.txt"))
    output = tmp_path / "out.record"
    create_tf_record(source, output, WriteOptions(broken_boxes="error"))

    examples = read_examples([Path(f"{output}-00000-of-00001")])
    assert len(examples) == len(expected) > 5
    for example, (filename, features) in zip(examples, expected.items(), strict=True):
        assert Path(example["image/filename"][0]).stem == Path(filename).stem
        encoded = example.pop("image/encoded")[0]
        assert hashlib.sha256(encoded).hexdigest() == features["image/key/sha256"][0]
        assert set(example) - set(features) == EXTRA_KEYS[name]
        assert {key: example[key] for key in features} == features
        if name == "coco":
            ids = source.class_ids
            assert example["image/object/class/label"] == [ids[text] for text in example["image/object/class/text"]]
