"""What the geometric steps share: choosing objects and moving them into the frame of a window."""

from __future__ import annotations

import tensorflow as tf

from object_detection_ext.types import Example

_PER_IMAGE = ("image", "original_shape", "source_id")


def per_object(example: Example) -> dict[str, tf.Tensor]:
    """The fields that hold one value an object, [N, ...] each, by name; without those that the example does not carry."""
    return {name: values for name, values in example._asdict().items() if name not in _PER_IMAGE and values is not None}


def select_objects(example: Example, indices: tf.Tensor) -> Example:
    """The example with the objects `indices` ([N'] int) only; the image stays."""
    return example._replace(**{name: tf.gather(values, indices) for name, values in per_object(example).items()})


def boxes_to_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Boxes [N, 4] in the frame of `window` ([4], same units): the window's corners become (0, 0) and (1, 1)."""
    origin = tf.gather(window, [0, 1, 0, 1])
    size = tf.gather(window, [2, 3, 2, 3]) - origin
    return (boxes - origin) * (1.0 / size)


def keypoints_to_window(example: Example, window: tf.Tensor, *, hide_outside: tf.Tensor | bool) -> Example:
    """The example with its keypoints, if it has any, in the frame of `window` ([4], normalised to the image).

    With `hide_outside` (also as a [] bool) those outside the window become NaN and invisible.
    """
    if example.keypoints is None:
        return example
    moved = (example.keypoints - window[:2]) * (1.0 / (window[2:] - window[:2]))
    hidden = hide_points_outside(example._replace(keypoints=moved))
    visibilities = example.keypoint_visibilities
    if visibilities is not None:
        visibilities = tf.where(hide_outside, hidden.keypoint_visibilities, visibilities)
    return example._replace(keypoints=tf.where(hide_outside, hidden.keypoints, moved), keypoint_visibilities=visibilities)


def hide_points_outside(example: Example) -> Example:
    """The example with its keypoints outside [0, 1] set to NaN, the mark of an unlabelled point, and to invisible."""
    if example.keypoints is None:
        return example
    inside = tf.reduce_all((example.keypoints >= 0.0) & (example.keypoints <= 1.0), axis=-1)  # [N, P]; False for NaN
    keypoints = tf.where(inside[..., tf.newaxis], example.keypoints, float("nan"))
    visibilities = example.keypoint_visibilities
    return example._replace(keypoints=keypoints, keypoint_visibilities=None if visibilities is None else visibilities & inside)


def overlap_with_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Share of each box's area that lies inside the window: [N] float32 in [0, 1], NaN for a box without area."""
    low = tf.maximum(boxes[:, :2], window[:2])
    high = tf.minimum(boxes[:, 2:], window[2:])
    sides = boxes[:, 2:] - boxes[:, :2]
    return tf.reduce_prod(tf.maximum(high - low, 0.0), axis=1) / tf.reduce_prod(sides, axis=1)


def touches_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """[N] bool: the box shares more than an edge with the window."""
    return tf.reduce_all((boxes[:, :2] < window[2:]) & (boxes[:, 2:] > window[:2]), axis=1)
