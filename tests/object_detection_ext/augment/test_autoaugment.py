"""AutoAugment: each operation against the API's with its argument pinned, and the policies. Their statistics are in test_statistics.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.augment import enhance
from object_detection_ext.augment.autoaugment import AutoAugmentImage, apply_operation
from object_detection_ext.augment.box_contents import change_box_contents, cut_out_in_box
from object_detection_ext.augment.objects import per_object
from object_detection_ext.augment.policies import POLICIES, Operation
from object_detection_ext.augment.warp import GREY, Affine, rotation, shear, translation, warp_example, warp_image
from object_detection_ext.types import Example
from tests.object_detection_ext.augment.examples import full_example, plain_example, unknown_shapes

SEED = tf.constant([7, 9], tf.int64)


def _small(golden: Callable[[str], Path]) -> Example:
    """[24, 32, 3] uint8."""
    example = plain_example(golden)
    return example._replace(image=tf.cast(example.image[::2, ::2], tf.uint8))


RECOLOR: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "AutoContrast": lambda image: enhance.autocontrast(image // 2 + 30),
    "Equalize": lambda image: enhance.equalize(image // 2 + 30),
    "EqualizeFlat": lambda image: enhance.equalize(image // 255 * 9),
    "Posterize": lambda image: enhance.posterize(image, 2),
    "Posterize0": lambda image: enhance.posterize(image, 0),
    "Solarize": lambda image: enhance.solarize(image, 204),
    "SolarizeAdd": lambda image: enhance.solarize_add(image, 88),
    "Color0.1": lambda image: enhance.color(image, 0.1),
    "Color1.18": lambda image: enhance.color(image, 1.18),
    "Color1.9": lambda image: enhance.color(image, 1.9),
    "Contrast0.1": lambda image: enhance.contrast(image, 0.1),
    "Contrast1.9": lambda image: enhance.contrast(image, 1.9),
    "Brightness0.46": lambda image: enhance.brightness(image, 0.46),
    "Brightness1.9": lambda image: enhance.brightness(image, 1.9),
    "Sharpness0.46": lambda image: enhance.sharpness(image, 0.46),
    "Sharpness1.54": lambda image: enhance.sharpness(image, 1.54),
}
MOVES = {
    "TranslateX8": translation(tf.constant([0.0, -8.0])),
    "TranslateY-20": translation(tf.constant([20.0, 0.0])),
    "ShearX0.3": shear(tf.constant(0.3), axis=1),
    "ShearY-0.12": shear(tf.constant(-0.12), axis=0),
    "ShearX0.0": shear(tf.constant(0.0), axis=1),
    "Rotate30": rotation(tf.constant(30.0)),
    "Rotate-24": rotation(tf.constant(-24.0)),
}
ELSEWHERE = {"TranslateY3_Only_BBox0", "TranslateY3_Only_BBox1", "Cutout"}


def test_no_golden_operation_is_forgotten(golden: Callable[[str], Path]) -> None:
    names = {name.split("/")[1] for name in np.load(golden("augment_objects.npz")).files if name.startswith("autoaugment/")}
    assert names == {*RECOLOR, *MOVES, *ELSEWHERE}


@pytest.mark.parametrize("name", RECOLOR)
def test_colours(golden: Callable[[str], Path], name: str) -> None:
    expected = np.load(golden("augment_objects.npz"))[f"autoaugment/{name}/image"]
    result = RECOLOR[name](_small(golden).image)
    assert result.dtype == tf.uint8
    # The API sums thirteenths, and is one too low where rounding leaves it just below a whole number.
    np.testing.assert_allclose(tf.cast(result, tf.int32), expected, rtol=0, atol=1 if name.startswith("Sharpness") else 0)


@pytest.mark.parametrize("name", MOVES)
def test_moves(golden: Callable[[str], Path], name: str) -> None:
    arrays = np.load(golden("augment_objects.npz"))
    result = warp_example(_small(golden), MOVES[name])
    np.testing.assert_array_equal(result.image, arrays[f"autoaugment/{name}/image"])
    np.testing.assert_allclose(result.boxes, arrays[f"autoaugment/{name}/boxes"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
def test_moves_inside_a_box(golden: Callable[[str], Path], index: int) -> None:
    expected = np.load(golden("augment_objects.npz"))[f"autoaugment/TranslateY3_Only_BBox{index}/image"]
    example = _small(golden)
    move = translation(tf.constant([-3.0, 0.0]))
    one_box = example._replace(boxes=example.boxes[index : index + 1])
    result = change_box_contents(one_box, SEED, probability=3.0, change=lambda content, _: warp_image(content, move))
    np.testing.assert_array_equal(result.image, expected)


def test_cutout_is_a_grey_square(golden: Callable[[str], Path]) -> None:
    """About (10, 25) in the API's case: rows 2 to 17, columns 17 to 31, as the image is 32 wide."""
    expected = np.load(golden("augment_objects.npz"))["autoaugment/Cutout/image"]
    changed = (expected != _small(golden).image.numpy()).any(-1)
    assert changed[2:18, 17:].all() and changed.sum() == 16 * 15
    example = _small(golden)._replace(image=tf.zeros([60, 80, 3], tf.uint8))
    for seed in range(20):
        image = apply_operation(Operation("Cutout", 1.0, 2), example, tf.constant([1, seed], tf.int64)).image.numpy()
        rows, columns = np.flatnonzero(image.any((1, 2))), np.flatnonzero(image.any((0, 2)))
        assert (image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == GREY).all()
        assert image.any(-1).sum() == len(rows) * len(columns)
        assert len(rows) == 40 or rows[0] == 0 or rows[-1] == 59
        assert len(columns) == 40 or columns[0] == 0 or columns[-1] == 79


