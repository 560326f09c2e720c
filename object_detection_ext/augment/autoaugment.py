"""AutoAugment for object detection: sub-policies of operations that were found by search (Zoph et al. 2019, arXiv:1906.11172)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from object_detection_ext.augment import enhance
from object_detection_ext.augment.box_contents import ChangeContent, change_box_contents, cut_out_in_box
from object_detection_ext.augment.colour import as_float
from object_detection_ext.augment.draw import uniform_integers
from object_detection_ext.augment.erase import in_rectangle
from object_detection_ext.augment.policies import POLICIES, Operation, SubPolicy
from object_detection_ext.augment.warp import GREY, Affine, rotation, shear, translation, warp_example, warp_image
from object_detection_ext.types import Example


@dataclass(frozen=True)
class AutoAugmentImage:
    """Draws one sub-policy and applies its operations in order, each with its probability. Works on uint8, gives float32."""

    policy_name: str = "v0"

    def __post_init__(self) -> None:
        if self.policy_name not in POLICIES:
            raise ValueError(f"policy_name must be one of {', '.join(POLICIES)}, got {self.policy_name!r}")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        policy = POLICIES[self.policy_name]
        which_seed, apply_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        choice = tf.random.stateless_uniform([], which_seed, 0, len(policy), tf.int32)
        example = example._replace(image=tf.cast(example.image, tf.uint8))
        example = tf.switch_case(choice, [partial(apply_sub_policy, sub_policy, example, apply_seed) for sub_policy in policy])
        return example._replace(image=tf.ensure_shape(as_float(example.image), [None, None, 3]))


def apply_sub_policy(sub_policy: SubPolicy, example: Example, seed: tf.Tensor) -> Example:
    """The operations in order; image [H, W, 3] uint8."""
    seeds = tf.unstack(tf.random.split(seed, len(sub_policy)), num=len(sub_policy))
    for operation, operation_seed in zip(sub_policy, seeds, strict=True):
        if operation.probability > 0.0:
            example = apply_operation(operation, example, operation_seed)
    return example


def apply_operation(operation: Operation, example: Example, seed: tf.Tensor) -> Example:
    """The operation with its probability: on the whole example, or (`..._Only_BBoxes`) on what each box shows, each box by itself."""
    first_seed, second_seed = tf.unstack(tf.random.split(seed, 2), num=2)
    level = operation.magnitude / 10
    if operation.name in _ON_BOX_CONTENTS:
        change = _ON_BOX_CONTENTS[operation.name](level, _random_sign(first_seed))
        return change_box_contents(example, second_seed, probability=operation.probability, change=change)
    chosen = tf.random.stateless_uniform([], first_seed) < operation.probability
    return tf.cond(chosen, lambda: _ON_EXAMPLES[operation.name](example, level, second_seed), lambda: example)


def _random_sign(seed: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.random.stateless_uniform([], seed) < 0.5, -1.0, 1.0)


def _moved(level: float, sign: tf.Tensor, *, axis: int, pixels: int) -> Affine:
    return translation(-sign * level * pixels * tf.one_hot(axis, 2))


def _sheared(level: float, sign: tf.Tensor, *, axis: int) -> Affine:
    return shear(sign * level * 0.3, axis=axis)


def _rotated(level: float, sign: tf.Tensor) -> Affine:
    return rotation(sign * level * 30.0)


def _cut_out(image: tf.Tensor, seed: tf.Tensor, *, half_side: int) -> tf.Tensor:
    """A grey square about any pixel (DeVries and Taylor 2017, arXiv:1708.04552)."""
    shape = tf.shape(image)[:2]
    begin = uniform_integers(seed, 0, shape) - half_side
    inside = in_rectangle(shape, begin, tf.constant([2 * half_side, 2 * half_side]))
    return tf.where(inside[..., tf.newaxis], tf.constant(GREY, image.dtype), image)


_OnExample = Callable[[Example, float, tf.Tensor], Example]
_OnContents = Callable[[float, tf.Tensor], ChangeContent]


def _recolor(change: Callable[[tf.Tensor, float], tf.Tensor]) -> _OnExample:
    return lambda example, level, seed: example._replace(image=change(example.image, level))


def _warp(affine: Callable[[float, tf.Tensor], Affine]) -> _OnExample:
    return lambda example, level, seed: warp_example(example, affine(level, _random_sign(seed)))


def _warp_contents(affine: Callable[[float, tf.Tensor], Affine]) -> _OnContents:
    return lambda level, sign: lambda content, seed: warp_image(content, affine(level, sign))


def _factor(level: float) -> float:
    return level * 1.8 + 0.1


# A level is a magnitude divided by 10.
_ON_EXAMPLES: dict[str, _OnExample] = {
    "AutoContrast": _recolor(lambda image, level: enhance.autocontrast(image)),
    "Equalize": _recolor(lambda image, level: enhance.equalize(image)),
    "Posterize": _recolor(lambda image, level: enhance.posterize(image, int(level * 4))),
    "Solarize": _recolor(lambda image, level: enhance.solarize(image, int(level * 256))),
    "SolarizeAdd": _recolor(lambda image, level: enhance.solarize_add(image, int(level * 110))),
    "Color": _recolor(lambda image, level: enhance.color(image, _factor(level))),
    "Contrast": _recolor(lambda image, level: enhance.contrast(image, _factor(level))),
    "Brightness": _recolor(lambda image, level: enhance.brightness(image, _factor(level))),
    "Sharpness": _recolor(lambda image, level: enhance.sharpness(image, _factor(level))),
    "Cutout": lambda example, level, seed: example._replace(image=_cut_out(example.image, seed, half_side=int(level * 100))),
    "BBox_Cutout": lambda example, level, seed: cut_out_in_box(example, seed, share=level * 0.75, value=GREY),
    "TranslateX_BBox": _warp(partial(_moved, axis=1, pixels=250)),
    "TranslateY_BBox": _warp(partial(_moved, axis=0, pixels=250)),
    "ShearX_BBox": _warp(partial(_sheared, axis=1)),
    "ShearY_BBox": _warp(partial(_sheared, axis=0)),
    "Rotate_BBox": _warp(_rotated),
}
_ON_BOX_CONTENTS: dict[str, _OnContents] = {
    "TranslateY_Only_BBoxes": _warp_contents(partial(_moved, axis=0, pixels=120)),
    "ShearX_Only_BBoxes": _warp_contents(partial(_sheared, axis=1)),
    "ShearY_Only_BBoxes": _warp_contents(partial(_sheared, axis=0)),
    "Flip_Only_BBoxes": lambda level, sign: lambda content, seed: tf.reverse(content, axis=[1]),
    "Equalize_Only_BBoxes": lambda level, sign: lambda content, seed: enhance.equalize(content),
    "Cutout_Only_BBoxes": lambda level, sign: partial(_cut_out, half_side=int(level * 50)),
}
