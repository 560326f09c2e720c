"""`train_config.data_augmentation_options` -> an augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from object_detection_ext.augment.autoaugment import AutoAugmentImage
from object_detection_ext.augment.colour import (
    AdjustGamma,
    NormalizeImage,
    RandomAdjustBrightness,
    RandomAdjustContrast,
    RandomAdjustHue,
    RandomAdjustSaturation,
    RandomDistortColor,
    RandomPixelValueScale,
    RandomRgbToGray,
    RgbToGray,
    SubtractChannelMean,
)
from object_detection_ext.augment.crop import (
    SSD_CROPS,
    RandomCrop,
    RandomCropToAspectRatio,
    SsdRandomCrop,
    SsdRandomCropFixedAspectRatio,
)
from object_detection_ext.augment.erase import RandomBlackPatches, RandomJpegQuality, RandomPatchGaussian
from object_detection_ext.augment.geometric import RandomHorizontalFlip, RandomRotation90, RandomVerticalFlip
from object_detection_ext.augment.labels import DropLabel, JitterMode, RandomJitterBoxes, RemapLabels
from object_detection_ext.augment.mix import RandomSelfConcatImage
from object_detection_ext.augment.pad import (
    SSD_CROP_PADS,
    Color,
    RandomAbsolutePadImage,
    RandomCropPad,
    RandomPadImage,
    SsdRandomCropPad,
    SsdRandomCropPadFixedAspectRatio,
)
from object_detection_ext.augment.pipeline import Augmentation, AugmentationStep
from object_detection_ext.augment.scale import RandomDownscaleToTargetPixels, RandomImageScale, RandomResizeMethod, ResizeImage
from object_detection_ext.augment.square import RandomScaleCropAndPadToSquare, RandomSquareCropByScale
from object_detection_ext.builders.fields import errors_at
from object_detection_ext.config_support import NOT_SUPPORTED
from object_detection_ext.data.resize import ResizeMethod
from object_detection_ext.errors import InputError
from object_detection_ext.protos import preprocessor_pb2 as pb

Operation = TypeVar("Operation")

FIELD = "train_config.data_augmentation_options"

_METHODS: dict[int, ResizeMethod] = {
    pb.ResizeImage.BILINEAR: "bilinear",
    pb.ResizeImage.NEAREST_NEIGHBOR: "nearest_neighbor",
    pb.ResizeImage.BICUBIC: "bicubic",
    pb.ResizeImage.AREA: "area",
}


def build_augmentation(options: Iterable[pb.PreprocessingStep]) -> Augmentation:
    """The steps that the options name, in their order.

    Raises:
        InputError: names the field of a step that is empty, not supported or has impossible settings.
    """
    return Augmentation(tuple(_build_step(option, f"{FIELD}[{index}]") for index, option in enumerate(options)))


def _build_step(option: pb.PreprocessingStep, path: str) -> AugmentationStep:
    kind = option.WhichOneof("preprocessing_step")
    if kind is None:
        raise InputError(f"{path} must hold one of {', '.join(_STEPS)}")
    if kind not in _STEPS:
        raise InputError(f"{path}.{kind} is not supported: {NOT_SUPPORTED[f'PreprocessingStep.{kind}']}")
    with errors_at(f"{path}.{kind}"):
        return _STEPS[kind](getattr(option, kind))


def _same_settings(step: Callable[..., AugmentationStep]) -> Callable[[Any], AugmentationStep]:
    """For steps whose settings have the names of the message's fields."""
    return lambda m: step(**{field.name: getattr(m, field.name) for field in m.DESCRIPTOR.fields})


def _crop(m: Any, aspect_ratio: float | None = None) -> RandomCrop:
    return RandomCrop(
        min_object_covered=m.min_object_covered,
        aspect_ratio_range=(m.min_aspect_ratio, m.max_aspect_ratio) if aspect_ratio is None else (aspect_ratio, aspect_ratio),
        area_range=(m.min_area, m.max_area),
        overlap_thresh=m.overlap_thresh,
        clip_boxes=m.clip_boxes,
        random_coef=m.random_coef,
    )


