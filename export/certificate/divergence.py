"""Which layer of a `.tflite` is the first that does something else than the float32 file of the same network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.quantization.fidelity import decibels
from export.quantization.network import Network
from export.quantization.tap import Tap

_CONVOLUTIONS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
_NO_ACTIVATION = schema.ActivationFunctionType.NONE
LEAST = 10.0  # decibels: a layer below has lost what it computes


def first_divergence(content: bytes, reference: bytes, inputs: np.ndarray) -> str | None:
    """A line about the first convolution below LEAST; None where there is none.

    Only convolutions with an activation are looked at: quantisation may scale the channels of the others (`quantization.equalization`).

    Args:
        content: the file in question, whose convolutions are those of `reference`.
        reference: the float32 file.
        inputs: network inputs [N, h, w, C] float32; few are enough.
    """
    pairs = list(zip(_layers(Network(reference)), _layers(Network(content)), strict=True))
    expected, found = Tap(reference), Tap(content)
    noise, signal = np.zeros(len(pairs)), np.zeros(len(pairs))
    for image in inputs:
        expected.run(image)
        found.run(image)
        for index, ((tensor, _), (other, _)) in enumerate(pairs):
            value = expected.tensor(tensor)
            signal[index] += np.square(value, dtype=np.float64).sum()
            noise[index] += np.square(value - found.tensor(other), dtype=np.float64).sum()
    for index, ((_, name), _) in enumerate(pairs):
        value = decibels(signal[index], noise[index])
        if value < LEAST:
            return f"the first layer that diverges is {name}: {value:.1f} dB signal to noise"
    return None


def _layers(network: Network) -> Iterator[tuple[int, str]]:
    """Output and name of every convolution with an activation."""
    for operator in network.graph.operators:
        if network.code(operator) in _CONVOLUTIONS and operator.builtinOptions.fusedActivationFunction != _NO_ACTIVATION:
            yield int(operator.outputs[0]), network.name(int(operator.outputs[0]))
