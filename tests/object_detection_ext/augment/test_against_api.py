"""Every step whose draw can be pinned, built from the API's own proto text, against the API's result."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_ext.augment.colour import (
    AdjustGamma,
    NormalizeImage,
    RandomAdjustBrightness,
    RandomAdjustContrast,
    RandomAdjustHue,
    RandomAdjustSaturation,
    RgbToGray,
    SubtractChannelMean,
)
from object_detection_ext.augment.crop import SSD_CROPS, crop_example
from object_detection_ext.augment.geometric import RandomHorizontalFlip, RandomRotation90, RandomVerticalFlip
from object_detection_ext.augment.objects import per_object
from object_detection_ext.augment.scale import ResizeImage
from object_detection_ext.builders.preprocessor import build_augmentation
from object_detection_ext.protos import train_pb2
from object_detection_ext.types import Example
from tests.object_detection_ext.augment.examples import plain_example, unknown_shapes

SEED = tf.constant([7, 9], tf.int64)
ELSEWHERE = {"rgb_to_gray", "scale_pixel_boxes"}  # in test_objects.py: one channel in the API; no detector's step
CASES = [
    "adjust_brightness_0", "adjust_contrast_1.2", "adjust_saturation_1.2", "adjust_hue_0", "pixel_scale_0.9", "image_scale_0.5", "hflip_p1",
    "vflip_p1", "rot90_p1", "rgb_to_gray_p1", "crop_whole_p1", "crop_random_coef1", "normalize", "resize", "subtract_channel_mean",
    "absolute_pad_0", "drop_label_0", "remap",
]  # fmt: skip


def _options(text: str) -> dict[str, train_pb2.TrainConfig]:
    parts = re.split(r"^# (.*)$", text, flags=re.MULTILINE)[1:]
    return {name: text_format.Parse(body, train_pb2.TrainConfig()) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def test_no_case_is_forgotten(golden: Callable[[str], Path]) -> None:
    assert set(_options(golden("augment.config").read_text())) == {*CASES, *ELSEWHERE}


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "unknown-shape"])
@pytest.mark.parametrize("name", CASES)
def test_step(golden: Callable[[str], Path], name: str, in_graph: bool) -> None:
    arrays = np.load(golden("augment.npz"))
    augmentation = build_augmentation(_options(golden("augment.config").read_text())[name].data_augmentation_options)
    example = plain_example(golden)
    if in_graph:
        graph = tf.function(augmentation.__call__).get_concrete_function(unknown_shapes(example), tf.TensorSpec([2], tf.int64))
        result = graph(example, SEED)
    else:
        result = augmentation(example, SEED)
    np.testing.assert_allclose(result.image, arrays[f"step/{name}/image"][0], rtol=0, atol=2e-4)  # values up to 255
    np.testing.assert_allclose(result.boxes, arrays[f"step/{name}/boxes"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(result.classes + 1, arrays[f"step/{name}/classes"])
    assert {len(value) for value in per_object(result).values()} == {len(result.boxes)}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("flip_lr", RandomHorizontalFlip().move),
        ("flip_ud", RandomVerticalFlip().move),
        ("rot90", RandomRotation90().move),
    ],
)
@pytest.mark.parametrize("dtype", [tf.float32, tf.uint8], ids=["float32", "uint8"])
def test_flips_and_rotation(golden: Callable[[str], Path], name: str, change: Callable[[Example], Example], dtype: tf.DType) -> None:
    arrays = np.load(golden("augment.npz"))
    example = plain_example(golden)
    result = change(example._replace(image=tf.cast(example.image, dtype)))
    assert result.image.dtype == dtype
    np.testing.assert_array_equal(tf.cast(result.image, tf.float32), arrays[f"{name}_image"])
    np.testing.assert_array_equal(result.boxes, arrays[f"{name}_boxes"])


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("normalize_-1_1", NormalizeImage(0, 255, -1, 1)),
        ("resize_image_32_32", ResizeImage(32, 32)),
        ("adjust_gamma_1.5", AdjustGamma(1.5)),
        ("rgb_to_gray_image", RgbToGray()),
        ("subtract_mean", SubtractChannelMean((123.68, 116.779, 103.939))),
    ],
)
def test_image_only(golden: Callable[[str], Path], name: str, step: Callable[[Example, tf.Tensor], Example]) -> None:
    arrays = np.load(golden("augment.npz"))
    np.testing.assert_allclose(step(plain_example(golden), SEED).image, arrays[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "adjust", "amount"),
    [
        ("brightness_delta0.1", RandomAdjustBrightness.adjust, 0.1),
        ("hue_0.02", RandomAdjustHue.adjust, 0.02),
        ("contrast_1.2", RandomAdjustContrast.adjust, 1.2),
        ("saturation_1.2", RandomAdjustSaturation.adjust, 1.2),
    ],
)
def test_colours_by_a_given_amount(golden: Callable[[str], Path], name: str, adjust: Callable, amount: float) -> None:
    arrays = np.load(golden("augment.npz"))
    adjusted = adjust(tf.constant(arrays["image"] / 255), tf.constant(amount)) * 255
    np.testing.assert_allclose(np.clip(adjusted, 0, 255), arrays[name], rtol=0, atol=1e-4)


def test_defaults_of_ssd_random_crop(golden: Callable[[str], Path]) -> None:
    defaults = json.loads(str(np.load(golden("augment.npz"))["ssd_random_crop_defaults"]))
    ours = {
        "min_object_covered": [crop.min_object_covered for crop in SSD_CROPS],
        "aspect_ratio": [list(crop.aspect_ratio_range) for crop in SSD_CROPS],
        "area": [list(crop.area_range) for crop in SSD_CROPS],
        "overlap_thresh": [crop.overlap_thresh for crop in SSD_CROPS],
        "clip_boxes": [crop.clip_boxes for crop in SSD_CROPS],
        "random_coef": [crop.random_coef for crop in SSD_CROPS],
    }
    assert ours == defaults


@pytest.mark.parametrize(("clip_boxes", "name"), [(True, "crop_boxes"), (False, "crop_boxes_noclip")])
def test_crop_keeps_the_same_boxes(golden: Callable[[str], Path], clip_boxes: bool, name: str) -> None:
    arrays = np.load(golden("augment.npz"))
    window = tf.constant(arrays["crop_window"])
    example = crop_example(
        plain_example(golden),
        tf.constant([10, 6]),
        tf.constant([33, 45]),
        window=window,
        overlap_thresh=float(arrays["crop_overlap_thresh"]),
        clip_boxes=clip_boxes,
    )
    np.testing.assert_array_equal(example.weights - 1, arrays["crop_kept"])  # weights number the boxes
    np.testing.assert_allclose(example.boxes, arrays[name], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(example.image, arrays["image"][10:43, 6:51])
