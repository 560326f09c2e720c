"""A float32 `.tflite` network as a list of convolutions whose weights can be read and changed."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.tail import pack, unpack

_OPERATORS = schema.BuiltinOperator
_KINDS: dict[int, Literal["convolution", "depthwise"]] = {_OPERATORS.CONV_2D: "convolution", _OPERATORS.DEPTHWISE_CONV_2D: "depthwise"}


class Convolution(NamedTuple):
    """One convolution; numbers are those of tensors.

    Its kernel has the shape [outputs, height, width, inputs] or, where it is depthwise, [1, height, width, channels].
    """

    kind: Literal["convolution", "depthwise"]
    source: int
    kernel: int
    bias: int
    output: int
    strides: tuple[int, int]
    dilations: tuple[int, int]
    is_padded: bool  # "SAME"
    activation: int  # of schema.ActivationFunctionType


class Network:
    """The one graph of a float32 model without control flow. Changes stay in memory until `content` is asked for."""

    def __init__(self, content: bytes) -> None:
        self.model = unpack(content)
        self.graph = self.model.subgraphs[0]

    @property
    def content(self) -> bytes:
        """The model's bytes with all changes."""
        return pack(self.model)

    @cached_property
    def convolutions(self) -> tuple[Convolution, ...]:
        """Those with kernel and bias of their own, in order. Weights that several operations share stay as they are."""
        found = [self._convolution(operator) for operator in self.graph.operators if self.code(operator) in _KINDS]
        uses = Counter(tensor for operator in self.graph.operators for tensor in map(int, operator.inputs))
        return tuple(each for each in found if each is not None and uses[each.kernel] == 1 and uses[each.bias] == 1)

    def code(self, operator: schema.OperatorT) -> int:
        """The kind of an operation, of schema.BuiltinOperator."""
        return self.model.operatorCodes[operator.opcodeIndex].builtinCode

    def name(self, tensor: int) -> str:
        """A tensor's name."""
        return self.graph.tensors[tensor].name.decode()

    def is_constant(self, tensor: int) -> bool:
        """Whether a tensor is stored in the file."""
        return self.model.buffers[self.graph.tensors[tensor].buffer].data is not None

    def read(self, tensor: int) -> np.ndarray:
        """A copy of a float32 constant."""
        stored = self.graph.tensors[tensor]
        data = np.asarray(self.model.buffers[stored.buffer].data, np.uint8)
        return np.frombuffer(data.tobytes(), np.float32).reshape(stored.shape).copy()

    def write(self, tensor: int, values: np.ndarray) -> None:
        """Replaces a float32 constant."""
        buffer = self.model.buffers[self.graph.tensors[tensor].buffer]
        buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)

    def _convolution(self, operator: schema.OperatorT) -> Convolution | None:
        inputs, options = [int(index) for index in operator.inputs], operator.builtinOptions
        if len(inputs) < 3 or inputs[2] < 0 or not (self.is_constant(inputs[1]) and self.is_constant(inputs[2])):
            return None
        kind = _KINDS[self.code(operator)]
        if kind == "depthwise" and options.depthMultiplier != 1:
            return None
        return Convolution(
            kind,
            *inputs[:3],
            output=int(operator.outputs[0]),
            strides=(options.strideH, options.strideW),
            dilations=(options.dilationHFactor, options.dilationWFactor),
            is_padded=options.padding == schema.Padding.SAME,
            activation=options.fusedActivationFunction,
        )


def rows_of(kernel: np.ndarray, kind: Literal["convolution", "depthwise"]) -> np.ndarray:
    """A kernel as one row of weights an output channel: [outputs, K]."""
    return kernel[0].reshape(-1, kernel.shape[3]).T if kind == "depthwise" else kernel.reshape(kernel.shape[0], -1)


def kernel_of(rows: np.ndarray, shape: tuple[int, ...], kind: Literal["convolution", "depthwise"]) -> np.ndarray:
    """The inverse of `rows_of`."""
    return (rows.T if kind == "depthwise" else rows).reshape(shape)
