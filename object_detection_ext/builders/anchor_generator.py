"""`AnchorGenerator` -> an anchor generator."""

from __future__ import annotations

from object_detection_ext.anchors.multiscale import MultiscaleAnchorGenerator
from object_detection_ext.anchors.ssd import SsdAnchorGenerator
from object_detection_ext.builders.fields import chosen, errors_at
from object_detection_ext.protos import anchor_generator_pb2

AnchorGenerator = SsdAnchorGenerator | MultiscaleAnchorGenerator

FIELD = "model.ssd.anchor_generator"


def build_anchor_generator(config: anchor_generator_pb2.AnchorGenerator) -> AnchorGenerator:
    """The generator that `config` describes.

    Raises:
        InputError: names the field.
    """
    kind = chosen(config, FIELD, allowed=tuple(_GENERATORS))
    with errors_at(f"{FIELD}.{kind}"):
        return _GENERATORS[kind](getattr(config, kind))


def _ssd(config: anchor_generator_pb2.SsdAnchorGenerator) -> SsdAnchorGenerator:
    return SsdAnchorGenerator(
        num_layers=config.num_layers,
        min_scale=config.min_scale,
        max_scale=config.max_scale,
        scales=tuple(config.scales),
        aspect_ratios=tuple(config.aspect_ratios),
        interpolated_scale_aspect_ratio=config.interpolated_scale_aspect_ratio,
        base_anchor_size=(config.base_anchor_height, config.base_anchor_width),
        strides=_pairs(config, "height_stride", "width_stride"),
        offsets=_pairs(config, "height_offset", "width_offset"),
        reduce_boxes_in_lowest_layer=config.reduce_boxes_in_lowest_layer,
    )


def _pairs(config: anchor_generator_pb2.SsdAnchorGenerator, height: str, width: str) -> tuple[tuple[int, int], ...]:
    heights, widths = getattr(config, height), getattr(config, width)
    if not len(heights) == len(widths) in (0, config.num_layers):
        raise ValueError(f"{height} and {width} must be one per layer ({config.num_layers}) or none, got {len(heights)} and {len(widths)}")
    return tuple(zip(heights, widths, strict=True))


def _multiscale(config: anchor_generator_pb2.MultiscaleAnchorGenerator) -> MultiscaleAnchorGenerator:
    return MultiscaleAnchorGenerator(
        min_level=config.min_level,
        max_level=config.max_level,
        anchor_scale=config.anchor_scale,
        aspect_ratios=tuple(config.aspect_ratios),
        scales_per_octave=config.scales_per_octave,
        normalize_coordinates=config.normalize_coordinates,
    )


_GENERATORS = {"ssd_anchor_generator": _ssd, "multiscale_anchor_generator": _multiscale}
