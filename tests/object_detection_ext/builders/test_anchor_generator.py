from __future__ import annotations

import pytest
from google.protobuf import text_format

from object_detection_ext.anchors.multiscale import MultiscaleAnchorGenerator
from object_detection_ext.anchors.ssd import SsdAnchorGenerator
from object_detection_ext.builders.anchor_generator import build_anchor_generator
from object_detection_ext.errors import InputError
from object_detection_ext.protos import anchor_generator_pb2


def _build(text: str):
    return build_anchor_generator(text_format.Parse(text, anchor_generator_pb2.AnchorGenerator()))


def test_ssd():
    built = _build(
        """ssd_anchor_generator {
          num_layers: 2 min_scale: 0.25 max_scale: 0.5 scales: 0.125 scales: 0.75 aspect_ratios: 1 aspect_ratios: 0.5
          interpolated_scale_aspect_ratio: 2 reduce_boxes_in_lowest_layer: false base_anchor_height: 0.5 base_anchor_width: 2
          height_stride: 8 height_stride: 16 width_stride: 4 width_stride: 32
          height_offset: 1 height_offset: 2 width_offset: 3 width_offset: 4
        }"""
    )
    assert built == SsdAnchorGenerator(
        num_layers=2,
        min_scale=0.25,
        max_scale=0.5,
        scales=(0.125, 0.75),
        aspect_ratios=(1.0, 0.5),
        interpolated_scale_aspect_ratio=2.0,
        base_anchor_size=(0.5, 2.0),
        strides=((8, 4), (16, 32)),
        offsets=((1, 3), (2, 4)),
        reduce_boxes_in_lowest_layer=False,
    )


def test_multiscale():
    built = _build("multiscale_anchor_generator { min_level: 2 max_level: 4 anchor_scale: 3 aspect_ratios: 1 scales_per_octave: 3 }")
    assert built == MultiscaleAnchorGenerator(2, 4, 3.0, (1.0,), 3, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " must hold one of ssd_anchor_generator, multiscale_anchor_generator"),
        ("grid_anchor_generator {}", ".grid_anchor_generator is not supported"),
        ("ssd_anchor_generator { aspect_ratios: -1 }", ".ssd_anchor_generator.aspect_ratios must be > 0, got -1"),
        (
            "ssd_anchor_generator { aspect_ratios: 1 height_stride: 8 }",
            ".ssd_anchor_generator.height_stride and width_stride must be one",
        ),
        ("multiscale_anchor_generator {}", ".multiscale_anchor_generator.aspect_ratios must be one or more"),
    ],
)
def test_errors_name_the_field(text: str, message: str):
    with pytest.raises(InputError, match=f"^model.ssd.anchor_generator{message}"):
        _build(text)
