from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, ReadOptions
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
