"""The bytes of a `.tflite` file: inputs and outputs named, ordered and given static shapes."""

from __future__ import annotations

from collections.abc import Iterator

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.postprocess_op import OP_NAME, PostProcessOutputs

INPUT_NAME = "image"
SIGNATURE = "serving_default"
_BUILTIN = schema.BuiltinOperator
_MERGING_OPS = frozenset(  # minimum and maximum: box_encodings_clip_range
    {_BUILTIN.CONCATENATION, _BUILTIN.LOGISTIC, _BUILTIN.SOFTMAX, _BUILTIN.MINIMUM, _BUILTIN.MAXIMUM}
)


def with_named_outputs(content: bytes, *, max_detections: int) -> bytes:
    """Puts the outputs of a converted detector in order: boxes, classes, scores, count.

    The converter orders them as it likes, calls them `StatefulPartitionedCall:<n>` and leaves their shapes unknown.

    Args:
        content: A model with one input and one `TFLite_Detection_PostProcess`.
        max_detections: M, as given to the operation.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    outputs = [int(index) for index in _postprocess(model).outputs]
    shapes = ([1, max_detections, 4], [1, max_detections], [1, max_detections], [1])
    for index, name, shape in zip(outputs, PostProcessOutputs._fields, shapes, strict=True):
        tensor = graph.tensors[index]
        tensor.name, tensor.shape, tensor.shapeSignature, tensor.hasRank = name.encode(), np.array(shape, np.int32), None, True
    graph.outputs = np.array(outputs, np.int32)
    graph.tensors[graph.inputs[0]].name = INPUT_NAME.encode()
    model.signatureDefs = [_signature(int(graph.inputs[0]), outputs)]
    return _pack(model, len(content))


def merging_tensors(content: bytes) -> set[str]:
    """Names of the tensors where the feature maps' predictions are joined and turned into scores, in front of the post-processing.

    Walks back from `TFLite_Detection_PostProcess` over concatenations and score conversions; the heads behind them are not among these.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    producers = {int(index): operator for operator in graph.operators for index in operator.outputs}
    pending = [int(index) for index in _postprocess(model).inputs]
    names: set[str] = set()
    while pending:
        index = pending.pop()
        operator = producers.get(index)
        if operator is not None and model.operatorCodes[operator.opcodeIndex].builtinCode in _MERGING_OPS:
            names.add(graph.tensors[index].name.decode())
            pending.extend(int(source) for source in operator.inputs)
    return names


def postprocess_inputs(content: bytes) -> tuple[int, int]:
    """Tensor indices of the box encodings and the class scores that enter the post-processing."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    boxes, scores, _ = _postprocess(model).inputs
    return int(boxes), int(scores)


def operator_names(content: bytes) -> Iterator[tuple[str, bool]]:
    """Yields each operation's name and whether its first output is quantised to 8 bits."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        is_quantized = graph.tensors[operator.outputs[0]].type in (schema.TensorType.INT8, schema.TensorType.UINT8)
        yield (code.customCode.decode() if code.customCode else names[code.builtinCode]), is_quantized


def _postprocess(model: schema.ModelT) -> schema.OperatorT:
    for operator in model.subgraphs[0].operators:
        if model.operatorCodes[operator.opcodeIndex].customCode == OP_NAME.encode():
            return operator
    raise ValueError(f"the model has no {OP_NAME}")


def _signature(input_index: int, output_indices: list[int]) -> schema.SignatureDefT:
    def entry(name: str, index: int) -> schema.TensorMapT:
        tensor_map = schema.TensorMapT()
        tensor_map.name, tensor_map.tensorIndex = name.encode(), index
        return tensor_map

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    signature.inputs = [entry(INPUT_NAME, input_index)]
    signature.outputs = [entry(name, index) for name, index in zip(PostProcessOutputs._fields, output_indices, strict=True)]
    return signature


def _pack(model: schema.ModelT, size_hint: int) -> bytes:
    builder = flatbuffers.Builder(size_hint + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
