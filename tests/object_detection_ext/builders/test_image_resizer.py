"""`model.ssd.image_resizer` -> a resizer."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format

from object_detection_ext.builders.image_resizer import build_image_resizer
from object_detection_ext.data.resize import (
    ConditionalShapeResizer,
    FixedShapeResizer,
    IdentityResizer,
    KeepAspectRatioResizer,
    PadToMultipleResizer,
)
from object_detection_ext.errors import InputError
from object_detection_ext.protos import image_resizer_pb2


@pytest.mark.parametrize(
    ("text", "resizer"),
    [
        ("fixed_shape_resizer {}", FixedShapeResizer(300, 300)),
        (
            "fixed_shape_resizer { height: 4 width: 5 resize_method: BICUBIC convert_to_grayscale: true }",
            FixedShapeResizer(4, 5, method="bicubic", convert_to_grayscale=True),
        ),
        ("keep_aspect_ratio_resizer {}", KeepAspectRatioResizer(600, 1024)),
        (
            "keep_aspect_ratio_resizer { min_dimension: 3 max_dimension: 4 pad_to_max_dimension: true per_channel_pad_value: [1, 2, 3] }",
            KeepAspectRatioResizer(3, 4, pad_to_max_dimension=True, per_channel_pad_value=(1.0, 2.0, 3.0)),
        ),
        ("identity_resizer {}", IdentityResizer()),
        (
            "conditional_shape_resizer { condition: SMALLER size_threshold: 9 resize_method: AREA }",
            ConditionalShapeResizer(9, condition="smaller", method="area"),
        ),
        ("pad_to_multiple_resizer { multiple: 32 }", PadToMultipleResizer(32)),
    ],
)
def test_builds(text: str, resizer: Any) -> None:
    assert build_image_resizer(text_format.Parse(text, image_resizer_pb2.ImageResizer())) == resizer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "model.ssd.image_resizer must hold one of keep_aspect_ratio_resizer, fixed_shape_resizer"),
        ("fixed_shape_resizer { width: 0 }", "model.ssd.image_resizer.fixed_shape_resizer.width must be >= 1, got 0"),
        ("conditional_shape_resizer { condition: INVALID }", "conditional_shape_resizer.condition must be GREATER or SMALLER, got INVALID"),
        ("keep_aspect_ratio_resizer { min_dimension: 9 max_dimension: 8 }", "resizer.min_dimension must be <= max_dimension, got 9 > 8"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_image_resizer(text_format.Parse(text, image_resizer_pb2.ImageResizer()))
