"""The colour operations of AutoAugment, on uint8 images [H, W, 3]: those of PIL's ImageOps and ImageEnhance, rounded as in the API.

Model Garden has most of them (`official.vision.ops.augment`), but another contrast, and a posterize that shifts 8 bits by 8 where a policy
says so, which devices do differently. Loading it takes over a second.
"""

from __future__ import annotations

import tensorflow as tf


def blend(degenerate: tf.Tensor, image: tf.Tensor, factor: float) -> tf.Tensor:
    """From the degenerate image (factor 0) over the image (1) to beyond it; both [H, W, 3] uint8, broadcast."""
    start = tf.cast(degenerate, tf.float32)
    return _to_uint8(start + factor * (tf.cast(image, tf.float32) - start))


def color(image: tf.Tensor, factor: float) -> tf.Tensor:
    """0: grey, 1: the image."""
    return blend(tf.image.rgb_to_grayscale(image), image, factor)


def brightness(image: tf.Tensor, factor: float) -> tf.Tensor:
    """0: black, 1: the image."""
    return blend(tf.zeros([1, 1, 1], tf.uint8), image, factor)


def contrast(image: tf.Tensor, factor: float) -> tf.Tensor:
    """0: a grey, 1: the image.

    PIL's grey is the mean. The policies were found with another one, which counts here too: the number of pixels divided by 256, so that it
    is white for images of 65,280 pixels and more.
    """
    num_pixels = tf.cast(tf.reduce_prod(tf.shape(image)[:2]), tf.float32)
    return blend(_to_uint8(num_pixels / 256.0), image, factor)


def sharpness(image: tf.Tensor, factor: float) -> tf.Tensor:
    """0: smoothed by PIL's 3 x 3 kernel, the outermost pixels as they are; 1: the image."""
    kernel = tf.constant([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]])[..., tf.newaxis, tf.newaxis]
    pixels = tf.cast(image, tf.float32)[tf.newaxis]
    sums = tf.nn.depthwise_conv2d(pixels, tf.repeat(kernel, 3, axis=2), [1, 1, 1, 1], "VALID")[0]  # whole numbers, so exact
    smooth = _to_uint8(sums / 13.0)
    inside = tf.pad(tf.ones_like(smooth, tf.bool), [[1, 1], [1, 1], [0, 0]])
    return blend(tf.where(inside, tf.pad(smooth, [[1, 1], [1, 1], [0, 0]]), image), image, factor)


def autocontrast(image: tf.Tensor) -> tf.Tensor:
    """Stretches each channel so that its darkest value becomes 0 and its brightest 255; a channel of one value stays."""
    low = tf.cast(tf.reduce_min(image, axis=[0, 1]), tf.float32)  # [3]
    high = tf.cast(tf.reduce_max(image, axis=[0, 1]), tf.float32)
    scale = 255.0 / (high - low)
    stretched = tf.cast(image, tf.float32) * scale - low * scale
    return tf.where(high > low, _to_uint8(tf.where(high > low, stretched, 0.0)), image)


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Spreads the values of each channel so that their histogram is flat; a channel with too few values to do so stays."""
    channels = tf.transpose(tf.reshape(tf.cast(image, tf.int32), [-1, 3]))  # [3, H W]
    histogram = tf.math.bincount(channels, minlength=256, maxlength=256, axis=-1)  # [3, 256]
    brightest = tf.reduce_max(channels, axis=1, keepdims=True)
    step = (tf.shape(channels)[1] - tf.gather(histogram, brightest, batch_dims=1)) // 255  # [3, 1]
    below = tf.cumsum(histogram, axis=1, exclusive=True)
    spread = tf.minimum((below + step // 2) // tf.maximum(step, 1), 255)
    table = tf.where(step > 0, spread, tf.range(256))
    return tf.cast(tf.reshape(tf.transpose(tf.gather(table, channels, batch_dims=1)), tf.shape(image)), tf.uint8)


def posterize(image: tf.Tensor, bits: int) -> tf.Tensor:
    """Keeps the highest bits of each value, at least one."""
    return tf.bitwise.bitwise_and(image, tf.constant(256 - 2 ** (8 - max(bits, 1)), tf.uint8))


def solarize(image: tf.Tensor, threshold: int) -> tf.Tensor:
    """Inverts the values from the threshold on."""
    return tf.where(tf.cast(image, tf.int32) < threshold, image, 255 - image)


def solarize_add(image: tf.Tensor, addition: int) -> tf.Tensor:
    """Adds to the values below 128, up to 255."""
    return tf.where(image < 128, _to_uint8(tf.cast(image, tf.float32) + addition), image)


def _to_uint8(values: tf.Tensor) -> tf.Tensor:
    """Clips, then cuts off the fraction."""
    return tf.cast(tf.clip_by_value(values, 0.0, 255.0), tf.uint8)
