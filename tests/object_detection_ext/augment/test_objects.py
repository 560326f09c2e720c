"""What each step does to masks, keypoints, visibilities and scores, draws pinned, against the API's results.

Where the API forgets them, the tests below say what they become here: `random_crop_pad_image` and `random_self_concat_image` leave masks
and keypoints as they were, `random_image_scale` resizes masks along the wrong axes, `random_resize_method` not at all, and vertical flips
and rotations leave visibilities in their old order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.augment.colour import RgbToGray
from object_detection_ext.augment.crop import crop_example
from object_detection_ext.augment.geometric import RandomHorizontalFlip, RandomRotation90, RandomVerticalFlip
from object_detection_ext.augment.labels import ConvertClassLogitsToSoftmax, DropLabel, RemapLabels, ScaleBoxesToPixelCoordinates
from object_detection_ext.augment.mix import RandomSelfConcatImage
from object_detection_ext.augment.objects import per_object
from object_detection_ext.augment.pad import pad_example
from object_detection_ext.augment.scale import RandomDownscaleToTargetPixels, RandomImageScale, RandomResizeMethod, ResizeImage
from object_detection_ext.augment.square import RandomScaleCropAndPadToSquare, crop_to_square
from object_detection_ext.types import Example
from tests.object_detection_ext.augment.examples import FIELDS, full_example, unknown_shapes

SEED = tf.constant([7, 9], tf.int64)


def _crop(begin: list[int], size: list[int], **settings: bool) -> Callable[[Example], Example]:
    window = tf.constant([begin[0] / 48, begin[1] / 64, (begin[0] + size[0]) / 48, (begin[1] + size[1]) / 64])
    clip = settings.pop("clip_boxes", True)
    begin_size = tf.constant(begin), tf.constant(size)
    return lambda example: crop_example(example, *begin_size, window=window, overlap_thresh=0.3, clip_boxes=clip, **settings)


def _pad(shape: list[int], offset: list[int], color: list[float] | None) -> Callable[[Example], Example]:
    def pad(example: Example) -> Example:
        fill = tf.reduce_mean(example.image, [0, 1]) if color is None else tf.constant(color)
        return pad_example(example, tf.constant(shape), offset=tf.constant(offset), color=fill)

    return pad


CASES: dict[str, Callable[[Example], Example]] = {
    "flip_horizontal": lambda e: RandomHorizontalFlip(1.0, (0, 2, 1))(e, SEED),
    "flip_vertical": lambda e: RandomVerticalFlip(1.0, (0, 2, 1))(e, SEED),
    "rotation90": lambda e: RandomRotation90(1.0, (2, 0, 1))(e, SEED),
    "crop": _crop([10, 6], [33, 45]),
    "crop_unclipped": _crop([10, 6], [33, 45], clip_boxes=False),
    "crop_to_aspect_ratio": _crop([0, 12], [48, 34], keep_touching_only=False),
    "pad": _pad([60, 80], [5, 9], [10.0, 20.0, 30.0]),
    "absolute_pad": _pad([50, 70], [1, 3], None),
    "pad_to_aspect_ratio": _pad([60, 90], [0, 0], [0.0, 0.0, 0.0]),
    # a square of 52 about (20, 24), up to the last row and column but one
    "square_crop": lambda e: crop_to_square(e, tf.constant([-6, -2]), tf.constant([46, 50]), 52),
    "scale_and_pad_to_square": lambda e: RandomScaleCropAndPadToSquare(64, 0.5, 0.5)(e, SEED),
    "resize": lambda e: ResizeImage(24, 40)(e, SEED),
    "downscale": lambda e: RandomDownscaleToTargetPixels(0.0, 800, 801)(e, SEED),
    "self_concat": lambda e: RandomSelfConcatImage(1.0, 1.0)(e, SEED),
    "drop_label": lambda e: DropLabel(0, 1.0)(e, SEED),
    "remap_labels": lambda e: RemapLabels((0, 2), 1)(e, SEED),
    "pixel_coordinates": lambda e: ScaleBoxesToPixelCoordinates()(e, SEED),
    "softmax": lambda e: ConvertClassLogitsToSoftmax(2.5)(e, SEED),
    "rgb_to_gray": lambda e: RgbToGray()(e, SEED),
}


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "unknown-shape"])
@pytest.mark.parametrize("name", CASES)
def test_as_in_the_api(golden: Callable[[str], Path], name: str, in_graph: bool) -> None:
    arrays, example = np.load(golden("augment_objects.npz")), full_example(golden)
    step = CASES[name]
    result = tf.function(step).get_concrete_function(unknown_shapes(example))(example) if in_graph else step(example)
    np.testing.assert_allclose(result.image[::4, ::4, : arrays[f"{name}/image"].shape[2]], arrays[f"{name}/image"], rtol=0, atol=2e-4)
    for field, key in FIELDS.items():
        values = np.asarray(getattr(result, field))
        if f"{name}/{key}" in arrays:
            offset = 1 if field == "classes" else 0
            np.testing.assert_allclose(values + offset, arrays[f"{name}/{key}"], rtol=0, atol=1e-6, err_msg=field)
    assert {len(values) for values in per_object(result).values()} == {len(result.boxes)}
    assert result.masks.shape[1:] == result.image.shape[:2]


def test_visibilities_stay_with_their_points(golden: Callable[[str], Path]) -> None:
    example = full_example(golden)
    points = tf.constant([[[0.1, 0.2], [0.3, 0.4], [float("nan")] * 2]] * 5)
    example = example._replace(keypoints=points, keypoint_visibilities=tf.constant([[True, False, False]] * 5))
    for step in (RandomVerticalFlip(1.0, (2, 1, 0)), RandomRotation90(1.0, (2, 1, 0))):
        result = step(example, SEED)
        np.testing.assert_array_equal(np.isnan(result.keypoints[0, :, 0]), [True, False, False])
        np.testing.assert_array_equal(result.keypoint_visibilities[0], [False, False, True])
    for step in (RandomHorizontalFlip(1.0), RandomVerticalFlip(1.0)):  # without a permutation nothing changes places
        np.testing.assert_array_equal(step(example, SEED).keypoint_visibilities[0], [True, False, False])


def test_points_on_the_edge_of_a_crop_stay_and_those_outside_are_unlabelled(golden: Callable[[str], Path]) -> None:
    example = full_example(golden)
    points = tf.constant([[[0.5, 0.25], [0.49, 0.25], [0.75, 1.0]]] * 5)
    everything = tf.tile(tf.constant([[0.0, 0.0, 1.0, 1.0]]), [5, 1])
    example = example._replace(boxes=everything, keypoints=points, keypoint_visibilities=tf.fill([5, 3], True))
    result = _crop([24, 16], [24, 48])(example)  # from (0.5, 0.25) to (1, 1)
    np.testing.assert_allclose(result.keypoints[0], [[0.0, 0.0], [np.nan] * 2, [0.5, 1.0]])
    np.testing.assert_array_equal(result.keypoint_visibilities[0], [True, False, True])


def test_self_concat_gives_each_copy_its_own_masks_and_points(golden: Callable[[str], Path]) -> None:
    example = full_example(golden)
    result = RandomSelfConcatImage(0.0, 1.0)(example, SEED)
    np.testing.assert_array_equal(result.masks[:5, :, :64], example.masks)
    np.testing.assert_array_equal(result.masks[5:, :, 64:], example.masks)
    assert not result.masks[:5, :, 64:].numpy().any() and not result.masks[5:, :, :64].numpy().any()
    np.testing.assert_allclose(result.keypoints[:5], example.keypoints * [1.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(result.keypoints[5:], example.keypoints * [1.0, 0.5] + [0.0, 0.5], atol=1e-6)
    np.testing.assert_array_equal(result.keypoint_visibilities[5:], example.keypoint_visibilities)


@pytest.mark.parametrize("step", [RandomImageScale(0.5, 0.5), RandomResizeMethod(24, 32)], ids=["image_scale", "resize_method"])
def test_masks_are_resized_with_the_image(golden: Callable[[str], Path], step: Callable[[Example, tf.Tensor], Example]) -> None:
    example = full_example(golden)
    left = tf.concat([tf.ones([5, 48, 32], tf.uint8), tf.zeros([5, 48, 32], tf.uint8)], axis=2)
    result = step(example._replace(masks=left), SEED)
    assert result.image.shape == (24, 32, 3)
    np.testing.assert_array_equal(result.masks, left[:, ::2, ::2])


def test_examples_without_objects_and_without_extras(golden: Callable[[str], Path]) -> None:
    full = full_example(golden)
    empty = full._replace(**{name: values[:0] for name, values in per_object(full).items()})
    plain = full._replace(masks=None, keypoints=None, keypoint_visibilities=None, multiclass_scores=None)
    for name, step in CASES.items():
        assert len(step(empty).boxes) == 0, name
        result = step(plain)
        assert result.masks is result.keypoints is result.keypoint_visibilities is result.multiclass_scores is None, name
        np.testing.assert_array_equal(result.boxes, step(full).boxes, err_msg=name)


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        ConvertClassLogitsToSoftmax(0.0)
