"""Translation, shear and rotation of whole examples, as AutoAugment defines them: nearest pixels, grey where nothing was.

Zoph et al. 2019, "Learning Data Augmentation Strategies for Object Detection", arXiv:1906.11172.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from object_detection_ext.augment.objects import hide_points_outside
from object_detection_ext.types import Example

GREY = 128  # of the pixels that nothing was moved to
_MIN_SIDE = 0.05  # of a box that was left without height or width


class Affine(NamedTuple):
    """Where points (y, x), in pixels, go: `forward @ (point - origin) + origin + shift`, and `backward` is the inverse of `forward`."""

    forward: tf.Tensor  # [2, 2] float32
    backward: tf.Tensor  # [2, 2] float32
    shift: tf.Tensor  # [2] float32
    about_center: bool = False  # the origin: the image's centre, else its top left corner


def translation(shift: tf.Tensor) -> Affine:
    """Moves by `shift`, [2] float32, pixels in y and x."""
    return Affine(tf.eye(2), tf.eye(2), shift)


def shear(level: tf.Tensor, *, axis: int) -> Affine:
    """Moves rows (axis 1: along x) or columns (axis 0: along y) by minus `level` pixels for each pixel from the top or the left."""
    unit = tf.constant([[0.0, 1.0], [0.0, 0.0]] if axis == 0 else [[0.0, 0.0], [1.0, 0.0]])
    return Affine(tf.eye(2) - level * unit, tf.eye(2) + level * unit, tf.zeros([2]))


def rotation(degrees: tf.Tensor) -> Affine:
    """Turns about the image's centre, counter-clockwise as one sees it."""
    radians = degrees * (math.pi / 180.0)
    cosine, sine = tf.cos(radians), tf.sin(radians)
    forward = tf.stack([tf.stack([cosine, -sine]), tf.stack([sine, cosine])])
    return Affine(forward, tf.transpose(forward), tf.zeros([2]), about_center=True)


def warp_example(example: Example, affine: Affine) -> Example:
    """Moves image (uint8), boxes, masks and keypoints. Keypoints that leave the image become NaN.

    Boxes become the boxes around their moved corners, clipped to the image. As in the API no object is dropped: a box that leaves the image
    stays at its edge, 0.05 of the image wide or high.
    """
    shape = tf.cast(tf.shape(example.image)[:2], tf.float32)
    moved = example._replace(image=warp_image(example.image, affine), boxes=_warp_boxes(example.boxes, affine, shape))
    if example.masks is not None:
        moved = moved._replace(masks=_warp(example.masks[..., tf.newaxis], affine, fill=0)[..., 0])
    if example.keypoints is not None:
        origin = shape / 2.0 if affine.about_center else tf.constant([0.5, 0.5])  # the middle of the first pixel
        points = tf.einsum("ij,npj->npi", affine.forward, example.keypoints * shape - origin) + origin + affine.shift
        moved = hide_points_outside(moved._replace(keypoints=points / shape))
    return moved


def warp_image(image: tf.Tensor, affine: Affine) -> tf.Tensor:
    """Moves the pixels of one image, [H, W, C] uint8."""
    return _warp(image[tf.newaxis], affine, fill=GREY)[0]


def _warp(images: tf.Tensor, affine: Affine, *, fill: int) -> tf.Tensor:
    """[B, H, W, C], moved; `fill` where nothing was."""
    shape = tf.shape(images)[1:3]
    middle = (tf.cast(shape, tf.float32) - 1.0) / 2.0 if affine.about_center else tf.zeros([2])  # as an index of pixels
    offset = middle - tf.linalg.matvec(affine.backward, middle + affine.shift)
    ((yy, yx), (xy, xx)), (y, x) = (tf.unstack(row, num=2) for row in tf.unstack(affine.backward, num=2)), tf.unstack(offset, num=2)
    # The kernel asks for the way back, from result to source, with x before y.
    transform = tf.stack([xx, xy, x, yx, yy, y, 0.0, 0.0])[tf.newaxis]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=transform, output_shape=shape, fill_value=float(fill), interpolation="NEAREST", fill_mode="CONSTANT"
    )


def _warp_boxes(boxes: tf.Tensor, affine: Affine, shape: tf.Tensor) -> tf.Tensor:
    """[N, 4] normalised; corners are cut to whole pixels before and after the move, as in the API."""
    origin = 0.5 if affine.about_center else 0.0
    corners = tf.gather(boxes, [[0, 1], [0, 3], [2, 1], [2, 3]], axis=1)  # [N, 4, 2]
    pixels = _truncated(shape * (corners - origin))
    moved = _truncated(tf.einsum("ij,ncj->nci", affine.forward, pixels)) + affine.shift
    low, high = (tf.clip_by_value(reduce(moved, axis=1) / shape + origin, 0.0, 1.0) for reduce in (tf.reduce_min, tf.reduce_max))
    flat = low == high
    low = tf.where(flat, tf.minimum(low, 1.0 - _MIN_SIDE), low)
    high = tf.where(flat, tf.maximum(high, _MIN_SIDE), high)
    return tf.concat([low, high], axis=1)


def _truncated(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(values, tf.int32), tf.float32)
