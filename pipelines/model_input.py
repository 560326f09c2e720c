"""From a photo to the input of a `.tflite`: as its metadata says, else its pipeline.config, else as for MobileNets. No TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export.input_metadata import InputMetadata, KeepAspectRatio, read_input_metadata
from object_detection_ext.data.bilinear import resize_bilinear
from object_detection_ext.errors import InputError

_MOBILENET = (127.5,)  # mean and deviation: pixels become [-1, 1]


class FittedImage(NamedTuple):
    """An image of the size of the input."""

    pixels: np.ndarray  # [h, w, 3] float32 in [0, 255]
    share: np.ndarray  # [4] float32: what the image takes of the height, width, height and width; 1 without padding


class ModelInput(NamedTuple):
    """How photos become a model's input.

    Attributes:
        mean: one for all channels or one each; a float32 input is (pixel - mean) / std.
        std: likewise.
        fitting: None where the photo is stretched.
    """

    mean: tuple[float, ...] = _MOBILENET
    std: tuple[float, ...] = _MOBILENET
    fitting: KeepAspectRatio | None = None

    def fit(self, image: np.ndarray, shape: tuple[int, int]) -> FittedImage:
        """Resizes a photo [H, W, 3] uint8 to `shape`, with padding where the model wants it."""
        if self.fitting is None:
            return FittedImage(resize_bilinear(image, shape), np.ones(4, np.float32))
        pad_pixel = np.array(self.fitting.pad_value, np.float32) * np.array(self.std, np.float32) + np.array(self.mean, np.float32)
        pixels, share = self.fitting(image, pad_pixel)
        return FittedImage(pixels, np.array([*share, *share], np.float32))

    def values(self, pixels: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
        """Pixels [..., 3] float32 in [0, 255] in the type and range of the input tensor.

        Args:
            tensor: `dtype` and `quantization` (scale, zero point) of the input, as an interpreter tells them.
        """
        dtype, (mean, std) = tensor["dtype"], (np.array(numbers, np.float32) for numbers in (self.mean, self.std))
        if dtype == np.float32:
            return (pixels - mean) / std
        scale, zero_point = tensor["quantization"]
        limits = np.iinfo(dtype)
        if not scale or self._is_a_step_a_grey_level(scale, zero_point - limits.min):
            return np.clip(np.round(pixels) + limits.min, limits.min, limits.max).astype(dtype)
        return np.clip(np.round((pixels - mean) / std / scale) + zero_point, limits.min, limits.max).astype(dtype)

    def _is_a_step_a_grey_level(self, scale: float, zero: float) -> bool:
        """Whether the quantised input is the pixels themselves, up to rounding: so an app on a phone passes them."""
        mean, std = np.array(self.mean), np.array(self.std)
        return bool(np.all(np.abs(scale * std - 1.0) < 0.01) and np.all(np.abs(zero - mean / std / scale) < 1.0))


def find_input(content: bytes, path: Path, config: Path | None = None) -> ModelInput:
    """What is known about a model's input.

    Args:
        content: of the `.tflite`.
        path: named in errors.
        config: the model's pipeline.config; asked for padding where the file has no metadata.

    Raises:
        InputError: the metadata or the config is broken.
    """
    metadata = read_input_metadata(content, path)
    if metadata is None:
        metadata = InputMetadata(fitting=None if config is None else _fitting_of(config))
    return ModelInput(metadata.mean or _MOBILENET, metadata.std or _MOBILENET, metadata.fitting)


def _fitting_of(config: Path) -> KeepAspectRatio | None:
    from object_detection_ext.config import load_config

    resizer = load_config(config).proto.model.ssd.image_resizer
    if not resizer.HasField("keep_aspect_ratio_resizer") or not resizer.keep_aspect_ratio_resizer.pad_to_max_dimension:
        return None
    fields = resizer.keep_aspect_ratio_resizer
    padding = tuple(fields.per_channel_pad_value) or (0.0, 0.0, 0.0)
    try:
        return KeepAspectRatio(fields.min_dimension, fields.max_dimension, padding)
    except ValueError as error:
        raise InputError(f"{config}: model.ssd.image_resizer.keep_aspect_ratio_resizer: {error}") from error
