"""Random crops, among them the crop of SSD training (Liu et al. 2016, section 2.2, "Data augmentation")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from object_detection_ext.augment.checks import check_crop_range, check_probability
from object_detection_ext.augment.draw import uniform_integers
from object_detection_ext.augment.objects import (
    boxes_to_window,
    keypoints_to_window,
    overlap_with_window,
    select_objects,
    touches_window,
)
from object_detection_ext.types import Example

_MAX_ATTEMPTS = 100  # the API's; without a valid window the whole image is taken


@dataclass(frozen=True)
class RandomCrop:
    """Crops to a window that covers at least `min_object_covered` of some box, and keeps the boxes that are still visible.

    A box stays when it touches the window and at least `overlap_thresh` of its area lies inside.
    """

    min_object_covered: float = 1.0
    aspect_ratio_range: tuple[float, float] = (0.75, 1.33)
    area_range: tuple[float, float] = (0.1, 1.0)
    overlap_thresh: float = 0.3
    clip_boxes: bool = True
    random_coef: float = 0.0  # chance of keeping the image as it is

    def __post_init__(self) -> None:
        check_crop_range("min_aspect_ratio", "max_aspect_ratio", self.aspect_ratio_range)
        check_crop_range("min_area", "max_area", self.area_range, maximum=1.0)
        for name in ("min_object_covered", "overlap_thresh", "random_coef"):
            check_probability(name, getattr(self, name))

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        return SsdRandomCrop((self,))(example, seed)


_SSD_THRESHOLDS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
SSD_CROPS = tuple(
    RandomCrop(threshold, aspect_ratio_range=(0.5, 2.0), area_range=(0.1, 1.0), overlap_thresh=threshold, random_coef=0.15)
    for threshold in _SSD_THRESHOLDS
)
"""The API's default operations of `ssd_random_crop`."""


