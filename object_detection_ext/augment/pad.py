"""Steps that put the image onto a larger canvas, alone or after a crop, so that objects look smaller (Liu et al. 2016, section 3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from object_detection_ext.augment.checks import check_at_least
from object_detection_ext.augment.colour import as_float
from object_detection_ext.augment.crop import RandomCrop, SsdRandomCrop
from object_detection_ext.augment.draw import uniform_integers
from object_detection_ext.augment.objects import boxes_to_window, keypoints_to_window
from object_detection_ext.types import Example

Color = tuple[float, float, float]


@dataclass(frozen=True)
class RandomPadImage:
    """Pads to a random size from min_image_size to max_image_size (not below the image's own), the image anywhere on it.

    Sizes are (height, width) in pixels; None for the image's own and for twice it. The canvas has `pad_color`, or the image's mean.
    """

    min_image_size: tuple[int, int] | None = None
    max_image_size: tuple[int, int] | None = None
    pad_color: Color | None = None

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        shape = tf.shape(example.image)[:2]
        smallest = shape if self.min_image_size is None else tf.constant(self.min_image_size)
        largest = shape * 2 if self.max_image_size is None else tf.constant(self.max_image_size)
        return pad_randomly(example, seed, smallest=smallest, largest=largest, color=self.pad_color)


@dataclass(frozen=True)
class RandomAbsolutePadImage:
    """Pads by less than max_height_padding and max_width_padding pixels."""

    max_height_padding: int = 1
    max_width_padding: int = 1
    pad_color: Color | None = None

    def __post_init__(self) -> None:
        check_at_least("max_height_padding", self.max_height_padding, 1)
        check_at_least("max_width_padding", self.max_width_padding, 1)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        shape = tf.shape(example.image)[:2]
        largest = shape + tf.constant([self.max_height_padding, self.max_width_padding])
        return pad_randomly(example, seed, smallest=shape, largest=largest, color=self.pad_color)


@dataclass(frozen=True)
class RandomCropPad:
    """Crops, then pads to a size between `min_padded_size_ratio` and `max_padded_size_ratio` of the uncropped (height, width)."""

    crop: RandomCrop
    min_padded_size_ratio: tuple[float, float] = (1.0, 1.0)
    max_padded_size_ratio: tuple[float, float] = (2.0, 2.0)
    pad_color: Color | None = None  # None: the mean of the cropped image

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        crop_seed, pad_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        shape = tf.cast(tf.shape(example.image)[:2], tf.float32)
        return pad_randomly(
            self.crop(example, crop_seed),
            pad_seed,
            smallest=tf.cast(shape * tf.constant(self.min_padded_size_ratio), tf.int32),
            largest=tf.cast(shape * tf.constant(self.max_padded_size_ratio), tf.int32),
            color=self.pad_color,
        )


_SSD_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
SSD_CROP_PADS = tuple(
    RandomCropPad(RandomCrop(threshold, aspect_ratio_range=(0.5, 2.0), overlap_thresh=threshold, random_coef=0.15))
    for threshold in _SSD_THRESHOLDS
)
"""The API's default operations of `ssd_random_crop_pad`."""


@dataclass(frozen=True)
class SsdRandomCropPad:
    """One of the operations, each as likely as the others."""

    operations: tuple[RandomCropPad, ...] = SSD_CROP_PADS

    def __post_init__(self) -> None:
        if not self.operations:
            raise ValueError("operations must not be empty")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        which_seed, apply_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        choice = tf.random.stateless_uniform([], which_seed, 0, len(self.operations), tf.int32)
        return tf.switch_case(choice, [partial(step, example, apply_seed) for step in self.operations])


@dataclass(frozen=True)
class SsdRandomCropPadFixedAspectRatio:
    """`SsdRandomCrop`, then black at the bottom or the right up to the aspect ratio (width by height) and a random scale."""

    crop: SsdRandomCrop
    aspect_ratio: float = 1.0
    min_padded_size_ratio: tuple[float, float] = (1.0, 1.0)
    max_padded_size_ratio: tuple[float, float] = (2.0, 2.0)

    def __post_init__(self) -> None:
        if not self.aspect_ratio > 0.0:
            raise ValueError(f"aspect_ratio must be > 0, got {self.aspect_ratio:g}")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        crop_seed, pad_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        example = self.crop(example, crop_seed)
        shape = tf.cast(tf.shape(example.image)[:2], tf.float32)
        target = tf.stack([tf.maximum(shape[0], shape[1] / self.aspect_ratio), tf.maximum(shape[1], shape[0] * self.aspect_ratio)])
        smallest = tf.maximum(self.min_padded_size_ratio * shape, target)
        largest = tf.maximum(self.max_padded_size_ratio * shape, target)
        max_scale = tf.reduce_min(largest / target)
        min_scale = tf.minimum(max_scale, tf.reduce_max(smallest / target))
        scale = tf.random.stateless_uniform([], pad_seed, min_scale, max_scale)
        padded_shape = tf.cast(tf.round(scale * target), tf.int32)
        return pad_example(example, padded_shape, offset=tf.zeros([2], tf.int32), color=tf.zeros([3]))


def pad_randomly(example: Example, seed: tf.Tensor, *, smallest: tf.Tensor, largest: tf.Tensor, color: Color | None) -> Example:
    """Pads to a size drawn from [smallest, largest), each [2] int32 and not below the image's own, at an offset drawn from what is left."""
    size_seed, offset_seed = tf.unstack(tf.random.split(seed, 2), num=2)
    shape = tf.shape(example.image)[:2]
    smallest, largest = tf.maximum(smallest, shape), tf.maximum(largest, shape)
    size = uniform_integers(size_seed, smallest, largest)
    offset = uniform_integers(offset_seed, 0, size - shape)
    fill = tf.reduce_mean(as_float(example.image), axis=[0, 1]) if color is None else tf.constant(color)
    return pad_example(example, size, offset=offset, color=fill)


def pad_example(example: Example, shape: tf.Tensor, *, offset: tf.Tensor, color: tf.Tensor) -> Example:
    """The example on a canvas of `shape` ([2] int32, height and width) and `color` ([3] float32), its top left at `offset` ([2] int32)."""
    image = as_float(example.image)
    old_shape = tf.shape(image)[:2]
    after = shape - old_shape - offset
    paddings = tf.stack([offset, after], axis=1)  # [2, 2]
    inside = tf.pad(tf.ones(old_shape, tf.bool), paddings)[..., tf.newaxis]
    padded = tf.where(inside, tf.pad(image, tf.pad(paddings, [[0, 1], [0, 0]])), color)
    window = tf.cast(tf.concat([-offset, shape - offset], 0), tf.float32) / tf.cast(tf.tile(old_shape, [2]), tf.float32)
    return keypoints_to_window(example, window, hide_outside=False)._replace(
        image=tf.ensure_shape(padded, [None, None, image.shape[-1]]),
        boxes=boxes_to_window(example.boxes, window),
        masks=None if example.masks is None else tf.pad(example.masks, tf.pad(paddings, [[1, 0], [0, 0]])),
    )
