"""`model.ssd.image_resizer` -> an image resizer."""

from __future__ import annotations

from object_detection_ext.builders.fields import chosen, errors_at
from object_detection_ext.data.resize import (
    ConditionalShapeResizer,
    FixedShapeResizer,
    IdentityResizer,
    ImageResizer,
    KeepAspectRatioResizer,
    PadToMultipleResizer,
    ResizeMethod,
)
from object_detection_ext.protos import image_resizer_pb2

FIELD = "model.ssd.image_resizer"

_METHODS: dict[int, ResizeMethod] = {
    image_resizer_pb2.BILINEAR: "bilinear",
    image_resizer_pb2.NEAREST_NEIGHBOR: "nearest_neighbor",
    image_resizer_pb2.BICUBIC: "bicubic",
    image_resizer_pb2.AREA: "area",
}


def build_image_resizer(config: image_resizer_pb2.ImageResizer) -> ImageResizer:
    """The resizer that `config` describes.

    Raises:
        InputError: names the field.
    """
    kind = chosen(config, FIELD, allowed=tuple(_RESIZERS))
    with errors_at(f"{FIELD}.{kind}"):
        return _RESIZERS[kind](getattr(config, kind))


def _fixed_shape(config: image_resizer_pb2.FixedShapeResizer) -> ImageResizer:
    return FixedShapeResizer(
        config.height, config.width, method=_METHODS[config.resize_method], convert_to_grayscale=config.convert_to_grayscale
    )


def _keep_aspect_ratio(config: image_resizer_pb2.KeepAspectRatioResizer) -> ImageResizer:
    return KeepAspectRatioResizer(
        config.min_dimension,
        config.max_dimension,
        method=_METHODS[config.resize_method],
        pad_to_max_dimension=config.pad_to_max_dimension,
        per_channel_pad_value=tuple(config.per_channel_pad_value) or (0.0, 0.0, 0.0),
        convert_to_grayscale=config.convert_to_grayscale,
    )


def _conditional_shape(config: image_resizer_pb2.ConditionalShapeResizer) -> ImageResizer:
    if config.condition == image_resizer_pb2.ConditionalShapeResizer.INVALID:
        raise ValueError("condition must be GREATER or SMALLER, got INVALID")
    return ConditionalShapeResizer(
        config.size_threshold,
        condition="greater" if config.condition == image_resizer_pb2.ConditionalShapeResizer.GREATER else "smaller",
        method=_METHODS[config.resize_method],
        convert_to_grayscale=config.convert_to_grayscale,
    )


_RESIZERS = {
    "keep_aspect_ratio_resizer": _keep_aspect_ratio,
    "fixed_shape_resizer": _fixed_shape,
    "identity_resizer": lambda config: IdentityResizer(),
    "conditional_shape_resizer": _conditional_shape,
    "pad_to_multiple_resizer": lambda config: PadToMultipleResizer(config.multiple, convert_to_grayscale=config.convert_to_grayscale),
}
