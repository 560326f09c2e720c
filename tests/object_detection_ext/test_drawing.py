"""What a picture must show, checked on its pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from object_detection_ext.drawing import class_color, draw_boxes, picture_grid, side_by_side

NAMES = {1: "cat", 2: "a very long class name that does not fit into any picture of a phone"}


def blank(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def changed(picture: np.ndarray) -> np.ndarray:
    return (picture != 128).any(axis=-1)


def test_outline_lies_on_the_box_and_the_input_stays() -> None:
    image = blank()
    picture = draw_boxes(image, np.array([[50, 60, 150, 260]]), class_ids=[1], names=NAMES)
    assert (image == 128).all()
    assert picture.shape == image.shape
    assert picture.dtype == np.uint8
    for y, x in ((50, 100), (149, 100), (100, 60), (100, 259)):
        assert tuple(picture[y, x]) == class_color(1)
    assert not changed(picture)[60:140, 70:250].any()  # nothing inside
    assert not changed(picture)[151:].any()  # nothing below


def test_without_boxes_nothing_changes() -> None:
    assert not changed(draw_boxes(blank(), np.zeros((0, 4)), class_ids=[], names=NAMES, scores=[])).any()


@pytest.mark.parametrize(
    "box",
    [(10, 10, 10, 50), (50, 10, 20, 50), (-50, -50, -1, -1), (300, 10, 400, 50), (float("nan"), 0, 10, 10), (0, 0, float("inf"), 10)],
    ids=["empty", "inverted", "left of the image", "below the image", "nan", "infinite"],
)
def test_boxes_that_cannot_be_seen_are_left_out(box: tuple[float, ...]) -> None:
    assert not changed(draw_boxes(blank(), np.array([box]), class_ids=[1], names=NAMES)).any()


def test_a_box_beyond_the_image_is_cut_at_its_edge() -> None:
    picture = draw_boxes(blank(), np.array([[50, 60, 900, 900]]), class_ids=[1], names=NAMES)
    assert tuple(picture[199, 100]) == tuple(picture[100, 299]) == class_color(1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 200), (96, 64), (200, 300), (1500, 3000)])
@pytest.mark.parametrize("class_id", [1, 2, 7], ids=["short name", "long name", "no name"])
def test_text_fits_any_size(height: int, width: int, class_id: int) -> None:
    corners = np.array([[0, 0, height, width], [0.7 * height, 0.8 * width, height, width], [0, 0, 0.1, 0.1]])
    picture = draw_boxes(blank(height, width), corners, class_ids=[class_id] * 3, names=NAMES, scores=[0.9, 0.8, 1.0])
    assert changed(picture).any()


def test_a_long_name_is_shortened_not_cut() -> None:
    picture = draw_boxes(blank(100, 120), np.array([[40, 40, 90, 110]]), class_ids=[2], names=NAMES)
    plate = (picture == class_color(2)).all(axis=-1)[:40]
    ink = changed(picture)[:40] & ~plate
    assert ink.any()
    assert not ink[:, 0].any()
    assert not ink[:, -1].any()
    rows = np.flatnonzero(plate.sum(axis=1) > 20)
    assert rows[-1] - rows[0] >= 12  # text of ten pixels and its margin


def test_scores_choose_and_the_best_is_on_top() -> None:
    box = [50, 60, 150, 260]
    picture = draw_boxes(
        blank(), np.array([box, box, [160, 10, 190, 50]]), class_ids=[1, 2, 1], names={}, scores=[0.9, 0.6, 0.3], min_score=0.5
    )
    assert tuple(picture[149, 100]) == class_color(1)
    assert not changed(picture)[155:].any()
    picture = draw_boxes(blank(), np.array([box, box]), class_ids=[1, 2], names={}, scores=[0.6, 0.9], max_boxes=1)
    assert tuple(picture[149, 100]) == class_color(2)


def test_colours_of_neighbours_differ() -> None:
    colors = np.array([class_color(class_id) for class_id in range(1, 91)], float)
    assert len({tuple(color) for color in colors}) == 90
    assert np.abs(np.diff(colors, axis=0)).max(axis=1).min() > 60


def test_side_by_side_is_twice_as_wide() -> None:
    left, right = blank(), blank() + np.uint8(1)
    both = side_by_side(left, right)
    assert both.shape == (200, 600, 3)
    np.testing.assert_array_equal(both[:, 300:], right)


@pytest.mark.parametrize(
    ("image", "boxes", "class_ids", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((0, 4)), [], r"must be \[height, width, 3\] uint8, got \[4, 4\] uint8"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((0, 4)), [], "float32"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4)), [1], "of one length, got 2, 1 and 2"),
    ],
    ids=["grey", "float", "lengths"],
)
def test_wrong_input(image: np.ndarray, boxes: np.ndarray, class_ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_boxes(image, boxes, class_ids=class_ids, names=NAMES)


def test_grid_places_pictures_of_all_sizes() -> None:
    red, wide, tall = (np.zeros((height, width, 3), np.uint8) for height, width in ((50, 50), (100, 400), (300, 100)))
    red[..., 0] = 255
    grid = picture_grid([red, wide, tall], 2, cell_size=100, gap=10)
    assert grid.shape == (10 + 100 + 10 + 100 + 10, 10 + 100 + 10 + 100 + 10, 3)
    assert tuple(grid[60, 60]) == (255, 0, 0)  # scaled up to its cell
    assert tuple(grid[60, 170]) == (0, 0, 0)  # 25 pixels high, in the middle of the row
    assert tuple(grid[20, 170]) == (255, 255, 255)
    assert tuple(grid[170, 60]) == (0, 0, 0)
    assert tuple(grid[170, 15]) == (255, 255, 255)  # 33 pixels wide, in the middle of the cell
    assert tuple(grid[170, 170]) == (255, 255, 255)  # no fourth picture


def test_grid_of_one_row_is_as_wide_as_its_pictures() -> None:
    assert picture_grid([blank(100, 100)], 4, cell_size=100, gap=0).shape == (100, 100, 3)


def test_grid_needs_a_picture() -> None:
    with pytest.raises(ValueError, match="at least one, got 0"):
        picture_grid([], 3)


def test_needs_no_tensorflow() -> None:
    code = "import sys, object_detection_ext.drawing; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