def test_masks_and_keypoints_move_with_the_pixels() -> None:
    """One bright pixel at row 4, column 6 of 12 x 12: its mask, and a keypoint in its middle, stay on it."""
    pixel = tf.one_hot(4 * 12 + 6, 144, dtype=tf.uint8)
    example = Example(
        image=tf.repeat(tf.reshape(pixel * 250, [12, 12, 1]), 3, axis=-1),
        boxes=tf.constant([[4 / 12, 6 / 12, 5 / 12, 7 / 12]]),
        classes=tf.zeros([1], tf.int32),
        weights=tf.ones([1]),
        is_crowd=tf.zeros([1], tf.bool),
        difficult=tf.zeros([1], tf.bool),
        area=tf.ones([1]),
        original_shape=tf.constant([12, 12]),
        source_id=tf.constant(""),
        masks=tf.reshape(pixel, [1, 12, 12]),
        keypoints=tf.constant([[[4.5 / 12, 6.5 / 12]]]),
        keypoint_visibilities=tf.constant([[True]]),
    )
    cases: list[tuple[Affine, tuple[int, int] | None]] = [
        (translation(tf.constant([3.0, -2.0])), (7, 4)),
        (shear(tf.constant(-0.5), axis=1), (4, 8)),
        (shear(tf.constant(0.5), axis=0), (1, 6)),
        (rotation(tf.constant(90.0)), (5, 4)),  # counter-clockwise: (row, column) -> (11 - column, row)
        (translation(tf.constant([-5.0, 0.0])), None),
    ]
    for affine, place in cases:
        result = warp_example(example, affine)
        assert np.argwhere(result.image[..., 0] == 250).tolist() == ([] if place is None else [list(place)])
        assert np.argwhere(result.masks[0]).tolist() == ([] if place is None else [list(place)])
        assert bool(result.keypoint_visibilities[0, 0]) == (place is not None)
        expected = [np.nan] * 2 if place is None else np.add(place, 0.5) / 12
        np.testing.assert_allclose(result.keypoints[0, 0], expected, atol=1e-6)


