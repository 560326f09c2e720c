from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools.annotated_image import AnnotatedObject, Keypoint, PixelBox
from data_tools.object_features import OBJECT_FEATURES, Grid, count_box_masks, extra_features, keypoint_features
from data_tools.tf_example import encode_example, parse_example
from object_detection_ext.data import schema
from object_detection_ext.errors import InputError

GRID = Grid(extent=(48, 64), annotated=(48, 64), stored=(48, 64))
HALVED = Grid(extent=(48, 64), annotated=(48, 64), stored=(24, 32))


def item(**fields: Any) -> AnnotatedObject:
    return AnnotatedObject("cat", PixelBox(1, 2, 3, 4), "a.xml:3: object 1 (cat)", **fields)


def written(key: str, *objects: AnnotatedObject, grid: Grid = GRID) -> list[Any]:
    return parse_example(encode_example({key: OBJECT_FEATURES[key](objects, grid)}))[key]


@pytest.mark.parametrize(
    ("key", "field"),
    [
        (schema.OBJECT_DIFFICULT, "is_difficult"),
        (schema.OBJECT_TRUNCATED, "is_truncated"),
        (schema.OBJECT_OCCLUDED, "is_occluded"),
        (schema.OBJECT_DEPICTION, "is_depiction"),
        (schema.OBJECT_IS_CROWD, "is_crowd"),
        (schema.OBJECT_GROUP_OF, "is_group_of"),
    ],
)
def test_flags(key, field):
    assert written(key, item(**{field: True}), item(), item(**{field: True})) == [1, 0, 1]
    assert written(key) == []


def test_numbers_and_texts():
    assert written(schema.OBJECT_WEIGHT, item(), item(weight=0.5)) == [1.0, 0.5]
    assert written(schema.OBJECT_VIEW, item(view="Left"), item()) == [b"Left", b"Unspecified"]
    assert written(schema.OBJECT_AREA, item(area=12.0), item(area=0.25)) == [12.0, 0.25]
    assert written(schema.OBJECT_AREA, item(area=12.0), grid=HALVED) == [3.0]


def test_masks():
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 30:40] = 1
    decoded = [np.asarray(Image.open(io.BytesIO(png))) for png in written(schema.OBJECT_MASK, item(mask=mask), item(mask=1 - mask))]
    np.testing.assert_array_equal(decoded, [mask, 1 - mask])
    (halved,) = written(schema.OBJECT_MASK, item(mask=mask), grid=HALVED)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(halved))), mask[::2, ::2])


@pytest.mark.parametrize(
    ("box", "grid", "rows", "columns"),
    [
        pytest.param(PixelBox(1, 2, 3, 4), GRID, [1, 2], [2, 3], id="pixels"),
        pytest.param(PixelBox(1, 2, 3, 4), HALVED, [1], [1], id="of a larger image"),  # rows from 0.5 to 1.5, rounded
        pytest.param(PixelBox(0.25, 0.5, 1, 0.53125), Grid((1, 1), (48, 64), (48, 64)), [*range(12, 48)], [32, 33], id="shares"),
        pytest.param(PixelBox(47.6, 2.2, 48, 2.4), GRID, [47], [2], id="less than a pixel"),
        pytest.param(PixelBox(1.4, 1.6, 3.4, 3.6), GRID, [1, 2], [2, 3], id="rounded"),
    ],
)
def test_the_mask_of_an_object_without_one_is_its_filled_box(box, grid, rows, columns):
    objects = [item()._replace(box=box), item(mask=np.zeros(grid.annotated, np.uint8))]
    pngs = written(schema.OBJECT_MASK, *objects, grid=grid)
    mask = np.asarray(Image.open(io.BytesIO(pngs[0])))
    expected = np.zeros(grid.stored, np.uint8)
    expected[np.ix_(rows, columns)] = 1
    np.testing.assert_array_equal(mask, expected)
    assert count_box_masks((schema.OBJECT_MASK,), objects) == 1
    assert count_box_masks((schema.OBJECT_AREA,), objects) == 0


def test_wrong_masks():
    with pytest.raises(InputError, match=r"the mask is \[height, width\] \[64, 48\], its image \[48, 64\]"):
        written(schema.OBJECT_MASK, item(mask=np.zeros((64, 48), np.uint8)))


def keypoints_of(*objects: AnnotatedObject, grid: Grid = GRID) -> dict[str, list[Any]]:
    features = parse_example(encode_example(keypoint_features(objects, grid)))
    return {key.removeprefix("image/object/keypoint/"): values for key, values in features.items()}


NOSE, TAIL, NO_TAIL = Keypoint("nose", 12, 16), Keypoint("tail", 24, 64, 1), Keypoint("tail", 0, 0, 0)


def test_keypoints():
    assert keypoints_of(item(keypoints=(NOSE, TAIL)), item(keypoints=(NOSE, NO_TAIL))) == {
        "x": [0.25, 1.0, 0.25, 0.0],
        "y": [0.25, 0.5, 0.25, 0.0],
        "num": [2, 1],
        "visibility": [2, 1, 2, 0],
        "text": [b"nose", b"tail", b"nose", b"tail"],
    }
    assert keypoints_of() == {"x": [], "y": [], "num": [], "visibility": [], "text": []}


def test_every_object_gets_the_same_points():
    assert keypoints_of(item(), item(keypoints=(TAIL,)), item(keypoints=(NOSE, TAIL))) == {
        "x": [0.0, 0.0, 1.0, 0.0, 1.0, 0.25],
        "y": [0.0, 0.0, 0.5, 0.0, 0.5, 0.25],
        "num": [0, 1, 2],
        "visibility": [0, 0, 1, 0, 1, 2],
        "text": [b"tail", b"nose"] * 3,
    }


def test_points_of_one_name():
    assert keypoints_of(item(keypoints=(NOSE, NOSE)))["text"] == [b"nose", b"nose"]
    with pytest.raises(InputError, match="two keypoints have the same name: nose, nose"):
        keypoints_of(item(keypoints=(NOSE, NOSE)), item())


def test_extra_features():
    features = extra_features(("image/object/3d/height", "image/object/3d/width"), [item(extras=(1.5, 2.5)), item(extras=(3, 4))])
    assert parse_example(encode_example(features)) == {"image/object/3d/height": [1.5, 3.0], "image/object/3d/width": [2.5, 4.0]}
    assert parse_example(encode_example(extra_features(("a",), []))) == {"a": []}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39])
def test_numbers_that_float32_cannot_hold(value):
    message = r"a\.xml:3: object 1 \(cat\): {} must be a number that float32 can hold, got "
    with pytest.raises(InputError, match=message.format("area")):
        written(schema.OBJECT_AREA, item(area=value))
    with pytest.raises(InputError, match=message.format("weight")):
        written(schema.OBJECT_WEIGHT, item(weight=value))
    with pytest.raises(InputError, match=message.format("a/b")):
        extra_features(("a/b",), [item(extras=(value,))])
    with pytest.raises(InputError, match=message.format("keypoint x")):
        keypoints_of(item(keypoints=(Keypoint("nose", 1, 64 * value),)))
