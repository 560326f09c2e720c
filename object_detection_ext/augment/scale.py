"""Steps that change the image's size but not what it shows; normalised boxes stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from object_detection_ext.augment.checks import check_at_least, check_interval, check_probability
from object_detection_ext.data.resize import ResizeMethod, resize
from object_detection_ext.types import Example


@dataclass(frozen=True)
class RandomImageScale:
    """Scales height and width by one factor from [min_scale_ratio, max_scale_ratio)."""

    min_scale_ratio: float = 0.5
    max_scale_ratio: float = 2.0

    def __post_init__(self) -> None:
        check_interval("min_scale_ratio", self.min_scale_ratio, "max_scale_ratio", self.max_scale_ratio)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        factor = tf.random.stateless_uniform([], seed, self.min_scale_ratio, self.max_scale_ratio)
        shape = tf.cast(tf.cast(tf.shape(example.image)[:2], tf.float32) * factor, tf.int32)
        return resize_example(example, shape, align_corners=True)


@dataclass(frozen=True)
class ResizeImage:
    """Stretches to one size."""

    new_height: int
    new_width: int
    method: ResizeMethod = "bilinear"

    def __post_init__(self) -> None:
        check_at_least("new_height", self.new_height, 1)
        check_at_least("new_width", self.new_width, 1)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        return resize_example(example, (self.new_height, self.new_width), method=self.method)


@dataclass(frozen=True)
class RandomResizeMethod:
    """Stretches to one size with one of the four methods, each as likely as the others."""

    target_height: int
    target_width: int

    def __post_init__(self) -> None:
        check_at_least("target_height", self.target_height, 1)
        check_at_least("target_width", self.target_width, 1)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        methods: tuple[ResizeMethod, ...] = ("bilinear", "nearest_neighbor", "bicubic", "area")
        shape = (self.target_height, self.target_width)
        branches = [partial(resize_example, example, shape, method=method) for method in methods]
        choice = tf.random.stateless_uniform([], seed, 0, len(methods), tf.int32)
        return tf.switch_case(choice, branches)


@dataclass(frozen=True)
class RandomDownscaleToTargetPixels:
    """Shrinks images with more pixels than a target drawn from [min_target_pixels, max_target_pixels) to it."""

    random_coef: float = 0.0  # chance of keeping the image as it is
    min_target_pixels: int = 300_000
    max_target_pixels: int = 500_000

    def __post_init__(self) -> None:
        check_probability("random_coef", self.random_coef)
        check_at_least("min_target_pixels", self.min_target_pixels, 1)
        check_interval("min_target_pixels", self.min_target_pixels + 1, "max_target_pixels", self.max_target_pixels)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        keep_seed, target_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        chosen = tf.random.stateless_uniform([], keep_seed) >= self.random_coef
        target = tf.random.stateless_uniform([], target_seed, self.min_target_pixels, self.max_target_pixels, tf.int32)
        shape = tf.shape(example.image)[:2]
        pixels = tf.reduce_prod(shape)
        factor = tf.sqrt(tf.cast(target, tf.float32) / tf.cast(pixels, tf.float32))
        new_shape = tf.cast(factor * tf.cast(shape, tf.float32), tf.int32)
        unchanged = example._replace(image=tf.cast(example.image, tf.float32))
        return tf.cond(chosen & (pixels > target), lambda: resize_example(example, new_shape), lambda: unchanged)


def resize_example(
    example: Example, shape: tf.Tensor | tuple[int, int], *, method: ResizeMethod = "bilinear", align_corners: bool = False
) -> Example:
    """The example with image (float32) and masks of the given height and width."""
    masks = example.masks
    if masks is not None:
        resized = resize(masks[..., tf.newaxis], shape, method="nearest_neighbor", align_corners=align_corners)
        masks = tf.cast(resized[..., 0], masks.dtype)
    return example._replace(image=resize(example.image, shape, method=method, align_corners=align_corners), masks=masks)
