"""Frozen graphs of TF 1: `frozen_inference_graph.pb`, in which every variable has become a constant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf

from object_detection_ext.errors import InputError
from object_detection_ext.weights.source import WeightSource
from object_detection_ext.weights.tf1_checkpoint import scheme_of


def open_frozen_graph(path: str | Path) -> WeightSource:
    """Opens a frozen graph.

    A variable is recognised as a constant that an Identity of the same name reads (`<name>/read`, `<name>/.../ReadVariableOp`); other
    constants are settings. Graphs that were optimised for inference have lost these and folded batch normalisation into kernels: they are
    refused. Where the exporter put moving averages in place of the weights, the averages are what there is.

    Raises:
        InputError: no such file, it is not a graph, or it has no variables that were frozen.
    """
    import google.protobuf.message
    from tensorflow.core.framework import graph_pb2

    path = Path(path)
    if not path.is_file():
        raise InputError(f"frozen graph {path} does not exist")
    graph = graph_pb2.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except google.protobuf.message.DecodeError as error:
        raise InputError(f"{path} is not a frozen graph: it cannot be parsed as a GraphDef") from error
    tensors = _frozen_variables(graph.node)
    if not tensors:
        operations = len(graph.node)
        raise InputError(
            f"{path} holds no weights that can be told apart: none of its {operations} operations reads a constant as a variable "
            "(<name>/read); graphs that were folded or optimised for inference cannot be imported, give the graph or checkpoint before"
        )
    scheme = scheme_of(tensors)
    return WeightSource(
        path=str(path),
        kind="frozen graph of a TF 1 detector" if scheme == "tf1" else "frozen graph of a TF 1 classifier (slim)",
        scheme=scheme,
        shapes={name: _shape(tensor) for name, tensor in tensors.items()},
        read=lambda name: tf.make_ndarray(tensors[name]),
    )


def _frozen_variables(nodes: Iterable[Any]) -> dict[str, Any]:
    """TensorProto of every frozen variable by name; scalars (step counters, ranges of quantisation) left out."""
    nodes = list(nodes)
    constants = {node.name: node.attr["value"].tensor for node in nodes if node.op == "Const"}
    read = {
        node.input[0]
        for node in nodes
        if node.op == "Identity" and node.input and (node.name == f"{node.input[0]}/read" or node.name.endswith("/ReadVariableOp"))
    }
    return {name: constants[name] for name in sorted(read) if name in constants and _shape(constants[name])}


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(dimension.size for dimension in tensor.tensor_shape.dim)
