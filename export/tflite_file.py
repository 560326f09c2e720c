"""The bytes of a `.tflite` file: inputs and outputs named, ordered and given static shapes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from export.flavours import OUTPUTS
from export.postprocess_op import DetectionPostProcess
from export.tail import pack, postprocess_operator, unpack

INPUT_NAME = "image"
SIGNATURE = "serving_default"

_MADE = ("tfl.", "arith.")  # how names of the converter's own begin
_OPERATORS = schema.BuiltinOperator
_WEIGHTED = (_OPERATORS.CONV_2D, _OPERATORS.DEPTHWISE_CONV_2D, _OPERATORS.FULLY_CONNECTED)
_QUANTIZED = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16)


def finish(content: bytes, postprocess: DetectionPostProcess | None, *, outputs: Sequence[str] = OUTPUTS["nms"]) -> bytes:
    """Names the inputs, outputs and layers of a converted detector, and puts the outputs of `TFLite_Detection_PostProcess` in order.

    The converter names outputs `StatefulPartitionedCall:<n>`, leaves the shapes of the operation's unknown, and loses
    its `detections_per_class`, for which the runtime then takes 100.

    Args:
        content: A model with one input.
        postprocess: What it ends in, if it does.
        outputs: Their names, in order: of the operation's outputs, or of the model's.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    if postprocess is not None:
        graph.outputs = np.array(_complete(model, postprocess), np.int32)
    indices = [int(index) for index in graph.outputs]
    graph.tensors[graph.inputs[0]].name = INPUT_NAME.encode()
    _name_layers(model)
    for index, name in zip(indices, outputs, strict=True):
        graph.tensors[index].name = name.encode()
    model.signatureDefs = [_signature(int(graph.inputs[0]), dict(zip(outputs, indices, strict=True)))]
    return pack(model)


def order_outputs(content: bytes, names: Sequence[str]) -> bytes:
    """Puts the outputs of a model as it comes from the converter, which orders them as it likes, in the order of these names."""
    model = unpack(content)
    places = {entry.name.decode(): int(entry.tensorIndex) for entry in model.signatureDefs[0].outputs}
    model.subgraphs[0].outputs = np.array([places[name] for name in names], np.int32)
    return pack(model)


def custom_operations(content: bytes) -> set[str]:
    """The names of a model's operations that are not builtin."""
    return {code.customCode.decode() for code in unpack(content).operatorCodes if code.customCode}


def operator_names(content: bytes) -> Iterator[tuple[str, bool]]:
    """Yields each operation's name and whether its first output is quantised."""
    names = {value: name for name, value in vars(_OPERATORS).items() if isinstance(value, int)}
    model = unpack(content)
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        is_quantized = graph.tensors[operator.outputs[0]].type in _QUANTIZED
        yield (code.customCode.decode() if code.customCode else names[code.builtinCode]), is_quantized


def _complete(model: schema.ModelT, postprocess: DetectionPostProcess) -> list[int]:
    """Gives the operation what the converter lost, and returns its outputs."""
    operator = postprocess_operator(model)
    options = flexbuffers.Loads(bytes(operator.customOptions)) | {"detections_per_class": postprocess.max_detections_per_class}
    operator.customOptions = np.frombuffer(flexbuffers.Dumps(options), np.uint8)
    outputs, rows = [int(index) for index in operator.outputs], postprocess.max_detections
    for index, shape in zip(outputs, ([1, rows, 4], [1, rows], [1, rows], [1]), strict=True):
        tensor = model.subgraphs[0].tensors[index]
        tensor.shape, tensor.shapeSignature, tensor.hasRank = np.array(shape, np.int32), None, True
    return outputs


def _name_layers(model: schema.ModelT) -> None:
    """Gives every tensor one readable name of its own; results come first.

    The converter joins the names of all operations that it has fused, and numbers what it has made itself (`tfl.pseudo_qconst7`).
    """
    graph = model.subgraphs[0]
    proposed = {index: tensor.name.decode().partition(";")[0].removesuffix(":0") for index, tensor in enumerate(graph.tensors)}
    results = [int(index) for operator in graph.operators for index in operator.outputs]
    for operator in reversed(graph.operators):  # what several read is called after the first
        is_weighted = model.operatorCodes[operator.opcodeIndex].builtinCode in _WEIGHTED
        layer = proposed[int(operator.outputs[0])].rpartition("/")[0]
        for place, index in enumerate(map(int, operator.inputs)):
            if index >= 0 and (proposed[index].startswith(_MADE) or (is_weighted and place > 0)):
                role = ("input", "kernel", "bias")[place] if is_weighted else f"input_{place}"
                proposed[index] = f"{layer}/{role}" if layer else role
    taken: set[str] = set()
    for index in dict.fromkeys([*map(int, graph.inputs), *results, *proposed]):
        names = itertools.chain([proposed[index]], (f"{proposed[index]}_{number}" for number in itertools.count(2)))
        name = next(each for each in names if each not in taken)
        taken.add(name)
        graph.tensors[index].name = name.encode()


def _signature(input_index: int, outputs: dict[str, int]) -> schema.SignatureDefT:
    def entry(name: str, index: int) -> schema.TensorMapT:
        tensor_map = schema.TensorMapT()
        tensor_map.name, tensor_map.tensorIndex = name.encode(), index
        return tensor_map

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    signature.inputs = [entry(INPUT_NAME, input_index)]
    signature.outputs = [entry(name, index) for name, index in outputs.items()]
    return signature
