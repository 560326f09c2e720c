"""The main job on a tiny set, through the commands that a user types: draw, convert, train, go on, evaluate, export, detect."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_tools.tf_example import frame_record
from object_detection_ext.data.record_index import index_records
from object_detection_ext.weights.names import part_of
from object_detection_ext.weights.open import open_weights

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "ssdlite_mobilenet_v2_035_160x160_shapes.config"
STEPS = 6


def command(*words, cwd, ok=True, timeout=300):
    """Runs `python words...` and returns the finished process with its output."""
    program = [str(ROOT / words[0]), *map(str, words[1:])] if str(words[0]).endswith(".py") else list(map(str, words))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *program], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    if ok:
        assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with records of 16 and 6 pictures, a config with relative paths, and a model trained for a few steps."""
    folder = tmp_path_factory.mktemp("job")
    for split, seed, count in (("train", 1, 16), ("test", 2, 6)):
        command(
            "-m",
            "data_tools.generate_shapes",
            "--output_dir",
            "shapes",
            "--split",
            split,
            "--seed",
            seed,
            "--num_images",
            count,
            cwd=folder,
        )
        convert = ["-m", "data_tools.create_tf_record", "--format", "voc", "--images", "shapes/JPEGImages"]
        convert += ["--annotations", "shapes/Annotations", "--split_file", f"shapes/ImageSets/Main/{split}.txt"]
        convert += ["--output", f"{split}.record"] + (["--label_map", "train_label_map.pbtxt"] if split == "test" else [])
        command(*convert, cwd=folder)
    text = CONFIG.read_text().replace("runs/quickstart/data/", "")
    text = text.replace("train.record-?????-of-00002", "train.record-?????-of-00001")
    text = text.replace("height: 160 width: 160", "height: 96 width: 96").replace("total_steps: 1500", "total_steps: 400")
    (folder / "pipeline.config").write_text(text)
    train(folder, "--num_train_steps", STEPS, "--checkpoint_every_n", 4)
    return folder


def train(folder, *flags, model_dir="model", ok=True):
    words = ["model_main_tf2.py", "--pipeline_config_path=pipeline.config", f"--model_dir={model_dir}", "--alsologtostderr", *flags]
    return command(*words, cwd=folder, ok=ok)


def test_training_leaves_what_the_api_leaves(work):
    names = {path.name for path in (work / "model").iterdir()}
    assert {"checkpoint", "pipeline.config", "train", "eval", "ckpt-4.index", "ckpt-6.index"} <= names
    assert list((work / "model" / "train").glob("events*"))
    assert list((work / "model" / "eval").glob("events*"))


def test_a_second_run_goes_on(work):
    done = train(work, "--num_train_steps", STEPS + 1, "--eval_every_n", 0)
    assert re.search(r"going on from .*ckpt-6 \(step 6\)", done.stderr)
    assert f"trained to step {STEPS + 1}" in done.stdout


def test_evaluation_writes_the_names_of_the_api(work):
    flags = ["--pipeline_config_path", "pipeline.config", "--checkpoint_dir", "model", "--model_dir", "evaluated", "--json", "metrics.json"]
    done = command("-m", "pipelines.evaluate", *flags, cwd=work)
    metrics = json.loads((work / "metrics.json").read_text())
    assert len([name for name in metrics if name.startswith(("DetectionBoxes_Precision/", "DetectionBoxes_Recall/"))]) == 12
    assert {f"DetectionBoxes_PerformanceByCategory/mAP/{name}" for name in ("circle", "square", "triangle")} <= set(metrics)
    assert "AP  IoU .50" in done.stdout
    assert list((work / "evaluated" / "eval").glob("events*"))


def test_evaluating_the_newest_checkpoint_as_the_api_does(work):
    done = train(work, "--checkpoint_dir=model", "--eval_timeout=0", model_dir="watched")
    assert "evaluation at step" in done.stdout
    assert list((work / "watched" / "eval").glob("events*"))


def test_export_and_detect_with_each_kind_of_model(work):
    export = ["--pipeline_config_path", "pipeline.config", "--trained_checkpoint_dir", "model", "--output_directory"]
    done = command("-m", "export.tflite", *export, "tflite", cwd=work)
    assert "model_int8.tflite" in done.stdout
    command("exporter_main_v2.py", *export, "saved", cwd=work)
    images = sorted((work / "shapes" / "JPEGImages").glob("shapes_2_*.jpg"))
    for model in ("model", "saved/saved_model", "tflite/model_float32.tflite", "tflite/model_int8.tflite"):
        flags = ["--model", model, "--images", images[0], images[1], "--output_dir", "pictures", "--json", "found.json"]
        command("-m", "pipelines.detect", *flags, "--score_threshold", 0.0, cwd=work)
        found = json.loads((work / "found.json").read_text())
        assert found, model
        assert set(found[0]) >= {"image_id", "category_id", "bbox", "score"}
        assert {entry["category_id"] for entry in found} <= {1, 2, 3}
        with Image.open(work / "pictures" / images[0].name) as picture:
            assert picture.size == (320, 320)


