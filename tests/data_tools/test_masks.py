from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_api

from data_tools.masks import check_mask_memory, mask_to_rle, png_to_mask, polygons_to_mask, rle_to_mask, runs_to_pixels, uncompress_runs
from object_detection_ext.errors import InputError

coco_mask: Any = mask_api  # its own types say less than it takes

# An L of three pixels in 3 rows and 4 columns, and its columns one after the other: 0 0 0 | 0 1 1 | 0 0 1 | 0 0 0.
L = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]], np.uint8)
L_RUNS = [4, 2, 2, 1, 3]


def test_run_length_codes_go_down_the_columns():
    assert np.array_equal(rle_to_mask({"size": [3, 4], "counts": L_RUNS}, (3, 4)), L)
    assert np.array_equal(rle_to_mask({"size": [3, 4], "counts": [0, 12]}, (3, 4)), np.ones((3, 4)))
    assert np.array_equal(rle_to_mask({"size": [3, 4], "counts": [12]}, (3, 4)), np.zeros((3, 4)))
    # 4, 2, 2 as they are; then 1 - 2 = -1 (31 in five bits, with the sign bit) and 3 - 2 = 1; each 48 higher.
    assert uncompress_runs("422O1") == L_RUNS
    assert mask_to_rle(L) == {"size": [3, 4], "counts": "422O1"}


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 1), (37, 53), (300, 200)])
def test_codes_of_pycocotools(size, share):
    mask = (np.random.default_rng(7).random(size) < share).astype(np.uint8)
    counts = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    assert np.array_equal(rle_to_mask({"size": list(size), "counts": counts}, size), mask)
    assert mask_to_rle(mask) == {"size": list(size), "counts": counts}


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        pytest.param([1, 2], r"must have size \[3, 4\] \(height, width\) and counts, got \[1, 2\]", id="a list"),
        pytest.param({"size": [4, 3], "counts": [12]}, r"must have size \[3, 4\] .*, got \[4, 3\]", id="another size"),
        pytest.param({"size": None, "counts": [12]}, r"must have size .*, got None", id="no size"),
        pytest.param({"size": [3, 4]}, "counts of a run-length code must be whole numbers or a text, got 'None'", id="no counts"),
        pytest.param({"size": [3, 4], "counts": [1.0, 11]}, "must be whole numbers or a text", id="fractions"),
        pytest.param({"size": [3, 4], "counts": [True, 11]}, "must be whole numbers or a text", id="booleans"),
        pytest.param({"size": [3, 4], "counts": [4, 2]}, "has 6 pixels, the mask 12", id="too few"),
        pytest.param({"size": [3, 4], "counts": [4, -2, 10]}, "has a run that is negative or longer than the mask", id="negative"),
        pytest.param({"size": [3, 4], "counts": [10**15]}, "a run that is negative or longer than the mask", id="a memory's worth"),
        pytest.param({"size": [3, 4], "counts": "42 "}, "has the character ' ' where none such is allowed", id="another character"),
        pytest.param({"size": [3, 4], "counts": "42é"}, "has the character 'é'", id="not ASCII"),
        pytest.param({"size": [3, 4], "counts": "42o"}, "ends within a number", id="cut off"),
        pytest.param({"size": [3, 4], "counts": "o" * 100_000}, "has the character 'o' where none such is allowed", id="an endless number"),
    ],
)
def test_wrong_run_length_codes(rle, message):
    with pytest.raises(InputError, match=message):
        rle_to_mask(rle, (3, 4))


def test_run_lengths_in_a_row():
    assert runs_to_pixels([1, 2, 3], 6).tolist() == [0, 1, 1, 0, 0, 0]


def test_polygons_are_filled_as_by_pycocotools():
    assert np.array_equal(polygons_to_mask([[1, 1, 4, 1, 4, 3, 1, 3]], (4, 6))[1:3, 1:4], np.ones((2, 3)))
    assert polygons_to_mask([[1, 1, 4, 1, 4, 3, 1, 3]], (4, 6)).sum() == 6
    polygons = [[10.5, 3.2, 40.1, 8.9, 22.7, 30.3], [5, 30, 12, 30, 12, 36.5, 5, 36.5], [-3, -3, 4, -3, 4, 5, -3, 5]]
    expected = coco_mask.decode(coco_mask.frPyObjects(polygons, 37, 53)).max(axis=2)
    assert np.array_equal(polygons_to_mask(polygons, (37, 53)), expected)


@pytest.mark.parametrize(
    ("polygons", "message"),
    [
        pytest.param([], "a mask needs a polygon, got none", id="none"),
        pytest.param([[1, 1, 2, 2]], "polygon 1 has 4 values; it must be x and y of three points or more", id="two points"),
        pytest.param([[1, 1, 2, 2, 3, 3], [1] * 7], "polygon 2 has 7 values", id="half a point"),
        pytest.param([[1, 1, 2, 2, 1e9, 1]], "polygon 1 has a point far outside the image, which is 64x48", id="far to the right"),
        pytest.param([[1, 1, 2, 2, 1, -50]], "polygon 1 has a point far outside the image", id="far above"),
        pytest.param([[1, 1, 2, 2, 1, float("nan")]], "polygon 1 has a point far outside the image", id="nan"),
    ],
)
def test_wrong_polygons(polygons, message):
    with pytest.raises(InputError, match=message):
        polygons_to_mask(polygons, (48, 64))


def test_huge_masks_are_refused_before_they_are_made():
    start = time.monotonic()
    for make in (lambda: polygons_to_mask([[0, 0, 1, 0, 1, 1]], (10**6, 10**6)), lambda: rle_to_mask({}, (10**6, 10**6))):
        with pytest.raises(InputError, match="a mask of 1000000x1000000 pixels, more than the 268,435,456 that are allowed"):
            make()
    assert time.monotonic() - start < 1


def png(image: Image.Image, file_format: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, format=file_format)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_png_masks(mode):
    image = Image.new(mode, (4, 3), 0)
    for x, y in ((1, 1), (1, 2), (2, 2)):
        image.putpixel((x, y), 255 if mode in "1L" else 7)
    mask = png_to_mask(png(image))
    assert mask.dtype == np.uint8 and np.array_equal(mask, L)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "not a whole PNG file", id="empty"),
        pytest.param(png(Image.new("L", (4, 3)), "GIF"), "not a whole PNG file", id="a GIF"),
        pytest.param(png(Image.new("L", (64, 64), 3))[:-30], "not a whole PNG file", id="cut off"),
        pytest.param(png(Image.new("RGB", (4, 3))), "a mask must be a PNG with one channel, got RGB", id="colours"),
        pytest.param(png(Image.new("L", (101, 100))), "a mask of 101x100 pixels, more than the 10,000 that are allowed", id="too large"),
    ],
)
def test_wrong_pngs(data, message):
    with pytest.raises(InputError, match=message):
        png_to_mask(data, largest=10_000)


def test_masks_that_do_not_fit_memory_together():
    check_mask_memory(1000, (2000, 2000), where="a.json")
    with pytest.raises(InputError, match=r"a\.json: 2,000 masks of 2000x2000 pixels need 8 GB, more than the 4 that are allowed"):
        check_mask_memory(2000, (2000, 2000), where="a.json")