@dataclass(frozen=True)
class SsdRandomCrop:
    """One of the crops, each as likely as the others."""

    crops: tuple[RandomCrop, ...] = SSD_CROPS

    def __post_init__(self) -> None:
        if not self.crops:
            raise ValueError("operations must not be empty")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        which_seed, keep_seed, window_seed = tf.unstack(tf.random.split(seed, 3), num=3)
        choice = tf.random.stateless_uniform([], which_seed, 0, len(self.crops), tf.int32) if len(self.crops) > 1 else tf.constant(0)

        def pick(values: list[float] | list[bool]) -> tf.Tensor:
            return tf.constant(values[0]) if len(set(values)) == 1 else tf.gather(tf.constant(values), choice)

        def crop() -> Example:
            begin, size, window = self._sample_window(example, choice, pick, window_seed)
            overlap_thresh = pick([c.overlap_thresh for c in self.crops])
            clip = pick([c.clip_boxes for c in self.crops])
            return crop_example(example, begin, size, window=window, overlap_thresh=overlap_thresh, clip_boxes=clip)

        if all(c.random_coef == 0.0 for c in self.crops):
            return crop()
        keep_chance = pick([c.random_coef for c in self.crops])
        return tf.cond(tf.random.stateless_uniform([], keep_seed) > keep_chance, crop, lambda: example)

    def _sample_window(
        self, example: Example, choice: tf.Tensor, pick: Callable, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Begin [2] and size [2], int32 pixels, and the window [4], normalised.

        The sampling op takes its ranges as attributes: one call for each distinct pair of ranges (one for the default).
        """
        ranges = [(c.aspect_ratio_range, c.area_range) for c in self.crops]
        distinct = sorted(set(ranges))
        boxes = tf.clip_by_value(example.boxes, 0.0, 1.0)[tf.newaxis]
        min_object_covered = pick([c.min_object_covered for c in self.crops])

        def sample(aspect_ratio_range: tuple[float, float], area_range: tuple[float, float]) -> Callable:
            return lambda: tuple(
                tf.image.stateless_sample_distorted_bounding_box(
                    tf.shape(example.image),
                    boxes,
                    seed,
                    min_object_covered=min_object_covered,
                    aspect_ratio_range=aspect_ratio_range,
                    area_range=area_range,
                    max_attempts=_MAX_ATTEMPTS,
                    use_image_if_no_bounding_boxes=True,
                )
            )

        branches = [sample(*pair) for pair in distinct]
        group = tf.gather(tf.constant([distinct.index(pair) for pair in ranges]), choice)
        begin, size, window = branches[0]() if len(branches) == 1 else tf.switch_case(group, branches)
        return begin[:2], size[:2], tf.reshape(window, [4])


@dataclass(frozen=True)
class RandomCropToAspectRatio:
    """Crops the longer side, at a random place, so that width / height is `aspect_ratio`."""

    aspect_ratio: float = 1.0
    overlap_thresh: float = 0.3
    clip_boxes: bool = True

    def __post_init__(self) -> None:
        check_probability("overlap_thresh", self.overlap_thresh)
        if not self.aspect_ratio > 0.0:
            raise ValueError(f"aspect_ratio must be > 0, got {self.aspect_ratio:g}")

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        shape = tf.shape(example.image)[:2]
        height, width = tf.unstack(tf.cast(shape, tf.float32), num=2)
        wanted = tf.cast(tf.round([width / self.aspect_ratio, height * self.aspect_ratio]), tf.int32)
        size = tf.maximum(tf.minimum(shape, wanted), 1)
        begin = uniform_integers(seed, 0, shape - size + 1)
        window = tf.cast(tf.concat([begin, begin + size], 0), tf.float32) / tf.cast(tf.tile(shape, [2]), tf.float32)
        return crop_example(
            example,
            begin,
            size,
            window=window,
            overlap_thresh=self.overlap_thresh,
            clip_boxes=self.clip_boxes,
            keep_touching_only=False,
        )


@dataclass(frozen=True)
class SsdRandomCropFixedAspectRatio:
    """`SsdRandomCrop` (whose crops have the aspect ratio already, up to rounding), then the crop to exactly that ratio."""

    crop: SsdRandomCrop
    aspect_ratio: float = 1.0

    def __call__(self, example: Example, seed: tf.Tensor) -> Example:
        crop_seed, ratio_seed = tf.unstack(tf.random.split(seed, 2), num=2)
        return RandomCropToAspectRatio(self.aspect_ratio)(self.crop(example, crop_seed), ratio_seed)


def crop_example(
    example: Example,
    begin: tf.Tensor,
    size: tf.Tensor,
    *,
    window: tf.Tensor,
    overlap_thresh: tf.Tensor | float,
    clip_boxes: tf.Tensor | bool,
    keep_touching_only: bool = True,
) -> Example:
    """The part of the example inside a window, with the boxes that are visible enough, in the window's frame.

    Args:
        example: image [H, W, C] and N objects.
        begin: [2] int32, top and left pixel of the window.
        size: [2] int32, height and width of the window in pixels, at least 1.
        window: [4] float32, the same window normalised to the image.
        overlap_thresh: a box stays when this share of its area is inside.
        clip_boxes: whether boxes are clipped to the window (and keypoints outside become NaN and invisible).
        keep_touching_only: also drop boxes that do not touch the window (they would pass an overlap_thresh of 0).
    """
    keep = overlap_with_window(example.boxes, window) >= overlap_thresh  # False for NaN: a box without area
    if keep_touching_only:
        keep &= touches_window(example.boxes, window)
    kept = select_objects(example, tf.where(keep)[:, 0])
    boxes = boxes_to_window(kept.boxes, window)
    return keypoints_to_window(kept, window, hide_outside=clip_boxes)._replace(
        image=tf.slice(example.image, tf.concat([begin, [0]], 0), tf.concat([size, [-1]], 0)),
        boxes=tf.where(clip_boxes, tf.clip_by_value(boxes, 0.0, 1.0), boxes),
        masks=None if kept.masks is None else tf.slice(kept.masks, tf.concat([[0], begin], 0), tf.concat([[-1], size], 0)),
    )