def test_sigterm_saves_and_the_next_run_goes_on(work):
    words = [str(ROOT / "model_main_tf2.py"), "--pipeline_config_path=pipeline.config", "--model_dir=stopped", "--eval_every_n=0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, *words], cwd=work, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step "):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
    assert process.returncode == 143
    step = int(re.search(r"stopped at step (\d+)", rest).group(1))
    assert (work / "stopped" / f"ckpt-{step}.index").exists()
    done = train(work, "--num_train_steps", step + 1, "--eval_every_n", 0, model_dir="stopped")
    assert f"going on from stopped/ckpt-{step}" in done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config_override=model { ssd { num_classes: 2 } }"], r"train_label_map.pbtxt.*id 3.*above num_classes 2"),
        (["--config_override=train_config { batch_size: 0 }"], r"--config_override: train_config.batch_size must be >= 1, got 0"),
        (["--config_override=train_config { num_stepz: 5 }"], r'unknown field "num_stepz" in train_config \(did you mean "num_steps"\?\)'),
        (["--config_override=train_input_reader { label_map_path: 'none.pbtxt' }"], r"label_map_path: there is no file 'none.pbtxt'"),
        (["--pipeline_config_path=missing.config"], r"No such file or directory: missing.config"),
    ],
    ids=["map above num_classes", "batch size", "typo", "label map missing", "no config"],
)
def test_a_mistake_is_one_line_and_exit_code_1(work, flags, message):
    done = train(work, *flags, model_dir="never", ok=False)
    assert done.returncode == 1
    last = [line for line in done.stderr.splitlines() if line.strip()]
    assert last[-1].startswith("error: ")
    assert re.search(message, last[-1])
    assert "Traceback" not in done.stderr
    assert not list((work / "never").glob("ckpt*"))


def test_wrong_flags_answer_at_once_with_exit_code_2(work):
    begin = time.perf_counter()
    done = train(work, "--num_train_stepz=5", ok=False)
    assert done.returncode == 2
    assert "did you mean --num_train_steps" in done.stderr
    assert time.perf_counter() - begin < 3  # TensorFlow alone takes longer


def test_a_checkpoint_of_another_model_is_refused(work):
    override = "--config_override=model { ssd { feature_extractor { depth_multiplier: 0.5 } } }"
    done = train(work, override, "--num_train_steps", 99, ok=False)
    assert done.returncode == 1
    assert "belongs to another model" in done.stderr


def test_fine_tuning_with_a_frozen_feature_extractor(work):
    train_config = "fine_tune_checkpoint: 'model' fine_tune_checkpoint_type: 'full' freeze_variables: 'FeatureExtractor/'"
    override = f"--config_override=train_config {{ {train_config} }}"
    done = train(work, "--fine_tune", override, "--num_train_steps", 2, "--eval_every_n", 0, model_dir="tuned")
    assert re.search(r"^weights from model/ckpt-\d+ .*\n.*restored .*\nbackbone: Conv1 to Conv_1_bn  +260 ", done.stderr, re.MULTILINE)
    assert re.search(r"^what trains: .*\n +trained +frozen\nbackbone: Conv1 to Conv_1_bn +- ", done.stderr, re.MULTILINE)
    before, after = open_weights(work / "model"), open_weights(work / "tuned")
    assert (after.step, before.shapes) == (2, after.shapes)
    for name in before.shapes:
        changed = not np.array_equal(before.read(name), after.read(name))
        if "/ClassPredictor/kernel" in name or "/moving_" in name:  # other weights of heads move where an object matches only
            assert changed, name
        elif part_of(name) != "heads":
            assert not changed, name


def test_a_broken_jpeg_is_named_and_training_goes_on(work):
    index = index_records([str(work / "train.record-00000-of-00001")])
    records = [index.read(number) for number in range(len(index))]
    start = records[3].index(b"\xff\xd8\xff")  # a JPEG's first bytes; what follows them tells its size and tables
    records[3] = records[3][: start + 3] + bytes(700) + records[3][start + 703 :]
    (work / "broken.record").write_bytes(b"".join(frame_record(record) for record in records))
    override = "--config_override=train_input_reader { tf_record_input_reader { input_path: 'broken.record' } }"
    # The override adds a path to the config's, as merging does: the good records stay.
    done = train(work, override, "--num_train_steps", 5, "--eval_every_n", 0, model_dir="broken")
    assert re.search(r"left out record 3 \(from 0\) of broken\.record \(source id ", done.stderr)
