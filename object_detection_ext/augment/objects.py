"""What the geometric steps share: choosing objects and moving them into the frame of a window."""

from __future__ import annotations

import tensorflow as tf

from object_detection_ext.types import Example


def select_objects(example: Example, indices: tf.Tensor) -> Example:
    """The example with the objects `indices` ([N'] int) only; the image stays."""

    def choose(values: tf.Tensor | None) -> tf.Tensor | None:
        return None if values is None else tf.gather(values, indices)

    return example._replace(
        boxes=tf.gather(example.boxes, indices),
        classes=tf.gather(example.classes, indices),
        weights=tf.gather(example.weights, indices),
        is_crowd=tf.gather(example.is_crowd, indices),
        difficult=tf.gather(example.difficult, indices),
        area=tf.gather(example.area, indices),
        masks=choose(example.masks),
        keypoints=choose(example.keypoints),
    )


def boxes_to_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Boxes [N, 4] in the frame of `window` ([4], same units): the window's corners become (0, 0) and (1, 1)."""
    origin = tf.gather(window, [0, 1, 0, 1])
    size = tf.gather(window, [2, 3, 2, 3]) - origin
    return (boxes - origin) * (1.0 / size)


def points_to_window(points: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Points [N, P, 2] as (y, x) in the frame of `window` ([4])."""
    return (points - window[:2]) * (1.0 / (window[2:] - window[:2]))


def hide_points_outside(points: tf.Tensor) -> tf.Tensor:
    """Points [N, P, 2] with those outside [0, 1] set to NaN, the mark of an unlabelled point."""
    inside = tf.reduce_all((points >= 0.0) & (points <= 1.0), axis=-1, keepdims=True)
    return tf.where(inside, points, tf.fill(tf.shape(points), float("nan")))


def overlap_with_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Share of each box's area that lies inside the window: [N] float32 in [0, 1], NaN for a box without area."""
    low = tf.maximum(boxes[:, :2], window[:2])
    high = tf.minimum(boxes[:, 2:], window[2:])
    sides = boxes[:, 2:] - boxes[:, :2]
    return tf.reduce_prod(tf.maximum(high - low, 0.0), axis=1) / tf.reduce_prod(sides, axis=1)


def touches_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """[N] bool: the box shares more than an edge with the window."""
    return tf.reduce_all((boxes[:, :2] < window[2:]) & (boxes[:, 2:] > window[:2]), axis=1)
