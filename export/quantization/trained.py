"""The 8-bit network of a detector that was trained with fake quantisation: ranges come from training, no image is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from export.quiet import native_output_hidden
from export.tflite_file import order_outputs


def quantized_body(network: tf_keras.Model, heads: Sequence[str]) -> bytes:
    """Converts everything up to the heads, the last layers before feature maps are joined; the converter reads fake quantisation itself.

    Args:
        network: with fake quantisation that does not wait for a step: image [1, H, W, C] to joined predictions.
        heads: what the float file calls its heads; their order is that of the outputs.

    Returns:
        A model, uint8 in (pixels), float32 out: the heads.
    """
    layers = [_layer_of(name, network) for name in heads]
    names = [f"head_{index}" for index in range(len(layers))]
    model = tf_keras.Model(network.input, [layer.output for layer in layers])

    spec = tf.TensorSpec([1, *network.input_shape[1:]], tf.float32, name="image")

    @tf.function(autograph=False, input_signature=[spec])
    def predict(image: tf.Tensor) -> list[tf.Tensor]:
        return model(image, training=False)

    with native_output_hidden():
        frozen = convert_variables_to_constants_v2(predict.get_concrete_function(), lower_control_flow=False)

        @tf.function(autograph=False, input_signature=[spec])
        def infer(image: tf.Tensor) -> dict[str, tf.Tensor]:
            return dict(zip(names, frozen(image), strict=True))

        function = infer.get_concrete_function()
        module = tf.Module()
        module.function = function
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = tf.uint8
        return order_outputs(converter.convert(), names)


def _layer_of(tensor: str, network: tf_keras.Model) -> Any:
    """The layer, one of those that lay out a head's values by anchors, whose name is part of a tensor's (`detector/<layer>/Reshape`)."""
    found = [layer for layer in network.layers if isinstance(layer, tf_keras.layers.Reshape) and f"/{layer.name}/" in tensor]
    if len(found) != 1:
        raise RuntimeError(f"expected one layer that gives the head {tensor}, found {len(found)}")
    return found[0]
