"""The two scripts of the API: flags, output layout, what they refuse."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="module")
def exported(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "out"
    assert exporter_main_v2.main([*_flags(trained_folder, out), "--num_parity_images=2", "--alsologtostderr"]) == 0
    return out


def test_the_layout_is_the_apis(exported: Path) -> None:
    for name in (
        "checkpoint/checkpoint",
        "checkpoint/ckpt-0.index",
        "saved_model/saved_model.pb",
        "saved_model/variables",
        "pipeline.config",
    ):
        assert (exported / name).exists(), name
    assert "/" not in (exported / "checkpoint" / "checkpoint").read_text()  # no path of the temporary folder


def test_the_exported_checkpoint_and_config_can_be_exported_again(exported: Path, model: TrainedModel) -> None:
    network = model.detector.network
    before = [variable.numpy() for variable in network.variables]
    restore_network(network, exported / "checkpoint")
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_saved_model_runs(exported: Path, model: TrainedModel) -> None:
    loaded = tf.saved_model.load(str(exported / "saved_model"))
    image = np.random.default_rng(2).integers(0, 256, (1, 80, 60, 3), dtype=np.uint8)
    outputs = loaded.signatures["serving_default"](input_tensor=tf.constant(image))
    np.testing.assert_allclose(outputs["detection_scores"], model.detector.detect(image).scores, atol=1e-5)


def test_it_is_compared_with_the_checkpoint(trained_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = _flags(trained_folder, tmp_path / "out")
    assert exporter_main_v2.main([*flags, "--input_type", "tf_example", "--num_parity_images=1"]) == 0
    out, err = capfd.readouterr()
    row = out.splitlines()[-1].split()
    assert row[0] == "saved_model"
    matched, expected = row[1].split("/")
    assert matched == expected != "0"
    assert err == ""


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
def test_what_the_user_gave_is_checked(script: ModuleType, trained_folder: Path, tmp_path: Path) -> None:
    def run(**changes: str) -> None:
        values = {
            "pipeline_config_path": str(trained_folder / "pipeline.config"),
            "trained_checkpoint_dir": str(trained_folder),
            "output_directory": str(tmp_path / "out"),
        }
        script.main([f"--{name}={value}" for name, value in (values | changes).items()])

    with pytest.raises(OSError, match=r"absent\.config"):
        run(pipeline_config_path=str(tmp_path / "absent.config"))
    with pytest.raises(InputError, match=r"no checkpoint at .*absent"):
        run(trained_checkpoint_dir=str(tmp_path / "absent"))
    with pytest.raises(InputError, match="no checkpoint in"):
        run(trained_checkpoint_dir=str(tmp_path))
    with pytest.raises(InputError, match="belongs to another model"):
        run(config_override="model { ssd { num_classes: 5 } }")
    with pytest.raises(InputError, match="belongs to another model"):
        run(config_override="model { ssd { feature_extractor { depth_multiplier: 0.5 } } }")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file"):
        run(output_directory=str(tmp_path / "file"))
    assert not (tmp_path / "out").exists()


def _interpreter(content: bytes):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content)
