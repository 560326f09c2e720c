"""The type of a quantised network's input: pixels or the normalised image."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.tail import pack, unpack

InputType = Literal["uint8", "int8", "float32"]

_TYPES = {"uint8": schema.TensorType.UINT8, "int8": schema.TensorType.INT8, "float32": schema.TensorType.FLOAT32}
_LEAST = {"uint8": 0, "int8": -128}  # what pixel 0 is


def with_input_type(content: bytes, input_type: InputType, input_range: tuple[float, float]) -> bytes:
    """Changes the input of a network.

    Behind a float32 input (16-bit activations) pixels are scaled in float; behind a uint8 input (8-bit activations) nothing has to be
    computed: the network's own 8-bit input has a step a grey level.

    Args:
        content: a network whose input is float32, or uint8 with a QUANTIZE to int8 behind it.
        input_type: of the network to be made; a uint8 input takes pixels, an int8 one pixels minus 128.
        input_range: what pixels 0 and 255 are in the normalised image.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    tensor = graph.tensors[graph.inputs[0]]
    if tensor.type == _TYPES[input_type]:
        return content
    if tensor.type == _TYPES["float32"]:
        _scale_pixels(model, input_type, input_range)
        return pack(model)
    first = graph.operators[0]
    if model.operatorCodes[first.opcodeIndex].builtinCode != schema.BuiltinOperator.QUANTIZE:
        raise ValueError("the network does not begin with QUANTIZE")
    if input_type == "float32":
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    else:
        graph.inputs = np.array([first.outputs[0]], np.int32)
        graph.operators.remove(first)
    return pack(model)


def _scale_pixels(model: schema.ModelT, input_type: InputType, input_range: tuple[float, float]) -> None:
    """Puts DEQUANTIZE and ADD in front of a float32 input: -1 to 1 has its zero between two pixel values, where no zero point can be."""
    graph = model.subgraphs[0]
    low, high = input_range
    scale = (high - low) / 255.0
    zero_point = round(-low / scale)
    normalized = int(graph.inputs[0])
    shape = graph.tensors[normalized].shape
    pixels = _add_tensor(model, "pixels", _TYPES[input_type], shape)
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array([scale], np.float32)
    quantization.zeroPoint = np.array([zero_point + _LEAST[input_type]], np.int64)
    graph.tensors[pixels].quantization = quantization
    scaled = _add_tensor(model, "scaled_pixels", _TYPES["float32"], shape)
    offset = _add_tensor(model, "zero_shift", _TYPES["float32"], np.array([1], np.int32), np.array([low + zero_point * scale], np.float32))
    add_options = schema.AddOptionsT()
    graph.operators[:0] = [
        _operator(model, schema.BuiltinOperator.DEQUANTIZE, 2, [pixels], scaled),
        _operator(model, schema.BuiltinOperator.ADD, 1, [scaled, offset], normalized, schema.BuiltinOptions.AddOptions, add_options),
    ]
    graph.inputs = np.array([pixels], np.int32)


def _add_tensor(model: schema.ModelT, name: str, kind: int, shape: np.ndarray, values: np.ndarray | None = None) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.shape, tensor.hasRank, tensor.buffer = name.encode(), kind, shape, True, 0
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def _operator(
    model: schema.ModelT, builtin: int, version: int, inputs: list[int], output: int, options_type: int = 0, options: object = None
) -> schema.OperatorT:
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, builtin, version
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes.append(code)
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
    operator.builtinOptionsType, operator.builtinOptions = options_type, options
    return operator
