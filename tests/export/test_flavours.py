"""`raw` and `decoded` files, types and inputs: run by the TFLite runtime and compared with the detector's own tensors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from export import onnx, tflite
from export.exported_model import ExportedModel, flavour_of
from export.flavours import OUTPUTS, file_stem
from export.input_type import with_input_type
from export.model import TrainedModel
from export.tail import unpack
from export.tflite_export import TfliteExport, TfliteOptions, export_tflite
from export.tflite_file import operator_names
from object_detection_ext.errors import InputError


@pytest.fixture(scope="module")
def export(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> TfliteExport:
    options = TfliteOptions(types=("float32", "dynamic", "int8"), flavours=("raw", "decoded"), num_parity_images=3)
    return export_tflite(model, tmp_path_factory.mktemp("flavours") / "out", options)


@pytest.fixture(scope="module")
def int16(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A raw file that takes the normalised image."""
    options = TfliteOptions(types=("int16",), flavours=("raw",), input_type="float32", num_parity_images=0)
    return export_tflite(model, tmp_path_factory.mktemp("int16") / "out", options).files["raw_int16"].read_bytes()


def run(content: bytes, image: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


def test_files_are_named_by_flavour_and_type(export: TfliteExport) -> None:
    assert {path.name for path in export.files["labels"].parent.iterdir()} == {
        *(f"model_{flavour}_{kind}.tflite" for flavour in ("raw", "decoded") for kind in ("float32", "dynamic", "int8")),
        "labels.txt",
        "postprocessing.json",
    }
    assert [file_stem("nms", "int8"), file_stem("raw", "fp16"), file_stem("decoded")] == ["model_int8", "model_raw_fp16", "model_decoded"]


@pytest.mark.parametrize("name", ["raw_float32", "raw_int8", "decoded_dynamic", "decoded_int8"])
def test_outputs_are_named_ordered_and_static(export: TfliteExport, model: TrainedModel, name: str) -> None:
    interpreter = Interpreter(str(export.files[name]))
    outputs, anchors = interpreter.get_output_details(), len(model.detector.anchors)
    names = list(OUTPUTS["raw" if name.startswith("raw") else "decoded"])
    assert [output["name"] for output in outputs] == names
    assert [output["shape_signature"].tolist() for output in outputs] == [[1, anchors, 4], [1, anchors, 3]]
    assert {output["dtype"] for output in outputs} == {np.float32}
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": names}}


def test_all_operations_are_builtin_and_layers_have_names_of_their_own(export: TfliteExport) -> None:
    for path in (path for path in export.files.values() if path.suffix == ".tflite"):
        graph = unpack(path.read_bytes())
        assert not any(code.customCode for code in graph.operatorCodes)
        names = [tensor.name.decode() for tensor in graph.subgraphs[0].tensors]
        assert len(set(names)) == len(names)
        assert not any(";" in name for name in names)


def test_float_tensors_are_the_checkpoints(export: TfliteExport) -> None:
    for name in ("raw_float32", "decoded_float32"):
        assert max(export.tensor_errors[name].values()) < 1e-3
        assert (export.parity[name].num_matched, export.parity[name].num_images) == (export.parity[name].num_expected, 3)


def test_activations_in_sixteen_bits_weights_in_eight(int16: bytes) -> None:
    graph = unpack(int16)
    tensors = graph.subgraphs[0].tensors
    types = {
        tuple(tensors[index].type for index in (*operator.inputs, *operator.outputs))
        for operator in graph.subgraphs[0].operators
        if graph.operatorCodes[operator.opcodeIndex].builtinCode
        in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    }
    kinds = schema.TensorType
    assert types == {(kinds.INT16, kinds.INT8, kinds.INT64, kinds.INT16)}
    assert all(is_quantized for name, is_quantized in operator_names(int16) if "CONV_2D" in name)


def test_tails_hang_on_one_network(export: TfliteExport) -> None:
    """Quantised once: the network's weights are the same bytes in both flavours."""

    def kernels(name: str) -> list[bytes]:
        graph = unpack(export.files[name].read_bytes())
        tensors = graph.subgraphs[0].tensors
        return [
            bytes(graph.buffers[tensors[operator.inputs[1]].buffer].data)
            for operator in graph.subgraphs[0].operators
            if graph.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
        ]

    assert kernels("raw_int8") == kernels("decoded_int8") != []


def test_decoded_boxes_by_hand(export: TfliteExport, model: TrainedModel, example_image) -> None:
    """`postprocessing.json` and the raw file give what the decoded file gives: Faster R-CNN's formula in numpy."""
    settings = json.loads(export.files["postprocessing"].read_text())
    assert settings["box_coder"] == {
        "type": "FasterRcnnBoxCoder", "y_scale": 10.0, "x_scale": 10.0, "height_scale": 5.0, "width_scale": 5.0
    }  # fmt: skip
    suppression = settings["non_max_suppression"]
    assert (suppression["iou_threshold"], suppression["max_detections_per_class"]) == (pytest.approx(0.6), 20)
    anchors = np.array(settings["anchors"])
    inputs = model.detector.preprocess(example_image(0, seed=1)[np.newaxis])[0][0].numpy()
    codes = ExportedModel(export.files["raw_float32"], model.detector)(inputs)["box_encodings"][0]
    center = codes[:, :2] / 10.0 * anchors[:, 2:] + anchors[:, :2]
    size = np.exp(codes[:, 2:] / 5.0) * anchors[:, 2:]
    decoded = ExportedModel(export.files["decoded_float32"], model.detector)(inputs)
    np.testing.assert_allclose(decoded["boxes"][0], np.concatenate([center - size / 2, center + size / 2], axis=1), atol=1e-4)


def test_int16_computes_the_same_from_pixels(int16: bytes) -> None:
    """In float: the value of every grey level is exact but for rounding."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3))
    from_image = run(int16, (pixels / 127.5 - 1.0).astype(np.float32))
    uint8 = run(with_input_type(int16, "uint8", (-1.0, 1.0)), pixels.astype(np.uint8))
    int8 = run(with_input_type(int16, "int8", (-1.0, 1.0)), (pixels - 128).astype(np.int8))
    for first, second, third in zip(from_image, uint8, int8, strict=True):
        np.testing.assert_array_equal(second, third)
        np.testing.assert_allclose(first, second, atol=0.02)


def test_int8_computes_the_same_from_every_input(export: TfliteExport) -> None:
    """The normalised image of a grey level is between two steps of the input's scale; here it is given on a step."""
    content = export.files["raw_int8"].read_bytes()
    (image,) = Interpreter(model_content=content).get_input_details()
    scale, zero_point = image["quantization"]
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3))
    uint8 = run(content, pixels.astype(np.uint8))
    int8 = run(with_input_type(content, "int8", (-1.0, 1.0)), (pixels - 128).astype(np.int8))
    normalized = run(with_input_type(content, "float32", (-1.0, 1.0)), ((pixels - zero_point) * scale).astype(np.float32))
    for first, second, third in zip(uint8, int8, normalized, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, third)


def test_outputs_of_no_flavour_are_refused() -> None:
    with pytest.raises(InputError, match=r"a\.tflite: outputs x, y are those of no flavour"):
        flavour_of({"x": 0, "y": 0}, "a.tflite")


@pytest.mark.parametrize(
    ("command", "flag", "words"),
    [
        (tflite, "--flavour=raw,fast", "comma list of nms, raw, decoded, got 'raw,fast'"),
        (tflite, "--input_type=int16", "'int16'"),
        (tflite, "--flavour=raw --fast_nms", "--fast_nms is for --flavour nms"),
        (onnx, "--flavour=nms", "comma list of raw, decoded, got 'nms'"),
        (onnx, "--opset=9", "9"),
    ],
)
def test_wrong_flags_end_with_2(command, flag: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(["--pipeline_config_path=a", "--trained_checkpoint_dir=b", "--output_directory=c", *flag.split()])
    assert end.value.code == 2
    assert words in capsys.readouterr().err
