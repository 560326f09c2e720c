"""Quantisation-aware training takes the network as it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tf_keras

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


SHARED = """
image_resizer { fixed_shape_resizer { height: 65 width: 65 } }
feature_extractor { type: "ssd_mobilenet_v1_fpn_keras" fpn { min_level: 4 max_level: 6 } }
anchor_generator { multiscale_anchor_generator { min_level: 4 max_level: 6 } }
box_predictor { weight_shared_convolutional_box_predictor { num_layers_before_predictor: 1 } }
"""  # an odd size, so that maps are cropped


def test_shared_heads_need_a_quantize_config_for_their_batch_norm(ssd_config: Callable):
    """Batch norm is folded into the convolution before it; where that serves several feature maps, its output is quantised instead."""
    tfmot = pytest.importorskip("tensorflow_model_optimization", reason="quantisation-aware training needs tensorflow-model-optimization")
    keras = tfmot.quantization.keras

    class OutputOnly(keras.QuantizeConfig):
        def get_weights_and_quantizers(self, layer):
            return []

        def get_activations_and_quantizers(self, layer):
            return []

        def set_quantize_weights(self, layer, quantize_weights):
            pass

        def set_quantize_activations(self, layer, quantize_activations):
            pass

        def get_output_quantizers(self, layer):
            return [keras.quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

        def get_config(self):
            return {}

    def annotated(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if isinstance(layer, tf_keras.layers.InputLayer):
            return layer
        return keras.quantize_annotate_layer(layer, OutputOnly() if "/BatchNorm/feature_" in layer.name else None)

    network = build_detector(ssd_config("fpnlite_v2_dm0.35_320", SHARED)).network
    with keras.quantize_scope({"OutputOnly": OutputOnly}):
        quantized = keras.quantize_apply(tf_keras.models.clone_model(network, clone_function=annotated))
    assert len(quantized.layers) == len(network.layers) + 1
    outputs = quantized(np.zeros((1, 65, 65, 3), np.float32), training=True)
    assert [output.shape[1:] for output in outputs] == [shape[1:] for shape in network.output_shape]
