"""Image resizers, exact to the TF 1 kernels that the API used (top-left pixel grid, no half-pixel centres, no antialiasing).

`tf.image.resize` of TensorFlow 2 samples at half-pixel centres; on real photos that moves scores by about 0.005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import tensorflow as tf

ResizeMethod = Literal["bilinear", "nearest_neighbor", "bicubic", "area"]

_RGB_WEIGHTS = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601 luma, as tf.image.rgb_to_grayscale


class ImageResizer(Protocol):
    """Makes the network's input size out of any image."""

    @property
    def output_shape(self) -> tuple[int, int] | None:
        """Height and width of every result, None where they depend on the image."""
        ...

    @property
    def num_channels(self) -> int:
        """Channels of the result: 3, or 1 when it converts to grayscale."""
        ...

    @property
    def pads(self) -> bool:
        """Whether results may have padding, which belongs to no pixel."""
        ...

    def __call__(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Resizes one image or a batch of images of one size.

        Args:
            image: [H, W, 3] or [B, H, W, 3], uint8 or float32 in [0, 255].

        Returns:
            The image, [h, w, C] or [B, h, w, C] float32 in [0, 255], and [2] int32: height and width of its content without padding.
        """
        ...


@dataclass(frozen=True)
class FixedShapeResizer:
    """Stretches to one height and width."""

    height: int = 300
    width: int = 300
    method: ResizeMethod = "bilinear"
    convert_to_grayscale: bool = False

    def __post_init__(self) -> None:
        _check_positive(height=self.height, width=self.width)

    @property
    def output_shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def num_channels(self) -> int:
        return 1 if self.convert_to_grayscale else 3

    @property
    def pads(self) -> bool:
        return False

    def __call__(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        resized = resize(image, (self.height, self.width), method=self.method)
        return _maybe_gray(resized, self.convert_to_grayscale), tf.constant([self.height, self.width])


@dataclass(frozen=True)
class KeepAspectRatioResizer:
    """Scales so that the shorter side is `min_dimension` unless the longer one would exceed `max_dimension`; may pad to a square.

    Padding goes to the bottom and the right.
    """

    min_dimension: int = 600
    max_dimension: int = 1024
    method: ResizeMethod = "bilinear"
    pad_to_max_dimension: bool = False
    per_channel_pad_value: tuple[float, ...] = (0.0, 0.0, 0.0)
    convert_to_grayscale: bool = False

    def __post_init__(self) -> None:
        _check_positive(min_dimension=self.min_dimension, max_dimension=self.max_dimension)
        if self.min_dimension > self.max_dimension:
            raise ValueError(f"min_dimension must be <= max_dimension, got {self.min_dimension} > {self.max_dimension}")
        if len(self.per_channel_pad_value) != 3:
            raise ValueError(f"per_channel_pad_value must have 3 values, got {len(self.per_channel_pad_value)}")

    @property
    def output_shape(self) -> tuple[int, int] | None:
        return (self.max_dimension, self.max_dimension) if self.pad_to_max_dimension else None

    @property
    def num_channels(self) -> int:
        return 1 if self.convert_to_grayscale else 3

    @property
    def pads(self) -> bool:
        return self.pad_to_max_dimension

    def __call__(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape = image_shape(image)
        limits = tf.where(shape[0] < shape[1], [self.min_dimension, self.max_dimension], [self.max_dimension, self.min_dimension])
        scale = tf.reduce_min(tf.cast(limits, tf.float32) / tf.cast(shape, tf.float32))
        true_shape = tf.cast(tf.round(scale * tf.cast(shape, tf.float32)), tf.int32)
        resized = resize(image, true_shape, method=self.method)
        if self.pad_to_max_dimension:
            resized = self._pad(resized, true_shape)
        return _maybe_gray(resized, self.convert_to_grayscale), true_shape

    def _pad(self, image: tf.Tensor, true_shape: tf.Tensor) -> tf.Tensor:
        value = tf.constant(self.per_channel_pad_value)
        missing = self.max_dimension - true_shape
        paddings = [[0, missing[0]], [0, missing[1]], [0, 0]]
        if image.shape.rank == 4:
            paddings.insert(0, [0, 0])
        # Shifting by the pad value lets one constant-0 pad serve all channels; exact when the value is 0.
        padded = tf.pad(image - value, paddings) + value if any(self.per_channel_pad_value) else tf.pad(image, paddings)
        return tf.ensure_shape(padded, [*image.shape[:-3], self.max_dimension, self.max_dimension, 3])


@dataclass(frozen=True)
class IdentityResizer:
    """Leaves the size as it is."""

    output_shape: None = None
    num_channels: int = 3
    pads: bool = False

    def __call__(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(image, tf.float32), image_shape(image)


@dataclass(frozen=True)
class ConditionalShapeResizer:
    """Scales, keeping the aspect ratio, only images above (`greater`: longer side) or below (`smaller`: shorter side) a threshold."""

    size_threshold: int = 300
    condition: Literal["greater", "smaller"] = "greater"
    method: ResizeMethod = "bilinear"
    convert_to_grayscale: bool = False

    def __post_init__(self) -> None:
        _check_positive(size_threshold=self.size_threshold)

    @property
    def output_shape(self) -> None:
        return None

    @property
    def num_channels(self) -> int:
        return 1 if self.convert_to_grayscale else 3

    @property
    def pads(self) -> bool:
        return False

    def __call__(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape = image_shape(image)
        if self.condition == "greater":
            side = tf.reduce_max(shape)
            target = tf.minimum(side, self.size_threshold)
        else:
            side = tf.reduce_min(shape)
            target = tf.maximum(side, self.size_threshold)
        ratio = tf.cast(target, tf.float32) / tf.cast(side, tf.float32)
        new_shape = tf.cast(tf.cast(shape, tf.float32) * ratio, tf.int32)
        resized = resize(image, new_shape, method=self.method, align_corners=True)
        return _maybe_gray(resized, self.convert_to_grayscale), new_shape


@dataclass(frozen=True)
class PadToMultipleResizer:
    """Pads bottom and right with zeros to the next multiple of `multiple`."""

    multiple: int = 1
    convert_to_grayscale: bool = False

    def __post_init__(self) -> None:
        _check_positive(multiple=self.multiple)

    @property
    def output_shape(self) -> None:
        return None

    @property
    def num_channels(self) -> int:
        return 1 if self.convert_to_grayscale else 3

    @property
    def pads(self) -> bool:
        return True

    def __call__(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape = image_shape(image)
        missing = -shape % self.multiple
        paddings = [[0, missing[0]], [0, missing[1]], [0, 0]]
        if image.shape.rank == 4:
            paddings.insert(0, [0, 0])
        padded = tf.pad(tf.cast(image, tf.float32), paddings)
        return _maybe_gray(padded, self.convert_to_grayscale), shape


def resize(
    image: tf.Tensor, shape: tf.Tensor | tuple[int, int], *, method: ResizeMethod = "bilinear", align_corners: bool = False
) -> tf.Tensor:
    """Resizes [H, W, C] or [B, H, W, C], uint8 or float32, to float32 of the given height and width with the TF 1 kernels."""
    image = tf.convert_to_tensor(image)
    single = image.shape.rank == 3
    images = image[tf.newaxis] if single else image
    if method == "bilinear":
        resized = tf.raw_ops.ResizeBilinear(images=images, size=shape, align_corners=align_corners, half_pixel_centers=False)
    elif method == "bicubic":
        resized = tf.raw_ops.ResizeBicubic(images=images, size=shape, align_corners=align_corners, half_pixel_centers=False)
    elif method == "area":
        resized = tf.raw_ops.ResizeArea(images=images, size=shape, align_corners=align_corners)
    else:
        nearest = tf.raw_ops.ResizeNearestNeighbor(images=images, size=shape, align_corners=align_corners, half_pixel_centers=False)
        resized = tf.cast(nearest, tf.float32)
    return resized[0] if single else resized


def image_shape(image: tf.Tensor) -> tf.Tensor:
    """Height and width, [2] int32, of [..., H, W, C]."""
    return tf.shape(image)[-3:-1]


def boxes_to_padded(boxes: tf.Tensor, true_shape: tf.Tensor, padded_shape: tf.Tensor) -> tf.Tensor:
    """Boxes normalised to an image, [N, 4], normalised to the padded input that holds it at the top left."""
    share = 1.0 / (tf.cast(padded_shape, tf.float32) / tf.cast(true_shape, tf.float32))
    return boxes * tf.gather(share, [0, 1, 0, 1])


def rgb_to_gray(image: tf.Tensor) -> tf.Tensor:
    """[..., 3] in [0, 255] to [..., 1] float32."""
    return tf.tensordot(tf.cast(image, tf.float32), tf.constant(_RGB_WEIGHTS), 1)[..., tf.newaxis]


def _maybe_gray(image: tf.Tensor, convert: bool) -> tf.Tensor:
    return rgb_to_gray(image) if convert else image


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}")
