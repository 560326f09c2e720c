"""Crops to a square of another scale, with black where the square leaves the image."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.augment.checks import check_at_least, check_interval
from object_detection_ext.augment.colour import as_float
from object_detection_ext.augment.draw import uniform_integers
from object_detection_ext.augment.objects import boxes_to_window, keypoints_to_window, select_objects, touches_window
from object_detection_ext.augment.scale import resize_example
from object_detection_ext.types import Example


@dataclass(frozen=True)
class RandomSquareCropByScale:
    """A square with sides of `scale` times the longer side, one of `num_scales` evenly spread (Zhou et al. 2019, arXiv:1904.07850).

    Its centre keeps `max_border` pixels from the image's edges, or half of that as often as needed to stay below half the image.
    """

    max_border: int = 128
    scale_min: float = 0.6
    scale_max: float = 1.3
    num_scales: int = 8

    def __post_init__(self) -> None:
        check_at_least("max_border", self.max_border, 1)
        check_at_least("num_scales", self.num_scales, 1)
        check_interval("scale_min", self.scale_min, "scale_max", self.scale_max)
        if not self.scale_min > 0.0:
            raise ValueError(f"scale_min must be > 0, got {self.scale_min:g}")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        scale_seed, center_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        shape = tf.shape(example.image)[:2]
        scales = tf.linspace(self.scale_min, self.scale_max, self.num_scales)
        scale = scales[tf.random.stateless_uniform([], scale_seed, 0, self.num_scales, tf.int32)]
        side = tf.cast(tf.cast(scale, tf.float32) * tf.cast(tf.reduce_max(shape), tf.float32), tf.int32)
        border = self._border(shape)
        center = uniform_integers(center_seed, border, shape - border + 1)
        begin = center - side // 2
        end = tf.minimum(begin + side // 2 * 2, shape - 1)  # the API leaves out the last row and column
        return crop_to_square(example, begin, end, side)

    def _border(self, shape: tf.Tensor) -> tf.Tensor:
        halvings = tf.math.ceil(tf.math.log(2.0 * self.max_border / tf.cast(shape, tf.float32)) / tf.math.log(2.0))
        return self.max_border // tf.cast(tf.clip_by_value(2.0**halvings, 1.0, float(self.max_border)), tf.int32)


@dataclass(frozen=True)
class RandomScaleCropAndPadToSquare:
    """Scales the longer side to `output_size` times a factor, then crops or pads to the square (Tan et al. 2020, arXiv:1911.09070)."""

    output_size: int = 512
    scale_min: float = 0.1
    scale_max: float = 2.0

    def __post_init__(self) -> None:
        check_at_least("output_size", self.output_size, 1)
        check_interval("scale_min", self.scale_min, "scale_max", self.scale_max)
        if not self.scale_min > 0.0:
            raise ValueError(f"scale_min must be > 0, got {self.scale_min:g}")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        scale_seed, offset_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        shape = tf.cast(tf.shape(example.image)[:2], tf.float32)
        scale = tf.random.stateless_uniform([], scale_seed, self.scale_min, self.scale_max)
        scaled = tf.maximum(tf.cast(scale * self.output_size * (shape / tf.reduce_max(shape)), tf.int32), 1)
        spare = tf.cast(tf.maximum(scaled - self.output_size, 0), tf.float32)
        begin = tf.cast(spare * tf.random.stateless_uniform([2], offset_seed), tf.int32)
        return crop_to_square(resize_example(example, scaled), begin, tf.minimum(begin + self.output_size, scaled), self.output_size)


def crop_to_square(example: Example, begin: tf.Tensor, end: tf.Tensor, side: tf.Tensor | int) -> Example:
    """The pixels from `begin` to `end` ([2] int32; a negative begin lies outside) on a black square whose top left is `begin`.

    Boxes that do not touch the square are dropped, the others clipped to it.
    """
    shape = tf.shape(example.image)[:2]
    inside = tf.maximum(begin, 0)
    size = tf.maximum(end - inside, 0)
    before = inside - begin
    paddings = tf.stack([before, side - before - size], axis=1)
    window = tf.cast(tf.concat([begin, begin + side], 0), tf.float32) / tf.cast(tf.tile(shape, [2]), tf.float32)
    kept = select_objects(example, tf.where(touches_window(example.boxes, window))[:, 0])
    image = tf.slice(as_float(kept.image), tf.concat([inside, [0]], 0), tf.concat([size, [-1]], 0))
    masks = kept.masks
    if masks is not None:
        masks = tf.slice(masks, tf.concat([[0], inside], 0), tf.concat([[-1], size], 0))
        masks = tf.pad(masks, tf.pad(paddings, [[1, 0], [0, 0]]))
    return keypoints_to_window(kept, window, hide_outside=True)._replace(
        image=tf.ensure_shape(tf.pad(image, tf.pad(paddings, [[0, 1], [0, 0]])), [None, None, example.image.shape[-1]]),
        boxes=tf.clip_by_value(boxes_to_window(kept.boxes, window), 0.0, 1.0),
        masks=masks,
    )
