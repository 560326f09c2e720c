"""What a picture must show, checked on its pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from object_detection_ext.drawing import BoxLabel, class_color, draw_boxes, draw_side_by_side, picture_grid

LONG = "a very long class name that does not fit into any picture of a phone"


def blank(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def changed(picture: np.ndarray) -> np.ndarray:
    return (picture != 128).any(axis=-1)


def mark(*pixels: float, label: str = "cat", score: float | None = None, class_id: int | None = 1) -> BoxLabel:
    """A box in pixels of `blank()`."""
    return BoxLabel(np.array(pixels) / [200, 300, 200, 300], label, score, class_id)


def test_outline_lies_on_the_box_and_the_input_stays() -> None:
    image = blank()
    picture = draw_boxes(image, [mark(50, 60, 150, 260)])
    assert (image == 128).all()
    assert picture.shape == image.shape
    assert picture.dtype == np.uint8
    for y, x in ((50, 100), (149, 100), (100, 60), (100, 259)):
        assert tuple(picture[y, x]) == class_color(1)
    assert not changed(picture)[60:140, 70:250].any()  # nothing inside
    assert not changed(picture)[151:].any()  # nothing below


def test_without_boxes_nothing_changes() -> None:
    assert not changed(draw_boxes(blank(), [])).any()


@pytest.mark.parametrize(
    "box",
    [(10, 10, 10, 50), (50, 10, 20, 50), (-50, -50, -1, -1), (300, 10, 400, 50), (float("nan"), 0, 10, 10), (0, 0, float("inf"), 10)],
    ids=["empty", "inverted", "left of the image", "below the image", "nan", "infinite"],
)
def test_boxes_that_cannot_be_seen_are_left_out(box: tuple[float, ...]) -> None:
    assert not changed(draw_boxes(blank(), [mark(*box)])).any()


def test_a_nan_score_is_left_out() -> None:
    assert not changed(draw_boxes(blank(), [mark(50, 60, 150, 260, score=float("nan"))])).any()


def test_a_box_beyond_the_image_is_cut_at_its_edge() -> None:
    picture = draw_boxes(blank(), [mark(50, 60, 900, 900)])
    assert tuple(picture[199, 100]) == tuple(picture[100, 299]) == class_color(1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 200), (96, 64), (200, 300), (1500, 3000)])
@pytest.mark.parametrize("label", ["cat", LONG, ""], ids=["short name", "long name", "no name"])
def test_text_fits_any_size(height: int, width: int, label: str) -> None:
    boxes = [BoxLabel(box, label, 0.9) for box in ([0, 0, 1, 1], [0.7, 0.8, 1, 1], [0, 0, 0.001, 0.001])]
    assert changed(draw_boxes(blank(height, width), boxes)).any()


def test_a_long_name_is_shortened_not_cut() -> None:
    picture = draw_boxes(blank(100, 120), [BoxLabel([0.4, 0.33, 0.9, 0.92], LONG, class_id=2)])
    plate = (picture == class_color(2)).all(axis=-1)[:40]
    ink = changed(picture)[:40] & ~plate
    assert ink.any()
    assert not ink[:, 0].any()
    assert not ink[:, -1].any()
    rows = np.flatnonzero(plate.sum(axis=1) > 20)
    assert rows[-1] - rows[0] >= 12  # text of ten pixels and its margin


def test_scores_choose_and_the_best_is_on_top() -> None:
    box = (50, 60, 150, 260)
    picture = draw_boxes(
        blank(), [mark(*box, score=0.9), mark(*box, score=0.6, class_id=2), mark(160, 10, 190, 50, score=0.3)], min_score=0.5
    )
    assert tuple(picture[149, 100]) == class_color(1)
    assert not changed(picture)[155:].any()
    picture = draw_boxes(blank(), [mark(*box, score=0.6), mark(*box, score=0.9, class_id=2)], max_boxes=1)
    assert tuple(picture[149, 100]) == class_color(2)


def test_without_class_id_the_label_chooses_the_colour() -> None:
    cat, same, dog = (
        draw_boxes(blank(), [mark(50, 60, 150, 260, label=label, class_id=None)])[149, 100] for label in ("cat", "cat", "dog")
    )
    assert tuple(cat) == tuple(same) != tuple(dog)


def test_colours_of_neighbours_differ() -> None:
    colors = np.array([class_color(class_id) for class_id in range(1, 91)], float)
    assert len({tuple(color) for color in colors}) == 90
    assert np.abs(np.diff(colors, axis=0)).max(axis=1).min() > 60


def test_side_by_side_is_twice_as_wide() -> None:
    boxes = [mark(50, 60, 150, 260, score=0.9), mark(160, 10, 190, 50, score=0.2)]
    both = draw_side_by_side(blank(), boxes, [mark(50, 60, 150, 260), mark(160, 10, 190, 50)], min_score=0.5)
    assert both.shape == (200, 600, 3)
    assert not changed(both)[155:, :300].any()
    assert changed(both)[155:, 300:].any()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"must be \[height, width, 3\] uint8, got \[4, 4\] uint8"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((0, 4, 3), np.uint8), r"got \[0, 4, 3\]"),
    ],
    ids=["grey", "float", "empty"],
)
def test_wrong_image(image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_boxes(image, [])


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
