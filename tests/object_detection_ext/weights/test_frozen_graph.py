"""Frozen graphs, built by hand as TF 1's `convert_variables_to_constants` leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from object_detection_ext.errors import InputError
from object_detection_ext.weights.frozen_graph import open_frozen_graph


def _graph(path: Path, constants: dict[str, np.ndarray], identities: Sequence[tuple[str, str]]) -> Path:
    graph = graph_pb2.GraphDef()
    for name, value in constants.items():
        node = graph.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    for name, source in identities:
        graph.node.add(name=name, op="Identity").input.append(source)
    path.write_bytes(graph.SerializeToString())
    return path


def test_variables_of_both_kinds_and_no_other_constants(tmp_path: Path):
    kernel = np.arange(27, dtype=np.float32).reshape(3, 3, 3, 1)
    path = _graph(
        tmp_path / "frozen_inference_graph.pb",
        {
            "FeatureExtractor/MobilenetV2/Conv/weights": kernel,
            "BoxPredictor_0/ClassPredictor/biases": np.float32([1, 2]),
            "Preprocessor/sub/y": np.float32([1.0, 2.0]),
            "act_quant/min": np.float32(0),
        },
        [
            ("FeatureExtractor/MobilenetV2/Conv/weights/read", "FeatureExtractor/MobilenetV2/Conv/weights"),
            ("BoxPredictor_0/ClassPredictor/biases/Read/ReadVariableOp", "BoxPredictor_0/ClassPredictor/biases"),
            ("act_quant/min/read", "act_quant/min"),
            ("Identity", "Preprocessor/sub/y"),
        ],
    )
    source = open_frozen_graph(path)
    assert source.shapes == {"BoxPredictor_0/ClassPredictor/biases": (2,), "FeatureExtractor/MobilenetV2/Conv/weights": (3, 3, 3, 1)}
    assert (source.kind, source.scheme, source.step) == ("frozen graph of a TF 1 detector", "tf1", None)
    np.testing.assert_array_equal(source.read("FeatureExtractor/MobilenetV2/Conv/weights"), kernel)


def test_a_classifier(tmp_path: Path):
    name = "MobilenetV1/Conv2d_0/weights"
    source = open_frozen_graph(_graph(tmp_path / "frozen.pb", {name: np.ones((3, 3, 3, 8))}, [(f"{name}/read", name)]))
    assert source.scheme == "slim"


class TestRefused:
    def test_folded(self, tmp_path: Path):
        path = _graph(tmp_path / "optimized.pb", {"MobilenetV1/Conv2d_0/weights": np.ones((3, 3, 3, 8))}, [])
        with pytest.raises(InputError, match="holds no weights that can be told apart: none of its 1 operations"):
            open_frozen_graph(path)

    def test_no_graph(self, tmp_path: Path):
        (tmp_path / "some.pb").write_bytes(b"not a graph at all")
        with pytest.raises(InputError, match="is not a frozen graph"):
            open_frozen_graph(tmp_path / "some.pb")

    def test_absent(self, tmp_path: Path):
        with pytest.raises(InputError, match="does not exist"):
            open_frozen_graph(tmp_path / "some.pb")
