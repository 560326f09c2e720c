from __future__ import annotations

import math

import numpy as np
import pytest

from data_tools import shapes
from data_tools.annotated_image import PixelBox
from data_tools.shapes import CLASSES, ShapesGenerator


@pytest.fixture(scope="module")
def drawn():
    return [ShapesGenerator(seed=1)(index) for index in range(60)]


def test_images_are_a_function_of_seed_and_index(drawn):
    again = ShapesGenerator(seed=1)(7)
    np.testing.assert_array_equal(again.pixels, drawn[7].pixels)
    assert again.objects == drawn[7].objects
    assert ShapesGenerator(seed=2)(7).objects != drawn[7].objects
    assert len({image.pixels.tobytes() for image in drawn}) == len(drawn)


def test_what_the_set_holds(drawn):
    counts = [len(image.objects) for image in drawn]
    objects = [item for image in drawn for item in image.objects]
    assert {image.pixels.shape for image in drawn} == {(320, 320, 3)}
    assert (min(counts), max(counts)) == (1, 8)
    assert {item.class_text for item in objects} == set(CLASSES)
    for item in objects:
        y_min, x_min, y_max, x_max = item.box
        assert 0 <= y_min < y_max <= 320
        assert 0 <= x_min < x_max <= 320
        assert 0.6 <= item.visible_fraction <= 1
        if item.visible_fraction == 1:
            assert 31 <= max(y_max - y_min, x_max - x_min) <= 0.45 * 320 + 1
    assert 0.1 < np.mean([item.visible_fraction < 0.95 for item in objects]) < 0.5  # objects do cover each other


@pytest.mark.parametrize(
    ("class_text", "fill_of_box"),
    [
        pytest.param("circle", math.pi / 4, id="an ellipse fills pi/4 of a box along its axes"),
        pytest.param("square", 1.0, id="a rectangle fills its box"),
        pytest.param("triangle", 0.5, id="a triangle fills half of the box on its base"),
    ],
)
def test_each_class_has_its_shape(class_text, fill_of_box):
    """Turned so that a side or axis is level; the angle is the only draw between 0 and 2 pi in the outline."""

    class Level(np.random.Generator):
        def uniform(self, low=0.0, high=1.0, size=None):
            turn = math.pi / 2 if class_text == "triangle" else 0.0
            return turn if high == 2 * math.pi else super().uniform(low, high, size)

    alpha = shapes._draw_shape(Level(np.random.PCG64(3)), class_text, 100.0).alpha
    assert max(alpha.shape) == 100
    assert np.mean(alpha) == pytest.approx(fill_of_box, abs=0.03)


def test_boxes_are_tight(monkeypatch):
    """On a black ground without grain and shadow, the box is the extent of what differs from black."""
    monkeypatch.setattr(shapes, "_draw_background", lambda rng, size: np.zeros((size, size, 3), np.float32))
    generator = ShapesGenerator(seed=5, max_objects=1)
    for index in range(20):
        image = generator(index)
        (item,) = image.objects
        bright = image.pixels.max(axis=2) > 0.5 * image.pixels.max()
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        extent = PixelBox(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        rim = 0.09 * max(item.box.y_max - item.box.y_min, item.box.x_max - item.box.x_min) + 2  # darker than half
        for edge, expected in zip(item.box, extent, strict=True):
            assert abs(edge - expected) <= rim
        outside = np.ones_like(bright)
        outside[int(item.box.y_min) - 1 : int(item.box.y_max) + 1, int(item.box.x_min) - 1 : int(item.box.x_max) + 1] = False
        assert not bright[outside].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"image_size": 31}, "image_size must be at least 32 pixels, got 31"), ({"min_size": 0.5}, "sizes must satisfy .*got 0.5 and 0.45")],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ShapesGenerator(seed=1, **settings)
