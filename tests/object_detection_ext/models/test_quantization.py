"""Quantisation-aware training takes the network as it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from object_detection_ext.builders.detector import build_detector

EVERYTHING = """
feature_extractor { use_explicit_padding: true pad_to_multiple: 32 output_stride: 16 }
box_predictor { convolutional_box_predictor { use_dropout: true num_layers_before_predictor: 1 max_depth: 64 } }
"""


def test_quantize_model_accepts_every_layer(ssd_config: Callable):
    tfmot = pytest.importorskip("tensorflow_model_optimization", reason="quantisation-aware training needs tensorflow-model-optimization")
    network = build_detector(ssd_config(overrides=EVERYTHING)).network
    quantized = tfmot.quantization.keras.quantize_model(network)
    assert len(quantized.layers) == len(network.layers) + 1  # one more quantises the input
    assert sum(type(layer).__name__ == "QuantizeWrapperV2" for layer in quantized.layers) == len(network.layers) - 1  # all but the input
    images = np.random.default_rng(0).uniform(-1, 1, (1, *network.input_shape[1:])).astype(np.float32)
    outputs = quantized(images, training=True)
    assert [output.shape[1:] for output in outputs] == [shape[1:] for shape in network.output_shape]
