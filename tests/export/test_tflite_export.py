"""Conversion and back: the files are run by the TFLite runtime."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import flexbuffers

from export import tflite, tflite_export
from export.convert import TfliteConverter
from export.model import TrainedModel
from export.tail import postprocess_operator, unpack
from export.tflite_export import TfliteExport, TfliteOptions, export_tflite, label_lines
from export.tflite_file import operator_names
from object_detection_ext.config import load_config
from object_detection_ext.errors import InputError
from object_detection_ext.models.normalization import PixelScaling

OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


@pytest.fixture(scope="module")
def export(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> TfliteExport:
    return export_tflite(model, tmp_path_factory.mktemp("export") / "out", TfliteOptions(max_detections=25))


@pytest.mark.parametrize("kind", ["float32", "fp16", "int8"])
def test_inputs_and_outputs_are_named_ordered_and_static(export: TfliteExport, kind: str) -> None:
    interpreter = Interpreter(str(export.files[kind]))
    (image,) = interpreter.get_input_details()
    assert (image["name"], image["shape"].tolist()) == ("image", [1, 96, 128, 3])
    assert image["dtype"] == (np.uint8 if kind == "int8" else np.float32)
    outputs = interpreter.get_output_details()
    assert [output["name"] for output in outputs] == list(OUTPUTS)
    assert [output["shape"].tolist() for output in outputs] == [[1, 25, 4], [1, 25], [1, 25], [1]]
    assert [output["shape_signature"].tolist() for output in outputs] == [[1, 25, 4], [1, 25], [1, 25], [1]]
    assert {output["dtype"] for output in outputs} == {np.float32}
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": list(OUTPUTS)}}


def test_float32_finds_what_the_checkpoint_finds(export: TfliteExport) -> None:
    parity = export.parity["float32"]
    assert (parity.num_images, parity.num_expected, parity.num_matched) == (4, 100, 100)  # 25 on each evaluation image
    assert parity.max_score_difference < 1e-3
    assert parity.min_iou > 0.99


def test_fp16_finds_nearly_the_same(export: TfliteExport) -> None:
    """The random weights of this detector magnify the rounding of weights to ten bits; trained ones do not."""
    parity = export.parity["fp16"]
    assert parity.num_matched >= 90
    assert parity.mean_score_difference < 0.02
    assert parity.mean_iou > 0.95


@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
def test_int8_predicts_nearly_the_same(export: TfliteExport, model: TrainedModel, example_image) -> None:
    """Compared in front of the suppression: random weights make so many near ties that what it picks says little."""
    assert export.parity["int8"].num_matched > 0
    inputs, _ = model.detector.preprocess(example_image(0, seed=1)[np.newaxis])
    predictions = model.detector.predict(inputs)
    content = export.files["int8"].read_bytes()
    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.rint(model.detector.denormalize(inputs)).astype(np.uint8))
    interpreter.invoke()
    boxes, scores, _ = (int(index) for index in postprocess_operator(unpack(content)).inputs)
    assert np.corrcoef(interpreter.get_tensor(boxes).ravel(), np.ravel(predictions.box_encodings))[0, 1] > 0.6
    expected_scores = model.detector.postprocessing.convert_scores(predictions.class_logits)
    assert np.corrcoef(interpreter.get_tensor(scores).ravel(), np.ravel(expected_scores))[0, 1] > 0.6


def test_int8_gives_every_feature_map_its_own_scale(export: TfliteExport) -> None:
    graph = unpack(export.files["int8"].read_bytes())
    dequantized = [
        graph.subgraphs[0].tensors[operator.inputs[0]].quantization.scale[0]
        for operator in graph.subgraphs[0].operators
        if graph.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.DEQUANTIZE
    ]
    assert len(dequantized) == 12  # six feature maps, boxes and classes
    assert len(set(dequantized)) == 12


def test_int8_quantises_all_convolutions_and_joins_in_float(export: TfliteExport) -> None:
    operators = list(operator_names(export.files["int8"].read_bytes()))
    assert all(is_quantized for name, is_quantized in operators if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "RESHAPE"))
    assert [is_quantized for name, is_quantized in operators if name in ("CONCATENATION", "LOGISTIC")] == [False] * 3


def test_int8_takes_pixels(export: TfliteExport) -> None:
    (image,) = Interpreter(str(export.files["int8"])).get_input_details()
    scale, zero_point = image["quantization"]
    assert scale == pytest.approx(2 / 255, rel=1e-6)
    assert zero_point in (127, 128)


@pytest.mark.parametrize("kind", ["float32", "fp16", "int8"])
def test_tensors_are_called_after_the_networks_layers(export: TfliteExport, kind: str) -> None:
    """As Netron shows them: no names joined by the converter, and none that it made up."""
    model = unpack(export.files[kind].read_bytes())
    names = [tensor.name.decode() for tensor in model.subgraphs[0].tensors]
    assert len(set(names)) == len(names)
    assert not [name for name in names if ";" in name or name.startswith(("tfl.", "arith."))]
    codes = [code.builtinCode for code in model.operatorCodes]
    first = next(each for each in model.subgraphs[0].operators if codes[each.opcodeIndex] == schema.BuiltinOperator.CONV_2D)
    layer = "detector/Conv1_relu"
    assert [names[index] for index in (*first.inputs[1:], first.outputs[0])] == [f"{layer}/kernel", f"{layer}/bias", f"{layer}/Relu6"]


def test_sizes_shrink(export: TfliteExport) -> None:
    sizes = {kind: path.stat().st_size for kind, path in export.files.items()}
    assert sizes["fp16"] < 0.6 * sizes["float32"]
    assert sizes["int8"] < 0.5 * sizes["float32"]


def test_labels_are_by_class_index_with_gaps_filled(export: TfliteExport) -> None:
    assert export.files["labels"].read_text() == "cat\nclass_2\nbird\n"


def test_without_a_label_map_classes_are_numbered(model: TrainedModel) -> None:
    config = model.config.merged("train_input_reader { label_map_path: '' } eval_input_reader { label_map_path: '' }", source="test")
    config.proto.eval_input_reader[0].label_map_path = ""
    assert label_lines(config, num_classes=2) == ["class_1", "class_2"]


def test_the_table_names_files_and_sizes(export: TfliteExport) -> None:
    table = export.table()
    for name in ("model_float32.tflite", "model_fp16.tflite", "model_int8.tflite", "labels.txt", "KiB"):
        assert name in table


def test_images_that_the_config_does_not_have_are_an_error_for_int8_and_a_remark_for_float(model: TrainedModel, tmp_path: Path) -> None:
    config = load_config(
        model.config.path,
        override="train_input_reader { tf_record_input_reader { input_path: 'nowhere' } }",
    )
    config.proto.eval_input_reader[0].tf_record_input_reader.input_path[:] = ["nowhere"]
    without = model._replace(config=config)
    with pytest.raises(InputError, match=r"train_input_reader.*'nowhere' matches no file"):
        export_tflite(without, tmp_path / "int8", TfliteOptions(types=("int8",)))
    assert not (tmp_path / "int8").exists()
    lines: list[str] = []
    made = export_tflite(without, tmp_path / "float", TfliteOptions(types=("float32",)), report=lines.append)
    assert made.parity == {}
    assert any("not compared with the checkpoint" in line and "nowhere" in line for line in lines)


def test_pixels_normalised_by_channel_cannot_be_taken_as_they_are(model: TrainedModel, tmp_path: Path) -> None:
    detector = dataclasses.replace(model.detector, normalize=PixelScaling(1.0, (-123.0, -117.0, -104.0)))
    with pytest.raises(InputError, match="each channel differently"):
        export_tflite(model._replace(detector=detector), tmp_path / "out", TfliteOptions(types=("int8",), num_parity_images=0))


def test_an_error_on_the_way_leaves_no_file(model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: TfliteConverter) -> bytes:
        raise RuntimeError("converter")

    monkeypatch.setattr(TfliteConverter, "float32", lambda self: b"model")
    monkeypatch.setattr(tflite_export, "with_metadata", lambda content, metadata: content)
    monkeypatch.setattr(TfliteConverter, "fp16", fail)
    with pytest.raises(RuntimeError, match="converter"):
        export_tflite(model, tmp_path / "out", TfliteOptions(types=("float32", "fp16"), num_parity_images=0))
    assert list(tmp_path.iterdir()) == []


def test_the_command_makes_what_is_asked_for(trained_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = [f"--pipeline_config_path={trained_folder}/pipeline.config", f"--trained_checkpoint_dir={trained_folder}"]
    flags += [f"--output_directory={tmp_path}/out", "--types=float32", "--num_parity_images=2", "--fast_nms", "--max_detections=5"]
    flags.append("--no-certificate")
    assert tflite.main(flags) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model_float32.tflite", "labels.txt"}
    out, err = capfd.readouterr()
    assert f"{tmp_path}/out/model_float32.tflite" in out
    assert "compared with the checkpoint" in out
    assert err == ""
    model = unpack((tmp_path / "out" / "model_float32.tflite").read_bytes())
    settings = flexbuffers.GetRoot(bytes(postprocess_operator(model).customOptions)).AsMap
    assert settings["use_regular_nms"].AsBool is False
    assert settings["max_detections"].AsInt == 5
    assert settings["detections_per_class"].AsInt == 20
    assert settings["num_classes"].AsInt == 3


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--types=float32,int4", "comma list of float32, fp16, dynamic, int8, int16, got 'float32,int4'"),
        ("--types=", "comma list"),
        ("--max_detections=0", "must be a whole number from 1, got '0'"),
        ("--num_calibration_images=many", "got 'many'"),
        ("--zzz", "--zzz"),
    ],
)
def test_wrong_flags_end_with_2(flag: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        tflite.main(["--pipeline_config_path=a", "--trained_checkpoint_dir=b", "--output_directory=c", flag])
    assert end.value.code == 2
    assert words in capsys.readouterr().err
