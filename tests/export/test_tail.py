from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from export.convert import TfliteConverter
from export.model import TrainedModel
from export.postprocess_op import postprocess_op_of
from export.tail import cut, join, pack, unpack
from export.tflite_graph import tflite_function


@pytest.fixture(scope="module")
def content(model: TrainedModel) -> bytes:
    postprocess = postprocess_op_of(model.detector, max_detections=20, use_regular_nms=True)
    return TfliteConverter(tflite_function(model.detector, postprocess), postprocess, (-1.0, 1.0)).float32()


def _run(content: bytes, image: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


def test_the_body_ends_at_the_heads(content: bytes, model: TrainedModel) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (1, 96, 128, 3)).astype(np.float32)
    heads = _run(cut(content).body, image)
    assert len(heads) == 12
    predictions = model.detector.predict(image)
    for name, expected in zip(("box encodings", "logits"), predictions, strict=True):
        rest = np.asarray(expected)
        for head in sorted(heads, key=lambda head: -head.shape[1]):  # finest feature map first, as the network joins them
            if head.shape[1] <= rest.shape[1] and np.allclose(rest[:, : head.shape[1]], head, atol=1e-3):
                rest = rest[:, head.shape[1] :]
        assert rest.shape[1] == 0, name


def test_cut_and_joined_it_is_the_same_model(content: bytes) -> None:
    image = np.random.default_rng(1).uniform(-1, 1, (1, 96, 128, 3)).astype(np.float32)
    halves = cut(content)
    for first, second in zip(_run(content, image), _run(join(halves.body, halves), image), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_model_without_the_operation_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="no TFLite_Detection_PostProcess"):
        cut(cut(content).body)


def test_weights_start_at_multiples_of_16_bytes(content: bytes) -> None:
    """The schema's `force_align: 16` of Buffer.data; some processors fault on less."""
    model = schema.Model.GetRootAs(pack(unpack(content)), 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    starts = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if buffer.DataLength()]
    assert len(starts) > 100
    assert {start % 16 for start in starts} == {0}
