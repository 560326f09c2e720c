"""Which layers of a quantised network are furthest from the float one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.quantization.fidelity import decibels
from export.quantization.network import Network
from export.quantization.tap import Tap

_SHAPING = (schema.BuiltinOperator.RESHAPE, schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE)


class LayerFidelity(NamedTuple):
    """How near one layer's output comes, with the noise of all layers before it."""

    layer: str  # its output's name
    decibels: float  # signal to noise

    def __str__(self) -> str:
        return f"{self.decibels:5.1f} dB  {self.layer}"


def rank_layers(reference: bytes, content: bytes, images: Sequence[np.ndarray]) -> tuple[LayerFidelity, ...]:
    """Compares what each layer of two models gives for the same images, worst first.

    Args:
        reference: the float model.
        content: the same network in other numbers; layers are paired by their outputs' names, those of one model only are left out.
        images: [H, W, C] float32, normalised.
    """
    first, second = Network(reference), Network(content)
    places = {second.name(index): index for index in _computed(second)}
    pairs = [(index, places[name]) for index in _computed(first) if (name := first.name(index)) in places]
    expected, found = Tap(reference), Tap(content)
    signal, noise = np.zeros(len(pairs)), np.zeros(len(pairs))
    for image in images:
        expected.run(image)
        found.run(image)
        for row, (ours, theirs) in enumerate(pairs):
            value = expected.tensor(ours)
            signal[row] += np.square(value, dtype=np.float64).sum()
            noise[row] += np.square(value - found.tensor(theirs), dtype=np.float64).sum()
    layers = [LayerFidelity(first.name(ours).partition(";")[0], decibels(signal[row], noise[row])) for row, (ours, _) in enumerate(pairs)]
    return tuple(sorted(layers, key=lambda each: each.decibels))


def _computed(network: Network) -> list[int]:
    """The outputs of all operations but those that only change a shape or type."""
    return [int(operator.outputs[0]) for operator in network.graph.operators if network.code(operator) not in _SHAPING]
