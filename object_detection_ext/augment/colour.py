"""Colour steps. They work on float32 in [0, 255] and, unless they say otherwise, clip their result to it, as the API's do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.augment.checks import check_interval, check_probability
from object_detection_ext.data.resize import rgb_to_gray
from object_detection_ext.types import Example


@dataclass(frozen=True)
class NormalizeImage:
    """Maps [original_minval, original_maxval] linearly to [target_minval, target_maxval]; does not clip."""

    original_minval: float = 0.0
    original_maxval: float = 255.0
    target_minval: float = 0.0
    target_maxval: float = 1.0

    def __post_init__(self) -> None:
        if self.original_minval == self.original_maxval:
            raise ValueError(f"original_maxval must differ from original_minval, got {self.original_maxval} for both")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        scale = (self.target_maxval - self.target_minval) / (self.original_maxval - self.original_minval)
        return example._replace(image=(as_float(example.image) - self.original_minval) * scale + self.target_minval)


@dataclass(frozen=True)
class SubtractChannelMean:
    """Subtracts one mean a channel; does not clip."""

    means: tuple[float, float, float]

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        return example._replace(image=as_float(example.image) - tf.constant(self.means))


@dataclass(frozen=True)
class RandomPixelValueScale:
    """Multiplies every value by its own factor."""

    minval: float = 0.9
    maxval: float = 1.1

    def __post_init__(self) -> None:
        check_interval("minval", self.minval, "maxval", self.maxval)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        image = as_float(example.image)
        factors = tf.random.stateless_uniform(tf.shape(image), seed, self.minval, self.maxval)
        return example._replace(image=_clip(image * factors))


@dataclass(frozen=True)
class RgbToGray:
    """Replaces the colours by their luma, in three equal channels: what follows, steps and network, takes three."""

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        image = as_float(example.image)
        return example._replace(image=tf.ensure_shape(tf.repeat(rgb_to_gray(image), 3, axis=-1), image.shape))


@dataclass(frozen=True)
class RandomRgbToGray:
    """`RgbToGray` with the given probability."""

    probability: float = 0.1

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        example = example._replace(image=as_float(example.image))
        chosen = tf.random.stateless_uniform([], seed) <= self.probability
        return tf.cond(chosen, lambda: RgbToGray()(example, seed), lambda: example)


@dataclass(frozen=True)
class AdjustGamma:
    """255 * gain * (image / 255) ** gamma."""

    gamma: float = 1.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        if self.gamma < 0.0:
            raise ValueError(f"gamma must be >= 0, got {self.gamma}")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        return _change_share(example, lambda image: self.gain * image**self.gamma)


@dataclass(frozen=True)
class _RandomDelta(ABC):
    """Changes the colours by a delta from [-max_delta, max_delta)."""

    max_delta: float

    def __post_init__(self) -> None:
        check_interval("-max_delta", -self.max_delta, "max_delta", self.max_delta)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        delta = tf.random.stateless_uniform([], seed, -self.max_delta, self.max_delta)
        return _change_share(example, lambda image: self.adjust(image, delta))

    @staticmethod
    @abstractmethod
    def adjust(image: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        """Image [H, W, 3] float32 in [0, 1], before and after."""


@dataclass(frozen=True)
class RandomAdjustBrightness(_RandomDelta):
    """Adds a delta from [-max_delta, max_delta), as a share of 255."""

    max_delta: float = 0.2

    @staticmethod
    def adjust(image: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        return image + delta


@dataclass(frozen=True)
class RandomAdjustHue(_RandomDelta):
    """Turns the hue by a share of the circle from [-max_delta, max_delta)."""

    max_delta: float = 0.02

    @staticmethod
    def adjust(image: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        return tf.image.adjust_hue(image, delta)


@dataclass(frozen=True)
class _RandomFactor(ABC):
    """Scales a property of the colours by a factor from [min_delta, max_delta)."""

    min_delta: float = 0.8
    max_delta: float = 1.25

    def __post_init__(self) -> None:
        check_interval("min_delta", self.min_delta, "max_delta", self.max_delta)

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        factor = tf.random.stateless_uniform([], seed, self.min_delta, self.max_delta)
        return _change_share(example, lambda image: self.adjust(image, factor))

    @staticmethod
    @abstractmethod
    def adjust(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        """Image [H, W, 3] float32 in [0, 1], before and after."""


@dataclass(frozen=True)
class RandomAdjustContrast(_RandomFactor):
    """Scales the distance to each channel's mean by a factor from [min_delta, max_delta)."""

    @staticmethod
    def adjust(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        return tf.image.adjust_contrast(image, factor)


@dataclass(frozen=True)
class RandomAdjustSaturation(_RandomFactor):
    """Scales the saturation by a factor from [min_delta, max_delta)."""

    @staticmethod
    def adjust(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
        return tf.image.adjust_saturation(image, factor)


@dataclass(frozen=True)
class RandomDistortColor:
    """Brightness, then saturation, hue and contrast (ordering 0) or contrast, saturation and hue (ordering 1)."""

    color_ordering: int = 0

    def __post_init__(self) -> None:
        if self.color_ordering not in (0, 1):
            raise ValueError(f"color_ordering must be 0 or 1, got {self.color_ordering}")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        saturation, hue, contrast = RandomAdjustSaturation(0.5, 1.5), RandomAdjustHue(0.2), RandomAdjustContrast(0.5, 1.5)
        rest = (saturation, hue, contrast) if self.color_ordering == 0 else (contrast, saturation, hue)
        for step, step_seed in zip((RandomAdjustBrightness(32 / 255), *rest), tf.unstack(tf.random.split(seed, 4), num=4), strict=True):
            example = step(example, step_seed)
        return example


def as_float(image: tf.Tensor) -> tf.Tensor:
    """uint8 or float32 to float32, values unchanged."""
    return tf.cast(image, tf.float32)


def _change_share(example: Example, change: Callable[[tf.Tensor], tf.Tensor]) -> Example:
    """The example with its image changed as float32 in [0, 1], then clipped to [0, 255]."""
    return example._replace(image=_clip(change(as_float(example.image) / 255.0) * 255.0))


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, 0.0, 255.0)
