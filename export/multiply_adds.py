"""How many multiply-adds each layer of a `.tflite` takes, and which share of them run in 8 bits; from the list of operations alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.tail import unpack

LEAST_INT8_SHARE = 0.98  # of the multiply-adds of an int8 file; source: this project's aim
_SHOWN = 5  # layers in a warning

_OPERATORS = schema.BuiltinOperator
_EIGHT_BITS = (schema.TensorType.INT8, schema.TensorType.UINT8)


class LayerCost(NamedTuple):
    """One operation that multiplies and adds."""

    layer: str  # its output's name
    multiply_adds: int
    is_int8: bool  # activations and weights in 8 bits; not where activations are quantised on the fly


class Int8Share(NamedTuple):
    """How much of a network runs in 8 bits."""

    share: float  # of the multiply-adds, 0 to 1
    multiply_adds: int  # all of them
    others: tuple[str, ...]  # layers that do not, most expensive first

    def __str__(self) -> str:
        text = f"{self.share:.1%} of {self.multiply_adds / 1e6:,.1f} million multiply-adds in 8 bits"
        if self.share >= LEAST_INT8_SHARE:
            return text
        more = f" and {len(self.others) - _SHOWN} more" if len(self.others) > _SHOWN else ""
        return f"warning: only {text}, {LEAST_INT8_SHARE:.0%} is the aim; not in 8 bits: {', '.join(self.others[:_SHOWN])}{more}"


def int8_share(content: bytes) -> Int8Share:
    """The share of a model. One without multiply-adds has all of them in 8 bits."""
    costs = layer_costs(content)
    total = sum(cost.multiply_adds for cost in costs)
    others = sorted((cost for cost in costs if not cost.is_int8), key=lambda cost: -cost.multiply_adds)
    left = sum(cost.multiply_adds for cost in others)
    return Int8Share(1.0 - left / total if total else 1.0, total, tuple(cost.layer for cost in others))


def layer_costs(content: bytes) -> Sequence[LayerCost]:
    """The convolutions and matrix products of a model's one graph, in order."""
    model = unpack(content)
    graph, costs = model.subgraphs[0], []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
        output = graph.tensors[operator.outputs[0]]
        count = _multiply_adds(code, tensors, output)
        if count:
            activations = tensors[2] if code == _OPERATORS.TRANSPOSE_CONV else tensors[0]
            is_int8 = all(tensor.type in _EIGHT_BITS for tensor in (activations, tensors[1], output))
            costs.append(LayerCost(output.name.decode(), count, is_int8))
    return costs


def _multiply_adds(code: int, inputs: Sequence[schema.TensorT], output: schema.TensorT) -> int:
    """Of one operation; 0 for all that do not multiply by weights."""
    if code == _OPERATORS.CONV_2D:  # kernel [outputs, height, width, inputs]
        return _size(output.shape) * _size(inputs[1].shape[1:])
    if code == _OPERATORS.DEPTHWISE_CONV_2D:  # kernel [1, height, width, outputs]
        return _size(output.shape) * _size(inputs[1].shape[1:3])
    if code in (_OPERATORS.FULLY_CONNECTED, _OPERATORS.BATCH_MATMUL):  # each output sums over the last axis of the input
        return _size(output.shape) * int(inputs[0].shape[-1])
    if code == _OPERATORS.TRANSPOSE_CONV:  # output shape, kernel [outputs, height, width, inputs], input
        return _size(inputs[2].shape) * _size(inputs[1].shape[:3])
    return 0


def _size(shape: Sequence[int]) -> int:
    return int(np.prod([int(length) for length in shape], dtype=np.int64))
