"""The command: what it says of weights, and that what it writes is read again here and by the original's rules."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from object_detection_ext.command_line import run
from object_detection_ext.config import load_config
from pipelines.checkpoint import main

ROOT = Path(__file__).parents[2]
MODEL = "ssdlite_v2_dm0.35_160"


def command(*arguments: object) -> int:
    return run(lambda: main([str(argument) for argument in arguments]))


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_inspect(golden, capsys):
    assert command("inspect", golden(f"{MODEL}_ckpt")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:10] == [
        str(golden(f"{MODEL}_ckpt") / "ckpt-1"),
        "  kind        TF 2 checkpoint of the Object Detection API",
        "  network     SSDLite MobileNetV2, depth multiplier 0.35",
        "  classes     4 scores an anchor: 3 classes and the background, or 4 classes without",
        "  step        7",
        "  parameters  478,926 in 404 variables",
        "",
        "  scope                                  variables  parameters",
        "  backbone                                     260     322,896",
        "  FeatureMaps                                   60      83,340",
    ]


def test_inspect_lists_the_variables(golden, capsys):
    assert command("inspect", golden(f"{MODEL}_ckpt"), "--names") == 0
    assert "  Conv1/kernel [3, 3, 3, 16]" in capsys.readouterr().out.splitlines()


def test_inspect_compares_with_a_config(golden, capsys):
    config = golden("ssdlite_v2_dm1.0_320.config")
    assert command("inspect", golden(f"{MODEL}_ckpt"), "--pipeline_config_path", config) == 0
    assert "shape mismatch, left fresh: Conv1/kernel (3, 3, 3, 32) here, (3, 3, 3, 16) in the file" in capsys.readouterr().out


def test_import_and_the_way_back(golden, tmp_path, capsys):
    """The checkpoint of the original, imported and exported, holds the values that it held."""
    import tensorflow as tf

    config, original = golden(f"{MODEL}.config"), golden(f"{MODEL}_ckpt")
    imported, exported = tmp_path / "imported", tmp_path / "exported"
    assert command("import", original, "--pipeline_config_path", config, "--output_dir", imported) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {imported}/ckpt-7 and pipeline.config"
    assert contents(imported) == ["checkpoint", "ckpt-7.data-00000-of-00001", "ckpt-7.index", "pipeline.config"]
    assert load_config(imported / "pipeline.config").proto == load_config(config).proto

    back = ("export", "--pipeline_config_path", imported / "pipeline.config", "--checkpoint_dir", imported, "--output_dir", exported)
    assert command(*back) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"wrote {exported}/ckpt-7 and pipeline.config for the Object Detection API"
    before, after = tf.train.load_checkpoint(str(original / "ckpt-1")), tf.train.load_checkpoint(str(exported / "ckpt-7"))
    assert before.get_variable_to_shape_map() == after.get_variable_to_shape_map()
    for key in before.get_variable_to_shape_map():
        if not key.startswith(("save_counter", "_CHECKPOINTABLE")):
            np.testing.assert_array_equal(before.get_tensor(key), after.get_tensor(key), err_msg=key)


def test_a_config_for_the_original_has_its_names_and_no_fields_of_ours(golden):
    from pipelines.api_config import as_api_config

    text = 'model { ssd { feature_extractor { type: "ssd_mobilenet_v2" } } } train_config { seed: 3 batch_size: 8 }'
    converted = as_api_config(load_config(golden(f"{MODEL}.config"), override=text))
    assert converted.config.proto.model.ssd.feature_extractor.type == "ssd_mobilenet_v2_keras"
    assert not converted.config.proto.train_config.HasField("seed")
    assert converted.config.proto.train_config.batch_size == 8
    assert converted.changes == (
        "train_config.seed is left out: the API does not know it",
        "model.ssd.feature_extractor.type is ssd_mobilenet_v2_keras: what ssd_mobilenet_v2 is called in TF 2",
    )


class TestMistakes:
    def test_too_little_fits_and_nothing_is_written(self, golden, tmp_path, capsys):
        wider = golden("ssdlite_v2_dm1.0_320.config")
        code = command("import", golden(f"{MODEL}_ckpt"), "--pipeline_config_path", wider, "--output_dir", tmp_path / "out")
        assert code == 1
        assert "the checkpoint is of depth 0.35, the config says 1" in capsys.readouterr().err
        assert contents(tmp_path) == []

    def test_a_network_that_the_original_does_not_build(self, golden, tmp_path, capsys):
        path = tmp_path / "strided.config"
        path.write_text(golden(f"{MODEL}.config").read_text().replace("depth_multiplier: 0.35", "depth_multiplier: 0.35 output_stride: 16"))
        code = command(
            *("export", "--pipeline_config_path", path, "--checkpoint_dir", golden(f"{MODEL}_ckpt"), "--output_dir", tmp_path / "out")
        )
        assert code == 1
        message = capsys.readouterr().err
        assert "model.ssd.feature_extractor.output_stride is this project's own: the API builds another network without it" in message
        assert contents(tmp_path) == ["strided.config"]

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["inspect", "absent"], 1, "error: no checkpoint at absent, there is no such file or folder; expected a checkpoint's prefix"),
            (["inspect", "README.md"], 1, "error: README.md is of no kind that can be read; expected a checkpoint's prefix"),
            (["inspect", "imagenet"], 1, "error: imagenet means weights for a network: give a pipeline config too"),
            (["import", "absent", "--pipeline_config_path", "c", "--output_dir", "o"], 1, "error: no checkpoint at absent"),
            (
                ["export", "--pipeline_config_path", "c", "--checkpoint_dir", "absent", "--output_dir", "o"],
                1,
                "error: no checkpoint at absent",
            ),
            (["--help"], 0, ""),
            ([], 2, "the following arguments are required"),
        ],
        ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
    )
    def test_are_told_before_tensorflow_is_loaded(self, arguments, code, message):
        start = time.perf_counter()
        program = f"import sys; from pipelines.checkpoint import main, run; c = run(lambda: main({arguments!r})); "
        program += "sys.exit(c if 'tensorflow' not in sys.modules else 99)"
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, message in done.stderr) == (code, True), done.stderr
        assert time.perf_counter() - start < 5
