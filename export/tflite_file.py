"""The bytes of a `.tflite` file: inputs and outputs named, ordered and given static shapes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from export.postprocess_op import DetectionPostProcess, PostProcessOutputs
from export.tail import pack, postprocess_operator, unpack

INPUT_NAME = "image"
SIGNATURE = "serving_default"


def finish(content: bytes, postprocess: DetectionPostProcess) -> bytes:
    """Puts the outputs of a converted detector in order: boxes, classes, scores, count.

    The converter orders them as it likes, calls them `StatefulPartitionedCall:<n>`, leaves their shapes unknown, and loses the
    operation's `detections_per_class`, for which the runtime then takes 100.

    Args:
        content: A model with one input that ends in `postprocess`.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    operator = postprocess_operator(model)
    options = flexbuffers.Loads(bytes(operator.customOptions)) | {"detections_per_class": postprocess.max_detections_per_class}
    operator.customOptions = np.frombuffer(flexbuffers.Dumps(options), np.uint8)
    outputs, rows = [int(index) for index in operator.outputs], postprocess.max_detections
    shapes = ([1, rows, 4], [1, rows], [1, rows], [1])
    for index, name, shape in zip(outputs, PostProcessOutputs._fields, shapes, strict=True):
        tensor = graph.tensors[index]
        tensor.name, tensor.shape, tensor.shapeSignature, tensor.hasRank = name.encode(), np.array(shape, np.int32), None, True
    graph.outputs = np.array(outputs, np.int32)
    graph.tensors[graph.inputs[0]].name = INPUT_NAME.encode()
    model.signatureDefs = [_signature(int(graph.inputs[0]), outputs)]
    return pack(model)


def operator_names(content: bytes) -> Iterator[tuple[str, bool]]:
    """Yields each operation's name and whether its first output is quantised to 8 bits."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = unpack(content)
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        is_quantized = graph.tensors[operator.outputs[0]].type in (schema.TensorType.INT8, schema.TensorType.UINT8)
        yield (code.customCode.decode() if code.customCode else names[code.builtinCode]), is_quantized


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
