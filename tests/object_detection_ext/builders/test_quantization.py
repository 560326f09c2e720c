from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tf_keras
from google.protobuf import text_format

from object_detection_ext.builders.quantization import build_quantization, quantize_detector
from object_detection_ext.errors import InputError
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.models.fake_quantization import FakeQuantizeInput
from object_detection_ext.models.normalization import TO_MINUS_ONE_TO_ONE, PixelScaling
from object_detection_ext.models.quantized_network import FakeQuantization
from object_detection_ext.protos import graph_rewriter_pb2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("quantization { }", FakeQuantization(delay=500_000)),  # the API's default
        ("quantization { delay: 0 weight_bits: 8 activation_bits: 8 symmetric: true }", FakeQuantization(symmetric=True)),
    ],
)
def test_build(text: str, expected: FakeQuantization | None):
    assert build_quantization(text_format.Parse(text, graph_rewriter_pb2.GraphRewriter())) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight_bits: 4", r"^graph_rewriter\.quantization\.weight_bits must be 8, .*, got 4$"),
        ("activation_bits: 16", r"^graph_rewriter\.quantization\.activation_bits must be 8, .*, got 16$"),
        ("delay: -1", r"^graph_rewriter\.quantization\.delay must be >= 0, got -1$"),
    ],
)
def test_other_values_are_refused(text: str, message: str):
    with pytest.raises(InputError, match=message):
        build_quantization(text_format.Parse(f"quantization {{ {text} }}", graph_rewriter_pb2.GraphRewriter()))


def detector(layer: tf_keras.layers.Layer, *, normalize: PixelScaling = TO_MINUS_ONE_TO_ONE) -> SsdDetector:
    """As far as quantisation looks at it."""
    image = tf_keras.Input((4, 4, 3), name="image")
    unused: Any = None
    return SsdDetector(tf_keras.Model(image, layer(image)), np.zeros([0, 4]), unused, unused, normalize, unused, num_classes=1)


def test_the_input_is_rounded_to_pixels():
    found = quantize_detector(detector(tf_keras.layers.Conv2D(1, 1)), FakeQuantization(delay=7), feature_extractor="mine")
    (layer,) = (layer for layer in found.network.layers if isinstance(layer, FakeQuantizeInput))
    assert (layer.low, layer.high, layer.delay) == (-1.0, 1.0, 7)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (detector(tf_keras.layers.Softmax(name="odd")), r"there is no 8-bit rule for the layer odd \(Softmax\)$"),
        (
            detector(tf_keras.layers.Conv2D(1, 1), normalize=PixelScaling(1.0, (-123.7, -116.8, -103.9))),
            "it normalises each channel differently, and 8-bit files take pixels as they are$",
        ),
    ],
    ids=["no-rule", "normalisation"],
)
def test_networks_that_cannot_be_quantised_are_refused_by_name(refused: SsdDetector, message: str):
    with pytest.raises(InputError, match=rf"^graph_rewriter\.quantization does not work with the feature extractor mine: {message}"):
        quantize_detector(refused, FakeQuantization(), feature_extractor="mine")
