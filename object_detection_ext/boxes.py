"""Box maths: pure functions on `[..., 4]` float32 tensors of corners `[y_min, x_min, y_max, x_max]`.

Pairwise functions take `[..., N, 4]` and `[..., M, 4]` (leading dimensions broadcast) and return `[..., N, M]`; paired functions take two
`[..., 4]` of one shape and return `[...]`. No unit is assumed except by the flips (normalised to [0, 1]).
"""

from __future__ import annotations

import tensorflow as tf


def area(boxes: tf.Tensor) -> tf.Tensor:
    """`[..., 4] -> [...]`; negative for a box with exactly one pair of corners swapped."""
    y_min, x_min, y_max, x_max = tf.unstack(boxes, axis=-1)
    return (y_max - y_min) * (x_max - x_min)


def intersection(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Pairwise intersection areas: `[..., N, 4], [..., M, 4] -> [..., N, M]`."""
    return _overlap(boxes[..., :, tf.newaxis, :], others[..., tf.newaxis, :, :])


def iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Pairwise intersection over union: `[..., N, 4], [..., M, 4] -> [..., N, M]`, 0 where boxes do not overlap."""
    return _over_union(intersection(boxes, others), area(boxes)[..., :, tf.newaxis], area(others)[..., tf.newaxis, :])


def ioa(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Pairwise intersection over the area of `others`: `[..., N, 4], [..., M, 4] -> [..., N, M]`; not symmetric, 0 where that area is 0."""
    return tf.math.divide_no_nan(intersection(boxes, others), area(others)[..., tf.newaxis, :])


def squared_distance(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Pairwise squared Euclidean distance of the four coordinates: `[..., N, 4], [..., M, 4] -> [..., N, M]`."""
    norms = tf.reduce_sum(tf.square(boxes), axis=-1)[..., :, tf.newaxis]
    other_norms = tf.reduce_sum(tf.square(others), axis=-1)[..., tf.newaxis, :]
    return norms + other_norms - 2.0 * tf.matmul(boxes, others, transpose_b=True)


def paired_iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Intersection over union of corresponding boxes: `[..., 4], [..., 4] -> [...]`."""
    return _over_union(_overlap(boxes, others), area(boxes), area(others))


def paired_giou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Generalised IoU of corresponding boxes, in [-1, 1]: `[..., 4], [..., 4] -> [...]`.

    `IoU - (hull - union) / hull` with the smallest enclosing box as hull (Rezatofighi et al., CVPR 2019, algorithm 1); 0 for an empty hull.
    """
    overlap = _overlap(boxes, others)
    union = area(boxes) + area(others) - overlap
    hull_min = tf.minimum(boxes[..., :2], others[..., :2])
    hull_max = tf.maximum(boxes[..., 2:], others[..., 2:])
    hull = tf.reduce_prod(hull_max - hull_min, axis=-1)
    overlap_ratio = tf.math.divide_no_nan(overlap, union)
    return tf.where(hull > 0.0, overlap_ratio - tf.math.divide_no_nan(hull - union, hull), 0.0)


def clip(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Clips `[..., 4]` boxes to a window `[4]` (or anything `[..., 4]` that broadcasts); a box outside ends up empty on its border."""
    low = tf.concat([window[..., :2]] * 2, axis=-1)
    high = tf.concat([window[..., 2:]] * 2, axis=-1)
    return tf.maximum(tf.minimum(boxes, high), low)


def change_coordinate_frame(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Boxes relative to `window` (`[4]` or broadcasting): its top left corner becomes (0, 0), its bottom right corner (1, 1)."""
    origin = tf.concat([window[..., :2]] * 2, axis=-1)
    size = tf.concat([window[..., 2:] - window[..., :2]] * 2, axis=-1)
    return (boxes - origin) * (1.0 / size)


def flip_left_right(boxes: tf.Tensor) -> tf.Tensor:
    """Mirrors normalised `[..., 4]` boxes at the vertical axis of the image; its own inverse."""
    y_min, x_min, y_max, x_max = tf.unstack(boxes, axis=-1)
    return tf.stack([y_min, 1.0 - x_max, y_max, 1.0 - x_min], axis=-1)


def flip_up_down(boxes: tf.Tensor) -> tf.Tensor:
    """Mirrors normalised `[..., 4]` boxes at the horizontal axis of the image; its own inverse."""
    y_min, x_min, y_max, x_max = tf.unstack(boxes, axis=-1)
    return tf.stack([1.0 - y_max, x_min, 1.0 - y_min, x_max], axis=-1)


def corners_to_centers(boxes: tf.Tensor) -> tf.Tensor:
    """`[y_min, x_min, y_max, x_max] -> [y_center, x_center, height, width]`; inverse of `centers_to_corners`."""
    y_min, x_min, y_max, x_max = tf.unstack(boxes, axis=-1)
    height, width = y_max - y_min, x_max - x_min
    return tf.stack([y_min + height / 2.0, x_min + width / 2.0, height, width], axis=-1)


def centers_to_corners(centers: tf.Tensor) -> tf.Tensor:
    """`[y_center, x_center, height, width] -> [y_min, x_min, y_max, x_max]`; inverse of `corners_to_centers`."""
    y_center, x_center, height, width = tf.unstack(centers, axis=-1)
    half_height, half_width = height / 2.0, width / 2.0
    return tf.stack([y_center - half_height, x_center - half_width, y_center + half_height, x_center + half_width], axis=-1)


def _overlap(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Intersection areas of broadcasting `[..., 4]` boxes -> `[...]`."""
    y_min, x_min, y_max, x_max = tf.unstack(boxes, axis=-1)
    other_y_min, other_x_min, other_y_max, other_x_max = tf.unstack(others, axis=-1)
    height = tf.nn.relu(tf.minimum(y_max, other_y_max) - tf.maximum(y_min, other_y_min))
    width = tf.nn.relu(tf.minimum(x_max, other_x_max) - tf.maximum(x_min, other_x_min))
    return height * width


def _over_union(overlap: tf.Tensor, areas: tf.Tensor, other_areas: tf.Tensor) -> tf.Tensor:
    # Whatever overlaps has a union > 0, so a zero union is "no overlap" and needs no second test.
    return tf.math.divide_no_nan(overlap, areas + other_areas - overlap)