def test_a_box_that_leaves_the_image_stays_at_its_edge(golden: Callable[[str], Path]) -> None:
    example = _small(golden)._replace(boxes=tf.constant([[0.25, 0.0, 0.5, 0.25], [0.0, 0.75, 1.0, 1.0]]))
    result = warp_example(example, translation(tf.constant([0.0, -8.0])))  # 8 of 32 pixels to the left
    np.testing.assert_allclose(result.boxes, [[0.25, 0.0, 0.5, 0.05], [0.0, 0.5, 1.0, 0.75]], atol=1e-6)


def test_only_the_pixels_of_boxes_change(golden: Callable[[str], Path]) -> None:
    """Each box with a third of the probability: 1,000 boxes of one pixel each."""
    places = np.argwhere(np.ones([25, 40])) * 2
    corners = np.concatenate([places, places], axis=1) / np.tile([50, 80], 2)
    example = _small(golden)._replace(image=tf.zeros([50, 80, 3], tf.uint8), boxes=tf.constant(corners, tf.float32) + 1e-4)
    change = tf.function(lambda: change_box_contents(example, SEED, probability=0.6, change=lambda content, _: content + 1).image)
    image = change().numpy()[..., 0].astype(int)
    assert not image[1::2].any() and not image[:, 1::2].any() and image.max() == 1
    assert image.sum() == pytest.approx(200, abs=4 * np.sqrt(1000 * 0.2 * 0.8))


def test_cutout_in_a_box_starts_inside_of_it(golden: Callable[[str], Path]) -> None:
    boxes = tf.constant([[0.0, 0.0, 0.49, 0.49]])
    example = _small(golden)._replace(image=tf.zeros([40, 80, 3], tf.uint8), boxes=boxes)  # 20 x 40 pixels
    images = [cut_out_in_box(example, tf.constant([1, i], tf.int64), share=0.3, value=9).image.numpy()[..., 0] for i in range(30)]
    rows, columns = np.array([[np.ptp(np.flatnonzero(image.any(axis))) + 1 for axis in (1, 0)] for image in images]).T
    assert rows.max() == 6 and columns.max() == 12  # 0.3 of the box
    assert not any(image[23:].any() or image[:, 46:].any() for image in images)
    without = example._replace(boxes=boxes[:0])
    np.testing.assert_array_equal(cut_out_in_box(without, SEED, share=0.3, value=9).image, without.image)


def test_a_policy_runs_in_a_graph_with_and_without_boxes(golden: Callable[[str], Path]) -> None:
    full = full_example(golden)
    step = tf.function(AutoAugmentImage("v0").__call__).get_concrete_function(unknown_shapes(full), tf.TensorSpec([2], tf.int64))
    for count in (5, 0):
        example = full._replace(**{field: values[:count] for field, values in per_object(full).items()})
        for seed in range(10):
            result = step(example, tf.constant([3, seed], tf.int64))
            assert result.image.dtype == tf.float32 and result.image.shape == (48, 64, 3)
            assert result.boxes.shape == (count, 4) and result.masks.shape == (count, 48, 64)
            assert np.all((result.boxes >= 0.0) & (result.boxes <= 1.0)) and np.all(result.boxes[:, :2] < result.boxes[:, 2:])


def test_policies_are_those_that_were_published() -> None:
    """Numbers of sub-policies and operations; the paper's policy has its five best sub-policies with two operations each."""
    counts = {name: [len(sub_policy) for sub_policy in policy] for name, policy in POLICIES.items()}
    assert counts == {"v0": [2] * 5, "v1": [2] * 20, "v2": [3, 3, 2, *[3] * 12], "v3": [2] * 15, "test": [2]}
    operations = [operation for policy in POLICIES.values() for sub_policy in policy for operation in sub_policy]
    assert all(0.0 <= operation.probability <= 1.0 and 0 <= operation.magnitude <= 10 for operation in operations)
    assert len({operation.name for operation in operations}) == 22
    assert POLICIES["v1"][:5] == POLICIES["v0"]


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="policy_name must be one of v0, v1, v2, v3, test, got 'v4'"):
        AutoAugmentImage("v4")
