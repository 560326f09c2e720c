"""Equalises the channels of linear tensors, so that one 8-bit scale suits all of them (Nagel et al. 2019, "Data-Free Quantization",
section 4.1, there of weights; here of activations, since kernels have a scale for every output channel anyway).

A channel may be multiplied by any factor where it is computed without activation, if what reads it divides by the same factor. In
MobileNetV2 these are the outputs of projections, with the sums that join them. Behind ReLU6 the ceiling would have to move along,
which the runtime's operations cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.quantization.network import Convolution, Network

_LEAST_SHARE = 1e-3  # of the strongest channel: weaker ones are scaled as if they had it
_LINEAR = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)


class Group(NamedTuple):
    """Tensors whose channels have to be scaled alike."""

    tensors: tuple[int, ...]
    producers: tuple[Convolution, ...]
    consumers: tuple[Convolution, ...]


def equalize(network: Network, channels: Mapping[int, np.ndarray], *, strength: float = 1.0) -> Mapping[int, np.ndarray]:
    """Scales every channel of every group towards the range of its strongest; the network computes what it computed.

    Equal channels have the finest activations, but what reads them then holds small and large weights under one scale.

    Args:
        channels: tensor -> largest magnitude of each of its channels.
        strength: 1 makes ranges equal, 0.5 leaves the square root of their ratios.

    Returns:
        Tensor -> what its channels were multiplied by, [C]; of the tensors that were scaled.
    """
    scaled: dict[int, np.ndarray] = {}
    for group in find_groups(network):
        peaks = np.max([channels[tensor] for tensor in group.tensors], axis=0).astype(np.float64)
        strongest = peaks.max()
        factors = (strongest / np.maximum(peaks, strongest * _LEAST_SHARE)) ** strength if strongest else np.ones_like(peaks)
        for producer in group.producers:
            kernel = network.read(producer.kernel)
            shape = (-1, 1, 1, 1) if producer.kind == "convolution" else (1, 1, 1, -1)
            network.write(producer.kernel, kernel * factors.reshape(shape))
            network.write(producer.bias, network.read(producer.bias) * factors)
        for consumer in group.consumers:
            network.write(consumer.kernel, network.read(consumer.kernel) / factors)  # input channels are the last axis of both kinds
        scaled.update((tensor, factors) for tensor in group.tensors)
    return scaled


def find_groups(network: Network) -> Iterator[Group]:
    """The groups that convolutions write and read, and additions join, and nothing else touches."""
    graph, adding = network.graph, schema.BuiltinOperator.ADD
    by_output = {convolution.output: convolution for convolution in network.convolutions}
    groups, fixed = _DisjointSets(), {*map(int, graph.inputs), *map(int, graph.outputs)}
    for operator in graph.operators:
        output = int(operator.outputs[0])
        computed = [int(index) for index in operator.inputs if index >= 0 and not network.is_constant(int(index))]
        if network.code(operator) == adding and len(computed) == 2 and operator.builtinOptions.fusedActivationFunction in _LINEAR:
            for tensor in computed:
                groups.join(tensor, output)
        elif output not in by_output:
            fixed.update(computed, map(int, operator.outputs))
        elif by_output[output].activation not in _LINEAR:
            fixed.add(output)
    for tensors in groups.sets([tensor for each in network.convolutions for tensor in (each.source, each.output)]):
        if fixed.isdisjoint(tensors) and _same_shape(network, tensors):
            producers = tuple(each for each in network.convolutions if each.output in tensors)
            consumers = tuple(each for each in network.convolutions if each.source in tensors)
            if producers and consumers:
                yield Group(tensors, producers, consumers)


def _same_shape(network: Network, tensors: tuple[int, ...]) -> bool:
    """A sum that broadcasts joins channels of different tensors."""
    return len({tuple(map(int, network.graph.tensors[tensor].shape)) for tensor in tensors}) == 1


class _DisjointSets:
    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def join(self, first: int, second: int) -> None:
        self._parents[self._root(first)] = self._root(second)

    def sets(self, more: list[int]) -> Iterator[tuple[int, ...]]:
        members: dict[int, list[int]] = {}
        for item in dict.fromkeys([*self._parents, *more]):
            members.setdefault(self._root(item), []).append(item)
        yield from (tuple(items) for items in members.values())

    def _root(self, item: int) -> int:
        while (parent := self._parents.setdefault(item, item)) != item:
            item = parent
        return item
