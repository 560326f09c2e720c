"""Operations of AutoAugment on the pixels inside of boxes; the boxes stay (Zoph et al. 2019, arXiv:1906.11172, section 3)."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from object_detection_ext.augment.draw import uniform_integers
from object_detection_ext.augment.erase import in_rectangle
from object_detection_ext.types import Example

ChangeContent = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""(pixels [h, w, 3] uint8, seed) -> pixels of the same shape."""


def change_box_contents(example: Example, seed: tf.Tensor, *, probability: float, change: ChangeContent) -> Example:
    """Changes what each box shows, with a third of the probability: boxes lie close to each other. In random order, as they may overlap."""
    order_seed, chance_seed, change_seed = tf.unstack(tf.random.split(seed, 3), num=3)
    begins, ends = _box_pixels(example)
    chances = tf.random.stateless_uniform(tf.shape(begins)[:1], chance_seed)
    chosen = (chances < probability / 3.0) & tf.reduce_all(begins < ends, axis=1)
    order = tf.random.experimental.stateless_shuffle(tf.where(chosen)[:, 0], order_seed)
    seeds = tf.random.split(change_seed, tf.maximum(tf.size(order), 1))

    def change_one(number: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        begin, end = begins[order[number]], ends[order[number]]
        content = change(tf.slice(image, tf.pad(begin, [[0, 1]]), tf.concat([end - begin, [-1]], 0)), seeds[number])
        paddings = tf.pad(tf.stack([begin, tf.shape(image)[:2] - end], axis=1), [[0, 1], [0, 0]])
        inside = in_rectangle(tf.shape(image)[:2], begin, end - begin)[..., tf.newaxis]
        return number + 1, tf.where(inside, tf.pad(content, paddings), image)

    shape = [None, None, example.image.shape[-1]]
    _, image = tf.while_loop(
        lambda number, _: number < tf.size(order),
        change_one,
        (tf.constant(0), example.image),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape(shape)),
    )
    return example._replace(image=image)


def cut_out_in_box(example: Example, seed: tf.Tensor, *, share: float, value: int) -> Example:
    """Fills a rectangle somewhere in one of the boxes, `share` of its height and width, with a value; the rectangle may leave the box."""
    which_seed, center_seed = tf.unstack(tf.random.split(seed, 2), num=2)

    def cut_out() -> tf.Tensor:
        begins, ends = _box_pixels(example)
        which = tf.random.stateless_uniform([], which_seed, 0, tf.shape(begins)[0], tf.int32)
        begin, end = begins[which], ends[which]
        half_size = tf.cast(share * tf.cast(end - begin, tf.float32) / 2.0, tf.int32)
        center = uniform_integers(center_seed, begin, end)
        inside = in_rectangle(tf.shape(example.image)[:2], center - half_size, 2 * half_size)
        return tf.where(inside[..., tf.newaxis], tf.constant(value, example.image.dtype), example.image)

    return example._replace(image=tf.cond(tf.shape(example.boxes)[0] > 0, cut_out, lambda: example.image))


def _box_pixels(example: Example) -> tuple[tf.Tensor, tf.Tensor]:
    """First pixels of the boxes and those behind the last ones, [N, 2] int32 each: every pixel that a box touches counts."""
    shape = tf.shape(example.image)[:2]
    corners = tf.cast(tf.clip_by_value(example.boxes, 0.0, 1.0) * tf.cast(tf.tile(shape, [2]), tf.float32), tf.int32)
    return corners[:, :2], tf.minimum(corners[:, 2:] + 1, shape)
