"""The two scripts of the API: flags, output layout, what they refuse."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

import export_tflite_graph_tf2
import exporter_main_v2
from export.model import TrainedModel
from object_detection_ext.errors import InputError
from object_detection_ext.training.checkpoints import restore_network


def _flags(trained_folder: Path, output_directory: Path) -> list[str]:
    return [
        f"--pipeline_config_path={trained_folder}/pipeline.config",
        f"--trained_checkpoint_dir={trained_folder}",
        f"--output_directory={output_directory}",
    ]


class Exported(NamedTuple):
    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def exported(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported") / "out"
    flags = [*_flags(trained_folder, folder), "--input_type", "tf_example", "--num_parity_images=2", "--alsologtostderr"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        assert exporter_main_v2.main(flags) == 0
    return Exported(folder, out.getvalue(), err.getvalue())


def test_the_layout_is_the_apis(exported: Exported) -> None:
    for name in (
        "checkpoint/checkpoint",
        "checkpoint/ckpt-0.index",
        "saved_model/saved_model.pb",
        "saved_model/variables",
        "pipeline.config",
    ):
        assert (exported.folder / name).exists(), name
    assert "/" not in (exported.folder / "checkpoint" / "checkpoint").read_text()  # no path of the temporary folder


def test_the_exported_checkpoint_and_config_can_be_exported_again(exported: Exported, model: TrainedModel) -> None:
    network = model.detector.network
    before = [variable.numpy() for variable in network.variables]
    restore_network(network, exported.folder / "checkpoint")
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_it_has_been_run_and_compared_with_the_checkpoint(exported: Exported) -> None:
    name, matched = exported.out.splitlines()[-1].split()[:2]
    assert name == "saved_model"
    found, expected = matched.split("/")
    assert found == expected != "0"
    assert exported.err == ""


def test_without_records_it_is_exported_all_the_same(trained_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "pipeline.config"
    config.write_text((trained_folder / "pipeline.config").read_text().replace("eval.record", "nowhere.record"))
    assert exporter_main_v2.main([*_flags(trained_folder, tmp_path / "out"), f"--pipeline_config_path={config}"]) == 0
    assert "not compared with the checkpoint" in capfd.readouterr().err
    assert "nowhere" in (tmp_path / "out" / "pipeline.config").read_text()


def test_the_tflite_graph_converts_to_the_apis_output_order(
    trained_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert export_tflite_graph_tf2.main(_flags(trained_folder, tmp_path / "out")) == 0
    printed = capfd.readouterr()
    assert "0.057 against 0.102" in printed.out and "--ssd_use_regular_nms=true --max_detections=100" in printed.out
    assert printed.err == ""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "out" / "saved_model"))
    converter.allow_custom_ops = True
    content = converter.convert()
    interpreter = _interpreter(content)
    assert [detail["name"] for detail in interpreter.get_input_details()] == ["serving_default_input:0"]
    names = [detail["name"] for detail in interpreter.get_output_details()]
    assert names == [f"StatefulPartitionedCall:{index}" for index in (1, 3, 0, 2)]  # as the API's export converts
    interpreter.allocate_tensors()
    interpreter.invoke()
    scores, boxes, count, classes = (interpreter.get_tensor(detail["index"]).shape for detail in interpreter.get_output_details())
    assert (scores, boxes, count, classes) == ((1, 10), (1, 10, 4), (1,), (1, 10))


def test_regular_suppression_needs_no_warning(trained_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert export_tflite_graph_tf2.main([*_flags(trained_folder, tmp_path / "out"), "--ssd_use_regular_nms", "True"]) == 0
    assert "0.057" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("script", "flag", "words"),
    [
        (exporter_main_v2, "--input_type=image_and_boxes_tensor", "predict masks of given boxes"),
        (exporter_main_v2, "--input_type=jpeg", "--input_type must be one of image_tensor, "),
        (exporter_main_v2, "--use_side_inputs", "--use_side_inputs is for Context R-CNN"),
        (exporter_main_v2, "--side_input_names=a", "--side_input_names is for Context R-CNN"),
        (exporter_main_v2, "--output_dir=x", "did you mean --output_directory?"),
        (exporter_main_v2, "stray", "unexpected argument 'stray'"),
        (export_tflite_graph_tf2, "--centernet_include_keypoints", "is for CenterNet"),
        (export_tflite_graph_tf2, "--keypoint_label_map_path=x", "is for CenterNet"),
        (export_tflite_graph_tf2, "--max_detections=0", "--max_detections=0"),
        (export_tflite_graph_tf2, "stray", "unexpected argument 'stray'"),
    ],
)
def test_wrong_flags_end_with_2(script: ModuleType, flag: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        script.main(["--pipeline_config_path=a", "--trained_checkpoint_dir=b", "--output_directory=c", flag])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("script", [exporter_main_v2, export_tflite_graph_tf2])
@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--pipeline_config_path={tmp}/absent.config", "absent.config"),
        ("--trained_checkpoint_dir={tmp}/absent", "no checkpoint at .*absent"),
        ("--trained_checkpoint_dir={tmp}", "no checkpoint in"),
        ("--config_override=model {{ ssd {{ num_clases: 5 }} }}", "num_classes"),
    ],
)
def test_what_the_user_gave_is_checked(script: ModuleType, flag: str, words: str, trained_folder: Path, tmp_path: Path) -> None:
    with pytest.raises((InputError, OSError), match=words):
        script.main([*_flags(trained_folder, tmp_path / "out"), flag.format(tmp=tmp_path)])
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_model_is_refused(trained_folder: Path, tmp_path: Path) -> None:
    flags = [*_flags(trained_folder, tmp_path / "out"), "--config_override=model { ssd { num_classes: 5 } }"]
    with pytest.raises(InputError, match="belongs to another model"):
        exporter_main_v2.main(flags)
    assert not (tmp_path / "out").exists()


def _interpreter(content: bytes):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content)
