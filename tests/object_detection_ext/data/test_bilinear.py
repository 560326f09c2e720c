"""The numpy resize against TensorFlow's kernel and by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.data.bilinear import resize_bilinear


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((480, 360), (320, 320)),
        ((37, 53), (300, 300)),
        ((1, 1), (4, 5)),
        ((300, 300), (300, 300)),
        ((1207, 1999), (160, 96)),
        ((5, 7), (1, 1)),
    ],
    ids=["smaller", "larger", "one pixel", "the same", "large", "to one pixel"],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_equals_tensorflow(size: tuple[int, int], shape: tuple[int, int], dtype: type) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(dtype)
    expected = tf.raw_ops.ResizeBilinear(images=image[np.newaxis], size=shape, align_corners=False, half_pixel_centers=False)[0].numpy()
    result = resize_bilinear(image, shape)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=3.1e-5)  # one rounding at 255


def test_by_hand() -> None:
    image = np.array([[0, 10], [20, 30]], np.uint8)[..., np.newaxis]
    expected = [[0, 5, 10, 10], [10, 15, 20, 20], [20, 25, 30, 30], [20, 25, 30, 30]]  # top-left grid: the last pixel is repeated
    np.testing.assert_array_equal(resize_bilinear(image, (4, 4))[..., 0], expected)


def test_needs_no_tensorflow() -> None:
    code = "import sys, object_detection_ext.data.bilinear; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
