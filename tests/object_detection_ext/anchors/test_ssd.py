from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from object_detection_ext.anchors.multiscale import MultiscaleAnchorGenerator
from object_detection_ext.anchors.ssd import SsdAnchorGenerator

RATIOS = tuple(float(np.float32(ratio)) for ratio in (1.0, 2.0, 0.5, 3.0, 0.3333))  # as a config stores them
SCALES = {"min_scale": float(np.float32(0.2)), "max_scale": float(np.float32(0.95))}
SSD = {"aspect_ratios": RATIOS, **SCALES}

CASES = {  # the configs of anchors.config
    "ssd320": (SsdAnchorGenerator(**SSD), [(20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)], (320, 320)),
    "ssd300_reduce": (SsdAnchorGenerator(**SSD), [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)], (300, 300)),
    "ssd300_noreduce": (
        SsdAnchorGenerator(**SSD, reduce_boxes_in_lowest_layer=False),
        [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)],
        (300, 300),
    ),
    "ssd_300x400": (SsdAnchorGenerator(**SSD), [(19, 25), (10, 13), (5, 7), (3, 4), (2, 2), (1, 1)], (300, 400)),
    "ssd300_strides_offsets": (
        SsdAnchorGenerator(
            num_layers=2,
            **SCALES,
            aspect_ratios=(1.0, 2.0),
            strides=((16, 16), (32, 32)),
            offsets=((0, 0), (16, 16)),
            interpolated_scale_aspect_ratio=0.0,
        ),
        [(19, 19), (10, 10)],
        (300, 300),
    ),
    "multiscale320": (MultiscaleAnchorGenerator(), [(40, 40), (20, 20), (10, 10), (5, 5), (3, 3)], (320, 320)),
    "multiscale640": (MultiscaleAnchorGenerator(), [(80, 80), (40, 40), (20, 20), (10, 10), (5, 5)], (640, 640)),
    "multiscale320_3perOctave_abs": (
        MultiscaleAnchorGenerator(scales_per_octave=3, normalize_coordinates=False),
        [(40, 40), (20, 20), (10, 10), (5, 5), (3, 3)],
        (320, 320),
    ),
    "multiscale_320x256": (MultiscaleAnchorGenerator(), [(40, 32), (20, 16), (10, 8), (5, 4), (3, 2)], (320, 256)),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_reference(name: str, golden: Callable[[str], Path]):
    generator, shapes, image_shape = CASES[name]
    anchors = generator(shapes, image_shape=image_shape)
    with np.load(golden("anchors.npz")) as stored:
        expected, per_location, per_layer = stored[name], stored[f"{name}__per_loc"], stored[f"{name}__per_layer"]
    assert anchors.dtype == np.float32 and generator.num_anchors_per_location == per_location.tolist()
    assert [height * width * count for (height, width), count in zip(shapes, per_location, strict=True)] == per_layer.tolist()
    if name == "multiscale320_3perOctave_abs":  # in pixels
        np.testing.assert_allclose(anchors, expected, rtol=1e-6, atol=1e-4)
    else:
        np.testing.assert_allclose(anchors, expected, rtol=0, atol=1e-6)


def test_by_hand():
    """One map of 1x2 cells, scale 0.5, ratios 1 and 4, on an image twice as wide as high: widths count half."""
    generator = SsdAnchorGenerator(
        num_layers=1, scales=(0.5,), aspect_ratios=(1.0, 4.0), interpolated_scale_aspect_ratio=0.0, reduce_boxes_in_lowest_layer=False
    )
    anchors = generator([(1, 2)], image_shape=(100, 200))
    expected = [
        [0.25, 0.125, 0.75, 0.375],  # 0.5 high, 0.5 / 2 wide, at (0.5, 0.25)
        [0.375, 0.0, 0.625, 0.5],  # 0.25 high, 1 / 2 wide
        [0.25, 0.625, 0.75, 0.875],
        [0.375, 0.5, 0.625, 1.0],
    ]
    np.testing.assert_allclose(anchors, expected, atol=1e-7)


def test_interpolated_anchor_of_the_last_layer():
    generator = SsdAnchorGenerator(
        num_layers=1, min_scale=0.25, aspect_ratios=(), interpolated_scale_aspect_ratio=1.0, reduce_boxes_in_lowest_layer=False
    )
    np.testing.assert_allclose(generator([(1, 1)], image_shape=(64, 64)), [[0.25, 0.25, 0.75, 0.75]])  # sqrt(0.25 * 1) = 0.5


def test_base_anchor_size():
    generator = SsdAnchorGenerator(num_layers=1, scales=(0.5,), base_anchor_size=(1.0, 0.5))
    np.testing.assert_allclose(generator([(1, 1)], image_shape=(64, 64))[0], [0.45, 0.475, 0.55, 0.525], atol=1e-7)  # scale 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": 0}, "num_layers must be >= 1"),
        ({"scales": (0.1, 0.2)}, r"scales must be one per layer \(6\), got 2"),
        ({"strides": ((8, 8),)}, "strides must be one per layer"),
        ({"aspect_ratios": (1.0, 0.0)}, "aspect_ratios must be > 0, got 0"),
        ({"aspect_ratios": (), "interpolated_scale_aspect_ratio": 0.0}, "aspect_ratios must not be empty"),
        ({"min_scale": 0.0}, "scales must be > 0"),
        ({"base_anchor_size": (0.0, 1.0)}, "base_anchor_size must be > 0"),
    ],
)
def test_impossible(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SsdAnchorGenerator(**settings)


@pytest.mark.parametrize("generator", [SsdAnchorGenerator(), MultiscaleAnchorGenerator()])
def test_wrong_number_of_feature_maps(generator):
    with pytest.raises(ValueError, match="feature maps, got 1"):
        generator([(4, 4)], image_shape=(64, 64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_level": 4, "max_level": 3}, "min_level must be between"),
        ({"anchor_scale": 0.0}, "anchor_scale must be > 0"),
        ({"aspect_ratios": ()}, "aspect_ratios must be one or more"),
        ({"scales_per_octave": 0}, "scales_per_octave must be >= 1"),
    ],
)
def test_impossible_multiscale(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MultiscaleAnchorGenerator(**settings)
