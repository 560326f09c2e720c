"""What a `.tflite` file holds: its operations with their types, without loading TensorFlow or the runtime."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

from object_detection_ext.errors import InputError

_IDENTIFIER = b"TFL3"  # bytes 4 to 8 of every file; source: file_identifier in schema.fbs of TFLite
_BROKEN = (struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError)


class Operation(NamedTuple):
    """One operation of a graph."""

    name: str  # as in the schema's BuiltinOperator, or the custom operation's own
    type: str  # of what it computes with: "float32", "int8", "uint8", "int16", ...
    num_inputs: int


def read_model(path: Path) -> bytes:
    """The bytes of a `.tflite`.

    Raises:
        InputError: there is no such file, or it is none.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a .tflite file")
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise InputError(f"{path} is not a .tflite model: bytes 4 to 8 are {content[4:8]!r}, expected {_IDENTIFIER!r}")
    return content


def read_operations(content: bytes, path: Path) -> list[Operation]:
    """The operations of a model's main graph, in order.

    Args:
        content: the model.
        path: its name, for messages.

    Raises:
        InputError: the file is broken.
    """
    from ai_edge_litert import schema_py_generated as schema

    types = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    builtin = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    try:
        model: Any = schema.Model.GetRootAs(content, 0)
        graph = model.Subgraphs(0)
        operations = []
        for i in range(graph.OperatorsLength()):
            operator = graph.Operators(i)
            code = model.OperatorCodes(operator.OpcodeIndex())
            # Files of before 2020 have the code in a field of 8 bits.
            name = (code.CustomCode() or b"").decode() or builtin[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            tensors = [graph.Tensors(index) for index in (operator.Inputs(0), operator.Outputs(0))]
            # DEQUANTIZE is an operation of its input's type, all others of what they give.
            kind = types[tensors[0 if name == "DEQUANTIZE" else 1].Type()]
            operations.append(Operation(name, kind, operator.InputsLength()))
        return operations
    except _BROKEN as error:
        raise InputError(f"{path} is a broken .tflite model: its graph cannot be read ({error or type(error).__name__})") from error


def custom_options(content: bytes, name: str) -> dict[str, Any] | None:
    """The options of the first custom operation of a name, such as `TFLite_Detection_PostProcess`; None where there is none.

    Args:
        content: a model that `read_operations` has read.
    """
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import flexbuffers

    model: Any = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        if model.OperatorCodes(operator.OpcodeIndex()).CustomCode() == name.encode() and operator.CustomOptionsLength():
            try:
                options = flexbuffers.Loads(bytes(operator.CustomOptionsAsNumpy()))
            except _BROKEN:
                return None
            return options if isinstance(options, dict) else None
    return None
