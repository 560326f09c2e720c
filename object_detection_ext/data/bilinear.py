"""TensorFlow 1's bilinear resize in numpy, for places that run a `.tflite` and must not load TensorFlow."""

from __future__ import annotations

import numpy as np


def resize_bilinear(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The same as `tf.raw_ops.ResizeBilinear(align_corners=False, half_pixel_centers=False)`, up to the rounding of one float32 operation.

    Output pixel i lies at input position `i * input size / output size`; its value is interpolated between the two pixels around it, and
    there is no antialiasing. Source: tensorflow/core/kernels/image/resize_bilinear_op.cc.

    Args:
        image: `[H, W, C]`, any real dtype.
        shape: height and width of the result.

    Returns:
        `[h, w, C]` float32.
    """
    top, bottom, y_weight = _positions(image.shape[0], shape[0])
    left, right, x_weight = _positions(image.shape[1], shape[1])
    x_weight = x_weight[:, np.newaxis]  # [w, 1]
    upper, lower = image[top], image[bottom]  # [h, W, C]: picked before the conversion, which is then cheap for large photos
    upper = _mix(upper[:, left].astype(np.float32), upper[:, right].astype(np.float32), x_weight)  # [h, w, C]
    lower = _mix(lower[:, left].astype(np.float32), lower[:, right].astype(np.float32), x_weight)
    return _mix(upper, lower, y_weight[:, np.newaxis, np.newaxis])


def _positions(input_size: int, output_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output pixel the input pixels before and after it, and the weight of the latter."""
    position = np.arange(output_size, dtype=np.float32) * (np.float32(input_size) / np.float32(output_size))
    floor = np.floor(position)
    before = np.minimum(floor.astype(np.int64), input_size - 1)
    return before, np.minimum(before + 1, input_size - 1), position - floor


def _mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return first + (second - first) * weight
