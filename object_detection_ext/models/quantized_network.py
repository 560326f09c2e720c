"""From a float network to the same network with fake quantisation at the places where TFLite's kernels round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras

from object_detection_ext.models.fake_quantization import (
    FakeQuantize,
    FakeQuantizedConv2D,
    FakeQuantizedDepthwiseConv2D,
    FakeQuantizeInput,
    TrainingSteps,
)
from object_detection_ext.models.quantization_state import RANGE, STEPS

_LAYERS = tf_keras.layers
_CONVOLUTIONS = {_LAYERS.Conv2D: FakeQuantizedConv2D, _LAYERS.DepthwiseConv2D: FakeQuantizedDepthwiseConv2D}
_FUSING = {  # layer -> what the runtime computes in one operation with it, where nothing else reads the result
    _LAYERS.Conv2D: (_LAYERS.BatchNormalization, _LAYERS.ReLU),
    _LAYERS.DepthwiseConv2D: (_LAYERS.BatchNormalization, _LAYERS.ReLU),
    _LAYERS.BatchNormalization: (_LAYERS.ReLU,),
    _LAYERS.Add: (_LAYERS.ReLU,),
}
_ROUNDING = (*_FUSING, _LAYERS.ReLU)
_CARRYING = (_LAYERS.ZeroPadding2D, _LAYERS.Cropping2D, _LAYERS.UpSampling2D, _LAYERS.MaxPooling2D, _LAYERS.Reshape, _LAYERS.Dropout)


class NotQuantizableError(ValueError):
    """A network has a layer that cannot be trained with fake quantisation; the message names it."""


@dataclass(frozen=True)
class FakeQuantization:
    """Rebuilds a flat functional network for quantisation-aware training. Its variables keep their names, ranges are added.

    Rounded are the image, all kernels, and what convolutions (with their batch norm and ReLU) and sums give. Padding, cropping, upsampling,
    pooling and reshaping pass 8-bit values on. The join of the heads stays float, as in the exported files.

    Attributes:
        delay: steps of training in float before it begins; ranges are followed from the first one on.
        symmetric: ranges reach as far below 0 as above.
    """

    delay: int = 0
    symmetric: bool = False

    def __post_init__(self) -> None:
        if self.delay < 0:
            raise ValueError(f"delay must be >= 0, got {self.delay}")

    def __call__(self, network: tf_keras.Model, *, input_range: tuple[float, float]) -> tf_keras.Model:
        """A new network with fresh weights.

        Args:
            network: one input, the image.
            input_range: what pixels 0 and 255 are in it.

        Raises:
            NotQuantizableError: there is no 8-bit rule for a layer.
        """
        nodes = list(_nodes(network))
        for node in nodes:
            _check(node, network)
        consumers: dict[int, list[type]] = {}
        for node in nodes:
            for tensor in node.keras_inputs:
                consumers.setdefault(id(tensor), []).append(type(node.layer))
        image = tf_keras.Input(network.input_shape[1:], name=network.input_names[0])
        steps = TrainingSteps(name=STEPS)(image)
        low, high = input_range
        rounded_image = FakeQuantizeInput(low=low, high=high, delay=self.delay, name=f"{image.name}/{RANGE}")(image, steps)
        copies: dict[str, tf_keras.layers.Layer] = {}
        tensors = {id(network.inputs[0]): rounded_image}  # of the float network -> here
        for node in nodes:
            layer = node.layer
            if layer.name not in copies:
                copies[layer.name] = self._copy(layer)
            arguments, keywords = tf.nest.map_structure(lambda value: tensors.get(id(value), value), (node.call_args, node.call_kwargs))
            counted = {"steps": steps} if type(layer) in _CONVOLUTIONS else {}
            output = copies[layer.name](*arguments, **keywords, **counted)
            if _is_rounded(type(layer), consumers.get(id(node.outputs), [])):
                output = self._range_layer(node)(output, steps)
            tensors[id(node.outputs)] = output
        outputs = [tensors[id(output)] for output in network.outputs]
        return tf_keras.Model(image, tuple(outputs) if len(outputs) > 1 else outputs[0], name=network.name)

    def _copy(self, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        settings = layer.get_config()
        if type(layer) in _CONVOLUTIONS:
            return _CONVOLUTIONS[type(layer)].from_config(settings | {"delay": self.delay})
        return type(layer).from_config(settings)

    def _range_layer(self, node: Any) -> FakeQuantize:
        """Rounds what a call gives; a layer that serves several feature maps has a range for each."""
        calls = node.layer.inbound_nodes
        number = f"_{calls.index(node)}" if len(calls) > 1 else ""
        return FakeQuantize(
            delay=self.delay,
            symmetric=self.symmetric,
            non_negative=isinstance(node.layer, _LAYERS.ReLU),
            name=f"{node.layer.name}/{RANGE}{number}",
        )


def _nodes(network: tf_keras.Model) -> Iterator[Any]:
    """The calls of the layers, each after those it depends on. Keras keeps them in private, and its own `clone_model` reads them there."""
    for depth in sorted(network._nodes_by_depth, reverse=True):
        yield from (node for node in network._nodes_by_depth[depth] if not node.is_input)


def _is_rounded(kind: type, consumers: list[type]) -> bool:
    is_fused = len(consumers) == 1 and consumers[0] in _FUSING.get(kind, ())
    return kind in _ROUNDING and not is_fused


def _check(node: Any, network: tf_keras.Model) -> None:
    layer, kind = node.layer, type(node.layer)
    sources = [type(parent.layer) for parent in node.parent_nodes]
    if kind is _LAYERS.BatchNormalization:
        allowed = all(source in _CONVOLUTIONS for source in sources)
    elif kind is _LAYERS.ReLU:
        allowed = all(source in _FUSING for source in sources)
    elif kind is _LAYERS.UpSampling2D:
        allowed = layer.interpolation == "nearest"
    elif kind is _LAYERS.Concatenate:
        allowed = any(node.outputs is output for output in network.outputs)
    else:
        allowed = kind in _CONVOLUTIONS or kind is _LAYERS.Add or kind in _CARRYING
    if not allowed:
        raise NotQuantizableError(f"there is no 8-bit rule for the layer {layer.name} ({_described(layer)})")


def _described(layer: tf_keras.layers.Layer) -> str:
    activation = getattr(layer, "activation", None)
    name = type(layer).__name__
    return f"{name} {activation.__name__}" if name == "Activation" and activation else name
