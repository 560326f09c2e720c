"""For each of the API's 39 steps: what it changes of an example, and that it changes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_ext.augment.labels import ConvertClassLogitsToSoftmax, ScaleBoxesToPixelCoordinates
from object_detection_ext.augment.objects import per_object
from object_detection_ext.augment.pipeline import Augmentation
from object_detection_ext.builders.preprocessor import build_augmentation
from object_detection_ext.protos import preprocessor_pb2
from object_detection_ext.types import Example
from tests.object_detection_ext.augment.examples import full_example

PLACES = {"boxes", "masks", "keypoints"}
OBJECTS = {*PLACES, "keypoint_visibilities", "multiclass_scores", "classes", "weights", "is_crowd", "difficult", "area"}  # some are dropped
MOVED = {"image", *PLACES}
CROPPED = {"image", *OBJECTS}
SIZE = {"image", "masks"}
SMALL = "min_object_covered: 0.3 min_area: 0.2 max_area: 0.3 overlap_thresh: 0.3"
CROP = f"{SMALL} min_aspect_ratio: 0.9 max_aspect_ratio: 1.1"

CASES: dict[str, tuple[str, set[str]]] = {
    "normalize_image": ("original_maxval: 255", {"image"}),
    "random_horizontal_flip": ("probability: 1 keypoint_flip_permutation: [1, 0, 2]", {*MOVED, "keypoint_visibilities"}),
    "random_pixel_value_scale": ("", {"image"}),
    "random_image_scale": ("max_scale_ratio: 0.75", SIZE),
    "random_rgb_to_gray": ("probability: 1", {"image"}),
    "random_adjust_brightness": ("", {"image"}),
    "random_adjust_contrast": ("", {"image"}),
    "random_adjust_hue": ("", {"image"}),
    "random_adjust_saturation": ("", {"image"}),
    "random_distort_color": ("", {"image"}),
    "random_jitter_boxes": ("", {"boxes"}),
    "random_crop_image": (CROP, CROPPED),
    "random_pad_image": ("", MOVED),
    "random_crop_pad_image": (CROP, CROPPED),
    "random_crop_to_aspect_ratio": ("aspect_ratio: 0.3 overlap_thresh: 0.5", CROPPED),
    "random_black_patches": ("probability: 1", {"image"}),
    "random_resize_method": ("target_height: 20 target_width: 20", SIZE),
    "scale_boxes_to_pixel_coordinates": ("", {"boxes", "keypoints"}),
    "resize_image": ("new_height: 20 new_width: 20", SIZE),
    "subtract_channel_mean": ("means: [1, 2, 3]", {"image"}),
    "ssd_random_crop": (f"operations {{ {CROP} }}", CROPPED),
    "ssd_random_crop_pad": (f"operations {{ {CROP} }}", CROPPED),
    "ssd_random_crop_fixed_aspect_ratio": (f"operations {{ {SMALL} }} aspect_ratio: 1", CROPPED),
    "ssd_random_crop_pad_fixed_aspect_ratio": (f"operations {{ {CROP} }} aspect_ratio: 1", CROPPED),
    "random_vertical_flip": ("probability: 1 keypoint_flip_permutation: [1, 0, 2]", {*MOVED, "keypoint_visibilities"}),
    "random_rotation90": ("probability: 1 keypoint_rot_permutation: [1, 0, 2]", {*MOVED, "keypoint_visibilities"}),
    "rgb_to_gray": ("", {"image"}),
    "convert_class_logits_to_softmax": ("", {"multiclass_scores"}),
    "random_absolute_pad_image": ("max_height_padding: 20 max_width_padding: 20", MOVED),
    "random_self_concat_image": ("concat_vertical_probability: 1", CROPPED),
    "autoaugment_image": ("policy_name: 'test'", {*MOVED, "keypoint_visibilities"}),  # points that leave the image are hidden
    "drop_label_probabilistically": ("label: 1", OBJECTS),
    "remap_labels": ("original_labels: [1] new_label: 2", {"classes"}),
    "random_jpeg_quality": ("", {"image"}),
    "random_downscale_to_target_pixels": ("min_target_pixels: 800 max_target_pixels: 801", SIZE),
    "random_patch_gaussian": ("", {"image"}),
    "random_square_crop_by_scale": ("max_border: 8 scale_max: 0.61 num_scales: 1", CROPPED),
    "random_scale_crop_and_pad_to_square": ("output_size: 32 scale_min: 2 scale_max: 2", CROPPED),
    "adjust_gamma": ("gamma: 1.5", {"image"}),
}
REFUSED = {  # in a config: no detector learns from them
    "scale_boxes_to_pixel_coordinates": ScaleBoxesToPixelCoordinates(),
    "convert_class_logits_to_softmax": ConvertClassLogitsToSoftmax(),
}


def _augmentation(name: str) -> Augmentation:
    if name in REFUSED:
        return Augmentation((REFUSED[name],))
    return build_augmentation([text_format.Parse(f"{name} {{ {CASES[name][0]} }}", preprocessor_pb2.PreprocessingStep())])


def _changed(before: Example, after: Example) -> set[str]:
    pairs = zip(before._asdict().items(), after._asdict().values(), strict=True)
    return {name for (name, old), new in pairs if not _same(np.asarray(old), np.asarray(new))}


def _same(old: np.ndarray, new: np.ndarray) -> bool:
    return old.shape == new.shape and np.array_equal(old, new, equal_nan=old.dtype.kind == "f")


def test_every_step_of_the_api_has_its_row() -> None:
    assert set(CASES) == {field.name for field in preprocessor_pb2.PreprocessingStep.DESCRIPTOR.fields}
    assert len(CASES) == 39


@pytest.mark.parametrize("name", CASES)
def test_what_a_step_changes(golden: Callable[[str], Path], name: str) -> None:
    example = full_example(golden)
    example = example._replace(image=tf.cast(example.image, tf.uint8))  # as decoded
    result = _augmentation(name)(example, tf.constant([1, 2], tf.int64))
    assert _changed(example, result) == CASES[name][1]
    assert {len(values) for values in per_object(result).values()} == {len(result.boxes)}
    assert result.masks.shape[1:] == result.image.shape[:2]
    assert result.masks.dtype == tf.uint8 and result.image.dtype in (tf.uint8, tf.float32)


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_same_result(golden: Callable[[str], Path], name: str) -> None:
    example, augmentation = full_example(golden), _augmentation(name)
    first, second = (augmentation(example, tf.constant([5, 6], tf.int64)) for _ in range(2))
    assert _changed(first, second) == set()
