"""Cuts a `.tflite` detector in two, so that only its network is quantised, and puts it together again.

The tail is what follows the heads: the predictions of the feature maps are joined, logits become scores, and, by flavour, boxes are
decoded or the fused operation decodes and suppresses. Joined in 8 bits, the box codes of all feature maps would have to share one
scale, likewise the logits, and the converter gives the heads' convolutions that scale even where the join itself is kept in float.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.postprocess_op import OP_NAME

_BUILTIN = schema.BuiltinOperator
_JOINING = frozenset(
    {_BUILTIN.CONCATENATION, _BUILTIN.LOGISTIC, _BUILTIN.SOFTMAX, _BUILTIN.MUL}
    | {_BUILTIN.MINIMUM, _BUILTIN.MAXIMUM, _BUILTIN.RELU_0_TO_1}  # box_encodings_clip_range
    | {_BUILTIN.STRIDED_SLICE, _BUILTIN.SLICE, _BUILTIN.EXP, _BUILTIN.ADD, _BUILTIN.SUB, _BUILTIN.DIV}  # box coders
    | {_BUILTIN.SQRT}  # square_box_coder
)


class Halves(NamedTuple):
    """A detector cut behind its heads."""

    body: bytes  # a model whose outputs are the heads
    whole: schema.ModelT  # the model it was cut from
    tail: list[schema.OperatorT]  # operations of `whole`, in order
    heads: list[int]  # tensors of `whole` that enter the tail, in the order of the body's outputs


def cut(content: bytes) -> Halves:
    """Cuts a model of any flavour. Heads are in the order of their names, so that bodies of one network fit all its tails.

    Raises:
        ValueError: Nothing follows the heads.
    """
    whole = unpack(content)
    graph = whole.subgraphs[0]
    producers = {int(index): operator for operator in graph.operators for index in operator.outputs}
    pending, tail_ids, heads = [int(index) for index in graph.outputs], set(), set()
    while pending:
        index = pending.pop()
        operator = producers.get(index)
        if operator is None:  # a constant
            continue
        if _joins(whole, operator):
            tail_ids.add(id(operator))
            pending.extend(int(source) for source in operator.inputs)
        else:
            heads.add(index)
    if not tail_ids:
        raise ValueError(f"the model has no {OP_NAME}, and nothing else follows its heads")
    tail = [operator for operator in graph.operators if id(operator) in tail_ids]
    ordered = sorted(heads, key=lambda index: graph.tensors[index].name)
    body = unpack(content)
    body.subgraphs[0].operators = [operator for operator in body.subgraphs[0].operators if not _is_in(operator, tail)]
    body.subgraphs[0].outputs = np.array(ordered, np.int32)
    body.signatureDefs = None
    _drop_unused_codes(body)
    _drop_unused_tensors(body)
    return Halves(pack(body), whole, tail, ordered)


def join(body: bytes, halves: Halves) -> bytes:
    """Puts the tail behind a body whose outputs are the same heads, float32; `join(halves.body, halves)` is the model again."""
    model = unpack(body)
    graph, whole = model.subgraphs[0], halves.whole
    places = dict(zip(halves.heads, map(int, graph.outputs), strict=True))  # tensor of `whole` -> tensor of `model`
    for operator in halves.tail:
        for index in map(int, [*operator.inputs, *operator.outputs]):
            if index not in places:
                places[index] = _add_tensor(model, whole, index)
        moved = copy.copy(operator)
        moved.inputs = np.array([places[int(index)] for index in operator.inputs], np.int32)
        moved.outputs = np.array([places[int(index)] for index in operator.outputs], np.int32)
        moved.opcodeIndex = len(model.operatorCodes)
        model.operatorCodes.append(whole.operatorCodes[operator.opcodeIndex])
        graph.operators.append(moved)
    graph.outputs = np.array([places[int(index)] for index in whole.subgraphs[0].outputs], np.int32)
    model.signatureDefs = None
    return pack(model)


def unpack(content: bytes) -> schema.ModelT:
    """A model's bytes as objects."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def pack(model: schema.ModelT) -> bytes:
    """The inverse of `unpack`."""
    builder = _AlignedBuilder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def postprocess_operator(model: schema.ModelT) -> schema.OperatorT:
    """The model's `TFLite_Detection_PostProcess`."""
    for operator in model.subgraphs[0].operators:
        if model.operatorCodes[operator.opcodeIndex].customCode == OP_NAME.encode():
            return operator
    raise ValueError(f"the model has no {OP_NAME}")


class _AlignedBuilder(flatbuffers.Builder):
    """Content of buffers starts at multiples of 16 bytes: the schema asks for it (`force_align`), the generated `Pack` forgets it."""

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        if x.dtype == np.uint8:
            self.Prep(16, x.size)
        return super().CreateNumpyVector(x)


def _joins(model: schema.ModelT, operator: schema.OperatorT) -> bool:
    """Whether an operation that leads to an output belongs to the tail; the float value of a constant stored in 16 bits does."""
    code = model.operatorCodes[operator.opcodeIndex]
    if code.builtinCode == _BUILTIN.DEQUANTIZE:
        return model.buffers[model.subgraphs[0].tensors[operator.inputs[0]].buffer].data is not None
    return code.builtinCode in _JOINING or code.customCode == OP_NAME.encode()


def _is_in(operator: schema.OperatorT, tail: list[schema.OperatorT]) -> bool:
    return any(np.array_equal(operator.outputs, other.outputs) for other in tail)


def _drop_unused_codes(model: schema.ModelT) -> None:
    """The calibrator refuses a model that declares operations it does not use."""
    operators = model.subgraphs[0].operators
    used = sorted({operator.opcodeIndex for operator in operators})
    for operator in operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[index] for index in used]


def _drop_unused_tensors(model: schema.ModelT) -> None:
    """Leaves out what only the tail used; it brings its constants along."""
    graph = model.subgraphs[0]
    used = {int(index) for operator in graph.operators for index in [*operator.inputs, *operator.outputs]}
    kept = sorted((used | {int(index) for index in [*graph.inputs, *graph.outputs]}) - {-1})
    places = {index: place for place, index in enumerate(kept)} | {-1: -1}  # -1: an input left out
    for owner in (graph, *graph.operators):
        owner.inputs, owner.outputs = (np.array([places[int(i)] for i in each], np.int32) for each in (owner.inputs, owner.outputs))
    graph.tensors = [graph.tensors[index] for index in kept]
    stored = {tensor.buffer for tensor in graph.tensors} | {entry.buffer for entry in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in stored:
            buffer.data = None


def _add_tensor(model: schema.ModelT, source: schema.ModelT, index: int) -> int:
    """Copies a tensor, with its content where it is a constant, and returns its new index."""
    tensor = copy.copy(source.subgraphs[0].tensors[index])
    buffer = source.buffers[tensor.buffer]
    if buffer.data is None:
        tensor.buffer = 0  # by convention empty
    else:
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1
