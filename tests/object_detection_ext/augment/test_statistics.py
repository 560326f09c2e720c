"""Random steps draw like the API's: means and spreads over 1,000 seeds against those of 3,000 draws of the API on the same image.

For crops also what they accept: how often each box is kept, and how often the image keeps its size.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_ext.builders.preprocessor import build_augmentation
from object_detection_ext.protos import preprocessor_pb2
from object_detection_ext.types import Example
from tests.object_detection_ext.augment.examples import plain_example

NUM_DRAWS = 1000
STEPS = [
    "ssd_random_crop", "ssd_random_crop_two", "ssd_random_crop_fixed_aspect_ratio",
    "ssd_random_crop_pad_fixed_aspect_ratio", "random_crop_image", "random_crop_pad_image", "random_crop_to_aspect_ratio",
    "random_square_crop_by_scale", "random_scale_crop_and_pad_to_square", "random_pad_image", "random_pad_image_sized",
    "random_absolute_pad_image", "random_jitter_boxes", "random_jitter_boxes_expand", "random_jitter_boxes_shrink_symmetric",
    "random_jitter_boxes_expand_symmetric_xy", "random_self_concat_image", "random_horizontal_flip", "random_image_scale",
    "random_downscale_to_target_pixels", "random_resize_method", "random_black_patches", "random_patch_gaussian", "random_jpeg_quality",
    "random_pixel_value_scale", "random_rgb_to_gray", "random_adjust_brightness", "random_adjust_contrast", "random_adjust_hue",
    "random_adjust_saturation", "random_distort_color_0", "random_distort_color_1", "drop_label_probabilistically",
    "ssd_random_crop_pad", "autoaugment_v0", "autoaugment_v3",
]  # fmt: skip


def _numbers(example: Example) -> tf.Tensor:
    """The 13 numbers that `augment_statistics.json` names, five of 1 or 0 for the boxes that are there, one for an unchanged size; [19]."""
    image, boxes = tf.cast(example.image, tf.float32), example.boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    values = [
        size,
        tf.cast(tf.shape(boxes)[:1], tf.float32),
        tf.reduce_sum(boxes, axis=0),
        tf.reduce_sum(sides[:, 0] * sides[:, 1], keepdims=True),
        tf.cast(tf.reduce_sum(example.classes + 1, keepdims=True), tf.float32),
        tf.reduce_mean(image, axis=[0, 1]),
        tf.reshape(tf.math.reduce_std(image), [1]),
        tf.cast(tf.reduce_any(example.weights[:, tf.newaxis] == [1.0, 2.0, 3.0, 4.0, 5.0], axis=0), tf.float32),
        tf.cast(tf.reduce_all(size == [48.0, 64.0], keepdims=True), tf.float32),
    ]
    return tf.concat(values, axis=0)


@pytest.mark.parametrize("name", STEPS)
def test_draws_like_the_api(golden: Callable[[str], Path], name: str) -> None:
    reference = json.loads(golden("augment_statistics.json").read_text())
    expected = reference["steps"][name]
    augmentation = build_augmentation([text_format.Parse(expected["config"], preprocessor_pb2.PreprocessingStep())])
    example = plain_example(golden)
    example = example._replace(image=tf.cast(example.image, tf.uint8))  # whole numbers, as decoded
    seeds = tf.data.Dataset.range(NUM_DRAWS)
    rows = np.stack(list(seeds.map(lambda seed: _numbers(augmentation(example, tf.stack([3, seed])))).as_numpy_iterator()))
    rows, accepted = rows[:, :13], rows[:, 13:].mean(0)
    mean, stddev = np.array(expected["mean"]), np.array(expected["stddev"])
    error = stddev * np.sqrt(1 / NUM_DRAWS + 1 / reference["draws"])  # of the difference of two means
    too_far = np.abs(rows.mean(0) - mean) > 4.5 * error + 0.01
    assert not too_far.any(), [
        f"{statistic}: {ours:.4f}, the API {api:.4f} +- {e:.4f}"
        for statistic, ours, api, e, far in zip(reference["statistics"], rows.mean(0), mean, error, too_far, strict=True)
        if far
    ]
    np.testing.assert_allclose(rows.std(0), stddev, rtol=0.2, atol=0.03)
    if "accepted" in expected:
        share = np.array(expected["accepted"])
        error = np.sqrt(share * (1 - share) * (1 / NUM_DRAWS + 1 / reference["draws"]))
        assert np.all(np.abs(accepted - share) <= 4.5 * error + 0.005), (accepted, share)


def test_acceptance_is_known_for_every_crop_and_pad(golden: Callable[[str], Path]) -> None:
    steps = json.loads(golden("augment_statistics.json").read_text())["steps"]
    known = {step["config"].partition(" ")[0] for step in steps.values() if "accepted" in step}
    cropping = {name for name in preprocessor_pb2.PreprocessingStep.DESCRIPTOR.fields_by_name if "crop" in name}
    assert known == {*cropping, "random_pad_image", "random_self_concat_image"}
