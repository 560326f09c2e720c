"""Other ways to make the network's input than the config's: what an importer, a framework or a hurried script might have done instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.models.normalization import TO_MINUS_ONE_TO_ONE, PixelScaling

_IMAGENET_MEANS = (123.68, 116.779, 103.939)  # RGB; Simonyan and Zisserman 2014, as slim's VGG and ResNet v1 subtract them

_SCALINGS = {
    "input in [0, 1]": PixelScaling(1 / 255),
    "input in [0, 255]": PixelScaling(),
    "input in [-1, 1]": TO_MINUS_ONE_TO_ONE,
    "input less ImageNet's means": PixelScaling(1.0, tuple(-mean for mean in _IMAGENET_MEANS)),
}


@dataclass(frozen=True)
class InputVariant:
    """One way to feed the network."""

    name: str
    advice: str
    convert: Callable[[tf.Tensor], tf.Tensor]  # pixels [B, H, W, C] in [0, 255] -> input, padding aside
    training: bool = False  # batch norm uses the statistics of the batch


def input_variants(detector: SsdDetector) -> list[InputVariant]:
    """All that differ from what the detector does itself."""
    own = detector.normalize
    scaled = "training used another scaling: set the feature extractor that these weights were made for"
    variants = [InputVariant(name, scaled, scaling) for name, scaling in _SCALINGS.items() if _signature(scaling) != _signature(own)]
    if detector.input_shape[2] == 3:
        swapped = "the weights were trained on BGR images: turn the channels of their records, or of the first convolution's kernel, around"
        variants.append(InputVariant("channels as BGR", swapped, lambda pixels: own(pixels[..., ::-1])))
    statistics = (
        "batch norm's moving averages do not fit the weights: lower batch_norm.decay (0.97 for a few thousand steps), or train longer"
    )
    variants.append(InputVariant("batch statistics", statistics, own, training=True))
    return variants


def convert_input(detector: SsdDetector, variant: InputVariant, inputs: tf.Tensor, true_shapes: tf.Tensor) -> tf.Tensor:
    """The input of a batch made another way; padding stays 0, as training has it.

    Args:
        inputs: [B, h, w, C] float32, as the config makes them.
        true_shapes: [B, 2] int32, height and width of the content.
    """
    converted = variant.convert(detector.denormalize(inputs))
    if not detector.image_resizer.pads:
        return converted
    height, width, _ = detector.input_shape
    rows = tf.sequence_mask(true_shapes[:, 0], height)[:, :, tf.newaxis]  # [B, h, 1]
    columns = tf.sequence_mask(true_shapes[:, 1], width)[:, tf.newaxis]  # [B, 1, w]
    return tf.where((rows & columns)[..., tf.newaxis], converted, 0.0)


def _signature(scaling: PixelScaling) -> tuple[float, ...]:
    """Black, white and a grey in three channels."""
    pixels = tf.constant([[0.0] * 3, [128.0] * 3, [255.0] * 3])
    return tuple(round(float(value), 3) for value in tf.reshape(scaling(pixels), [-1]))