def _operations(m: Any, build: Callable[[Any], Operation]) -> tuple[Operation, ...]:
    """One object per `operations`, with the index in the errors."""
    built = []
    for index, operation in enumerate(m.operations):
        try:
            built.append(build(operation))
        except ValueError as error:
            raise ValueError(f"operations[{index}].{error}") from error
    return tuple(built)


def _crop_pad(m: Any, color: Color | None) -> RandomCropPad:
    return RandomCropPad(
        _crop(m),
        min_padded_size_ratio=_pair(m, "min_padded_size_ratio", (1.0, 1.0)),
        max_padded_size_ratio=_pair(m, "max_padded_size_ratio", (2.0, 2.0)),
        pad_color=color,
    )


def _pair(m: Any, name: str, default: tuple[float, float]) -> tuple[float, float]:
    values = tuple(getattr(m, name))
    if len(values) not in (0, 2):
        raise ValueError(f"{name} must have 2 values (height, width) or none, got {len(values)}")
    return (values[0], values[1]) if values else default


def _color(m: Any) -> Color | None:
    values = tuple(m.pad_color)
    if len(values) not in (0, 3):
        raise ValueError(f"pad_color must have 3 values (RGB) or none, got {len(values)}")
    return (values[0], values[1], values[2]) if values else None


def _image_size(m: Any, height: str, width: str) -> tuple[int, int] | None:
    if m.HasField(height) != m.HasField(width):
        raise ValueError(f"{height} and {width} must both be set, or neither")
    return (getattr(m, height), getattr(m, width)) if m.HasField(height) else None


def _pad_image(m: pb.RandomPadImage) -> RandomPadImage:
    return RandomPadImage(
        min_image_size=_image_size(m, "min_image_height", "min_image_width"),
        max_image_size=_image_size(m, "max_image_height", "max_image_width"),
        pad_color=_color(m),
    )


def _ssd_crop_fixed_aspect_ratio(m: pb.SSDRandomCropFixedAspectRatio) -> SsdRandomCropFixedAspectRatio:
    ratio = (m.aspect_ratio, m.aspect_ratio)
    crops = _operations(m, lambda operation: _crop(operation, m.aspect_ratio))
    return SsdRandomCropFixedAspectRatio(
        SsdRandomCrop(crops or tuple(replace(crop, aspect_ratio_range=ratio) for crop in SSD_CROPS)), aspect_ratio=m.aspect_ratio
    )


def _ssd_crop_pad(m: pb.SSDRandomCropPad) -> SsdRandomCropPad:
    """As in the API, operations of the config pad with black where they set no color, the default ones with the mean."""
    return SsdRandomCropPad(
        _operations(m, lambda op: _crop_pad(op, (op.pad_color_r, op.pad_color_g, op.pad_color_b))) or SSD_CROP_PADS,
    )


def _ssd_crop_pad_fixed_aspect_ratio(m: pb.SSDRandomCropPadFixedAspectRatio) -> SsdRandomCropPadFixedAspectRatio:
    return SsdRandomCropPadFixedAspectRatio(
        SsdRandomCrop(_operations(m, _crop) or SSD_CROPS),
        aspect_ratio=m.aspect_ratio,
        min_padded_size_ratio=_pair(m, "min_padded_size_ratio", (1.0, 1.0)),
        max_padded_size_ratio=_pair(m, "max_padded_size_ratio", (2.0, 2.0)),
    )


def _subtract_channel_mean(m: pb.SubtractChannelMean) -> SubtractChannelMean:
    if len(m.means) != 3:
        raise ValueError(f"means must have 3 values (RGB), got {len(m.means)}")
    return SubtractChannelMean((m.means[0], m.means[1], m.means[2]))


def _jitter_boxes(m: pb.RandomJitterBoxes) -> RandomJitterBoxes:
    return RandomJitterBoxes(m.ratio, mode=_JITTER_MODES[m.jitter_mode])


