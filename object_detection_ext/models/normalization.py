"""From pixels to what a network was made for, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class PixelScaling:
    """`pixels * scale + offset`, per channel or for all; `inverse(scaling(x)) == x` up to rounding.

    Attributes:
        scale: one number, or one per channel.
        offset: one number, or one per channel.
    """

    scale: float | tuple[float, ...] = 1.0
    offset: float | tuple[float, ...] = 0.0

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """[..., C] float32 in [0, 255] -> [..., C] float32."""
        return images * tf.constant(self.scale) + tf.constant(self.offset)

    @property
    def limits(self) -> tuple[float, float] | None:
        """What pixels 0 and 255 become; None where channels differ."""
        black, white = (np.ravel(np.multiply(pixel, self.scale) + self.offset) for pixel in (0.0, 255.0))
        if np.ptp(black) > 0 or np.ptp(white) > 0:
            return None
        return float(black[0]), float(white[0])

    def inverse(self, inputs: tf.Tensor) -> tf.Tensor:
        """[..., C] float32 -> [..., C] float32 in [0, 255]."""
        return (inputs - tf.constant(self.offset)) / tf.constant(self.scale)


TO_MINUS_ONE_TO_ONE = PixelScaling(2.0 / 255.0, -1.0)
