"""Steps that hide or spoil parts of the image: black patches, noise, JPEG artefacts."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.augment.checks import check_at_least, check_interval, check_probability
from object_detection_ext.augment.colour import as_float
from object_detection_ext.augment.draw import uniform_integers
from object_detection_ext.types import Example


@dataclass(frozen=True)
class RandomBlackPatches:
    """Up to `max_black_patches` black squares, each there with the given probability; their side is a share of the image's shorter one."""

    max_black_patches: int = 10
    probability: float = 0.5
    size_to_image_ratio: float = 0.1

    def __post_init__(self) -> None:
        check_at_least("max_black_patches", self.max_black_patches, 0)
        check_probability("probability", self.probability)
        check_probability("size_to_image_ratio", self.size_to_image_ratio)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        place_seed, chance_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        count = self.max_black_patches
        shape = tf.cast(tf.shape(example.image)[:2], tf.float32)
        side = tf.cast(tf.reduce_min(shape) * self.size_to_image_ratio, tf.int32)
        places = tf.random.stateless_uniform([count, 2], place_seed, 0.0, 1.0 - self.size_to_image_ratio)
        begins = tf.cast(places * shape, tf.int32)  # [P, 2]
        placed = tf.random.stateless_uniform([count, 1], chance_seed) <= self.probability
        in_rows = _in_spans(begins[:, 0], side, tf.shape(example.image)[0]) & placed  # [P, H]
        in_columns = _in_spans(begins[:, 1], side, tf.shape(example.image)[1])  # [P, W]
        black = tf.reduce_any(in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis, :], axis=0)  # [H, W]
        image = example.image
        return example._replace(image=tf.where(black[..., tf.newaxis], tf.zeros([], image.dtype), image))


@dataclass(frozen=True)
class RandomPatchGaussian:
    """Gaussian noise within one square patch (Lopes et al. 2019, arXiv:1906.02611), clipped to [0, 255]."""

    random_coef: float = 0.0  # chance of keeping the image as it is
    min_patch_size: int = 1
    max_patch_size: int = 250
    min_gaussian_stddev: float = 0.0  # of values in [0, 1]
    max_gaussian_stddev: float = 1.0

    def __post_init__(self) -> None:
        check_probability("random_coef", self.random_coef)
        check_at_least("min_patch_size", self.min_patch_size, 1)
        check_interval("min_patch_size", self.min_patch_size + 1, "max_patch_size", self.max_patch_size)
        check_interval("min_gaussian_stddev", self.min_gaussian_stddev, "max_gaussian_stddev", self.max_gaussian_stddev)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        image = as_float(example.image)
        seeds = tf.unstack(tf.random.split(seed, 5), num=5)

        def spoil() -> tf.Tensor:
            side = tf.random.stateless_uniform([], seeds[1], self.min_patch_size, self.max_patch_size, tf.int32)
            stddev = tf.random.stateless_uniform([], seeds[2], self.min_gaussian_stddev, self.max_gaussian_stddev)
            shape = tf.shape(image)
            center = uniform_integers(seeds[3], 0, shape[:2])
            inside = in_rectangle(shape[:2], center - side // 2, tf.stack([side, side]))
            noise = tf.random.stateless_normal(shape, seeds[4], stddev=stddev)
            noisy = tf.clip_by_value(image / 255.0 + noise, 0.0, 1.0) * 255.0
            return tf.where(inside[..., tf.newaxis], noisy, image)

        chosen = tf.random.stateless_uniform([], seeds[0]) >= self.random_coef
        return example._replace(image=tf.ensure_shape(tf.cond(chosen, spoil, lambda: image), image.shape))


@dataclass(frozen=True)
class RandomJpegQuality:
    """Encodes and decodes as JPEG of a quality from [min_jpeg_quality, max_jpeg_quality)."""

    random_coef: float = 0.0  # chance of keeping the image as it is
    min_jpeg_quality: int = 0
    max_jpeg_quality: int = 100

    def __post_init__(self) -> None:
        check_probability("random_coef", self.random_coef)
        check_at_least("min_jpeg_quality", self.min_jpeg_quality, 0)
        check_interval("min_jpeg_quality", self.min_jpeg_quality + 1, "max_jpeg_quality", self.max_jpeg_quality)
        if self.max_jpeg_quality > 100:
            raise ValueError(f"max_jpeg_quality must be <= 100, got {self.max_jpeg_quality}")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        keep_seed, quality_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        image = as_float(example.image)

        def spoil() -> tf.Tensor:
            quality = tf.random.stateless_uniform([], quality_seed, self.min_jpeg_quality, self.max_jpeg_quality, tf.int32)
            return as_float(tf.image.adjust_jpeg_quality(tf.cast(image, tf.uint8), quality))

        chosen = tf.random.stateless_uniform([], keep_seed) >= self.random_coef
        return example._replace(image=tf.ensure_shape(tf.cond(chosen, spoil, lambda: image), image.shape))


def in_rectangle(shape: tf.Tensor, begin: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """[H, W] bool: the pixels from `begin` on, `size` of them; all three [2] int32, height and width."""
    rows, columns = (_in_spans(begin[axis : axis + 1], size[axis], shape[axis])[0] for axis in (0, 1))
    return rows[:, tf.newaxis] & columns


def _in_spans(begins: tf.Tensor, length: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """[P, size] bool: whether each of `size` positions lies in [begin, begin + length)."""
    positions = tf.range(size)
    return (positions >= begins[:, tf.newaxis]) & (positions < begins[:, tf.newaxis] + length)
