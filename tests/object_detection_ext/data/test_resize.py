"""Resizers against the API's own results, and the frame of the boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.data.resize import (
    ConditionalShapeResizer,
    FixedShapeResizer,
    IdentityResizer,
    ImageResizer,
    KeepAspectRatioResizer,
    PadToMultipleResizer,
    boxes_to_padded,
    resize,
)

GOLDEN: dict[str, ImageResizer] = {
    "fixed64": FixedShapeResizer(64, 64),
    "fixed_up": FixedShapeResizer(200, 160),
    "fixed_bicubic": FixedShapeResizer(64, 64, method="bicubic"),
    "fixed_area": FixedShapeResizer(64, 64, method="area"),
    "fixed_nearest": FixedShapeResizer(64, 64, method="nearest_neighbor"),
    "fixed_gray": FixedShapeResizer(64, 64, convert_to_grayscale=True),
    "keep": KeepAspectRatioResizer(60, 70),
    "keep_pad": KeepAspectRatioResizer(60, 100, pad_to_max_dimension=True, per_channel_pad_value=(10.0, 20.0, 30.0)),
    "pad_mult": PadToMultipleResizer(32),
    "cond": ConditionalShapeResizer(80),
}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("unknown_shape", [False, True], ids=["eager", "unknown-shape"])
def test_equals_the_api(golden: Callable[[str], Path], name: str, unknown_shape: bool) -> None:
    arrays = np.load(golden("resizers.npz"))
    resizer = GOLDEN[name]
    call = tf.function(resizer.__call__, input_signature=[tf.TensorSpec([None, None, 3])]) if unknown_shape else resizer
    image, true_shape = call(tf.constant(arrays["image"]))
    np.testing.assert_allclose(image, arrays[f"{name}/image"], rtol=0, atol=5e-5)  # float32 rounding of values up to 255
    np.testing.assert_array_equal(true_shape, arrays[f"{name}/true_shape"][:2])
    if resizer.output_shape is not None:
        assert image.shape == (*resizer.output_shape, resizer.num_channels)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_batch_is_its_images(golden: Callable[[str], Path], name: str) -> None:
    image = np.load(golden("resizers.npz"))["image"]
    batch = np.stack([image, image[::-1]])
    resized, true_shape = GOLDEN[name](tf.constant(batch))
    for index in range(2):
        single, single_shape = GOLDEN[name](tf.constant(batch[index]))
        np.testing.assert_array_equal(resized[index], single)
        np.testing.assert_array_equal(true_shape, single_shape)


def test_uint8_and_float_give_the_same() -> None:
    image = np.random.default_rng(0).integers(0, 256, [37, 53, 3], np.uint8)
    for method in ("bilinear", "bicubic", "area", "nearest_neighbor"):
        np.testing.assert_array_equal(resize(image, (20, 31), method=method), resize(image.astype(np.float32), (20, 31), method=method))


def test_bilinear_samples_from_the_top_left_corner() -> None:
    """TF 1: output x reads input x * 3 / 6 = 0, 0.5, 1, ...; half-pixel centres would give 0 at the first two pixels' mean."""
    row = resize(tf.constant([[[0.0], [10.0], [20.0]]]), (1, 6))
    np.testing.assert_array_equal(row[0, :, 0], [0, 5, 10, 15, 20, 20])


def test_portrait_keeps_the_longer_side_within_the_limit() -> None:
    _, true_shape = KeepAspectRatioResizer(50, 60)(tf.zeros([100, 40, 3]))
    np.testing.assert_array_equal(true_shape, [60, 24])  # scale 0.6 from the longer side


def test_boxes_move_into_the_padded_frame() -> None:
    boxes = tf.constant([[0.0, 0.5, 1.0, 1.0]])
    moved = boxes_to_padded(boxes, tf.constant([60, 80]), tf.constant([100, 100]))
    np.testing.assert_allclose(moved, [[0.0, 0.4, 0.6, 0.8]], atol=1e-7)
    np.testing.assert_array_equal(boxes_to_padded(boxes, tf.constant([60, 80]), tf.constant([60, 80])), boxes)


def test_identity_leaves_uint8_values() -> None:
    image, true_shape = IdentityResizer()(tf.constant([[[1, 2, 3], [4, 5, 255]]], tf.uint8))
    np.testing.assert_array_equal(image, [[[1, 2, 3], [4, 5, 255]]])
    np.testing.assert_array_equal(true_shape, [1, 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedShapeResizer(0, 10), "height must be >= 1, got 0"),
        (lambda: KeepAspectRatioResizer(20, 10), "min_dimension must be <= max_dimension, got 20 > 10"),
        (lambda: KeepAspectRatioResizer(per_channel_pad_value=(1.0,)), "per_channel_pad_value must have 3 values, got 1"),
        (lambda: PadToMultipleResizer(0), "multiple must be >= 1, got 0"),
    ],
    ids=["no-height", "min-above-max", "pad-channels", "no-multiple"],
)
def test_refuses(make: Callable[[], ImageResizer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