_JITTER_MODES: dict[int, JitterMode] = {
    pb.RandomJitterBoxes.DEFAULT: "default",
    pb.RandomJitterBoxes.EXPAND: "expand",
    pb.RandomJitterBoxes.SHRINK: "shrink",
    pb.RandomJitterBoxes.EXPAND_SYMMETRIC: "expand_symmetric",
    pb.RandomJitterBoxes.SHRINK_SYMMETRIC: "shrink_symmetric",
    pb.RandomJitterBoxes.EXPAND_SYMMETRIC_XY: "expand_symmetric_xy",
    pb.RandomJitterBoxes.SHRINK_SYMMETRIC_XY: "shrink_symmetric_xy",
}


_STEPS: dict[str, Callable[[Any], AugmentationStep]] = {
    "normalize_image": _same_settings(NormalizeImage),
    "random_horizontal_flip": lambda m: RandomHorizontalFlip(m.probability, tuple(m.keypoint_flip_permutation)),
    "random_pixel_value_scale": _same_settings(RandomPixelValueScale),
    "random_image_scale": _same_settings(RandomImageScale),
    "random_rgb_to_gray": _same_settings(RandomRgbToGray),
    "random_adjust_brightness": _same_settings(RandomAdjustBrightness),
    "random_adjust_contrast": _same_settings(RandomAdjustContrast),
    "random_adjust_hue": _same_settings(RandomAdjustHue),
    "random_adjust_saturation": _same_settings(RandomAdjustSaturation),
    "random_distort_color": _same_settings(RandomDistortColor),
    "random_jitter_boxes": _jitter_boxes,
    "random_crop_image": _crop,
    "random_pad_image": _pad_image,
    "random_crop_pad_image": lambda m: _crop_pad(m, _color(m)),
    "random_crop_to_aspect_ratio": _same_settings(RandomCropToAspectRatio),
    "random_black_patches": _same_settings(RandomBlackPatches),
    "random_resize_method": _same_settings(RandomResizeMethod),
    "resize_image": lambda m: ResizeImage(m.new_height, m.new_width, method=_METHODS[m.method]),
    "subtract_channel_mean": _subtract_channel_mean,
    "rgb_to_gray": _same_settings(RgbToGray),
    "ssd_random_crop": lambda m: SsdRandomCrop(_operations(m, _crop) or SSD_CROPS),
    "ssd_random_crop_pad": _ssd_crop_pad,
    "ssd_random_crop_fixed_aspect_ratio": _ssd_crop_fixed_aspect_ratio,
    "ssd_random_crop_pad_fixed_aspect_ratio": _ssd_crop_pad_fixed_aspect_ratio,
    "random_vertical_flip": lambda m: RandomVerticalFlip(m.probability, tuple(m.keypoint_flip_permutation)),
    "random_rotation90": lambda m: RandomRotation90(m.probability, tuple(m.keypoint_rot_permutation)),
    "random_absolute_pad_image": lambda m: RandomAbsolutePadImage(m.max_height_padding or 1, m.max_width_padding or 1, _color(m)),
    "random_self_concat_image": _same_settings(RandomSelfConcatImage),
    "autoaugment_image": _same_settings(AutoAugmentImage),
    "drop_label_probabilistically": lambda m: DropLabel(m.label - 1, m.drop_probability),
    "remap_labels": lambda m: RemapLabels(tuple(label - 1 for label in m.original_labels), m.new_label - 1),
    "random_jpeg_quality": _same_settings(RandomJpegQuality),
    "random_downscale_to_target_pixels": _same_settings(RandomDownscaleToTargetPixels),
    "random_patch_gaussian": _same_settings(RandomPatchGaussian),
    "random_square_crop_by_scale": _same_settings(RandomSquareCropByScale),
    "random_scale_crop_and_pad_to_square": _same_settings(RandomScaleCropAndPadToSquare),
    "adjust_gamma": _same_settings(AdjustGamma),
}
