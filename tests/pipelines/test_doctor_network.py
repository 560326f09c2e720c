"""What the doctor says about a config's anchors, and its autopsy, as a user gets them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from data_tools.checks.summary import ReaderSummary
from data_tools.tf_example import bytes_feature, encode_example, float_feature, frame_record, int64_feature, text_feature
from object_detection_ext.config import load_config
from object_detection_ext.errors import InputError
from object_detection_ext.findings import FindingCollector, Severity
from pipelines.doctor import main
from pipelines.doctor_anchors import AnchorLook, Objects, look_at_anchors, training_objects, write_patch

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
STOCK = CONFIGS / "ssdlite_mobilenet_v2_035_160x160_shapes.config"
FLAT = (0.1, 0.06)  # width and height of every object, in shares


def flat_boxes(count: int, seed: int) -> np.ndarray:
    """[count, 4], all of the size FLAT, anywhere in the image."""
    centers = np.random.default_rng(seed).uniform(0.1, 0.9, (count, 2))
    half = np.array([FLAT[1], FLAT[0]]) / 2
    return np.concatenate([centers - half, centers + half], axis=1).astype(np.float32)


def reader(boxes: np.ndarray, *, is_sound: bool = True, sizes: Any = (100, 200)) -> ReaderSummary:
    count = len(boxes)
    return ReaderSummary(
        name="train",
        paths=("train.record",),
        is_record_set=True,
        class_names={1: "flat"},
        file_ids=np.zeros(count, np.int32),
        record_indices=np.arange(count),
        offsets=np.zeros(count, np.int64),
        image_names=("",) * count,
        image_sizes=np.tile(np.array(sizes, np.int32), (count, 1)),
        num_boxes=np.ones(count, np.int32),
        boxes=boxes,
        box_images=np.arange(count, dtype=np.int32),
        class_ids=np.ones(count, np.int32),
        class_texts=("flat",) * count,
        is_crowd=np.zeros(count, bool),
        is_sound=np.full(count, is_sound),
    )


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stock config on twelve grey images with three flat objects each."""
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "map.pbtxt").write_text('item { id: 1 name: "flat" }\n')
    for name, seed in (("train", 0), ("test", 1)):
        rng = np.random.default_rng(seed)
        with (folder / f"{name}.record").open("wb") as file:
            for image in range(12):
                boxes = flat_boxes(3, 100 * seed + image)
                features = {
                    "image/encoded": bytes_feature([tf.io.encode_png(rng.integers(0, 255, (60, 90, 3)).astype(np.uint8)).numpy()]),
                    "image/source_id": text_feature([f"{name} {image}"]),
                    "image/object/class/label": int64_feature([1] * 3),
                    "image/object/class/text": text_feature(["flat"] * 3),
                }
                for column, key in enumerate(("ymin", "xmin", "ymax", "xmax")):
                    features[f"image/object/bbox/{key}"] = float_feature(boxes[:, column].tolist())
                file.write(frame_record(encode_example(features)))
    text = STOCK.read_text().replace("num_classes: 3", "num_classes: 1")
    for old, new in (
        ("runs/quickstart/data/train_label_map.pbtxt", "map.pbtxt"),
        ("runs/quickstart/data/train.record-?????-of-00002", "train.record"),
        ("runs/quickstart/data/test.record-?????-of-00001", "test.record"),
    ):
        assert old in text
        text = text.replace(old, str(folder / new))
    path = folder / "pipeline.config"
    path.write_text(text)
    return path


def test_anchors_a_patch_and_the_chain(config_path, tmp_path, capsys):
    patch, report = tmp_path / "anchors.patch", tmp_path / "doctor.json"
    flags = ["--anchor_patch", str(patch), "--json", str(report), "--autopsy", "--num_workers", "1"]
    assert main(["--pipeline_config_path", str(config_path), *flags]) == 0
    output = capsys.readouterr()
    checks = {check["check"]: check["findings"] for check in json.loads(report.read_text())["checks"]}
    (finding,) = checks["anchors_miss_objects"]
    assert finding["where"] == f"{config_path}:56"
    assert "of 36 objects are reached by no anchor at IoU 0.5 (flat " in finding["message"]
    assert "with the patch" in output.out and f"wrote {patch}; the heads keep their shapes" in output.out
    assert output.out.splitlines()[-3] == "no stage is broken"
    assert " 8  all together  " in output.out
    assert "autopsy 12/12 images" in output.err or output.err == ""  # a bar is shown only for what takes long

    patched = load_config(config_path, override=patch.read_text())
    again = FindingCollector()
    look = look_at_anchors(patched, reader(np.concatenate([flat_boxes(3, image) for image in range(12)])), again)
    assert look is not None
    before = float(finding["message"].partition("%")[0]) / 100
    assert look.anchors.coverage.overall.missed_share < before


def test_a_wrong_checkpoint_is_told_before_anything_is_read(config_path, tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        main(["--pipeline_config_path", str(config_path), "--autopsy", "--checkpoint_dir", str(tmp_path / "none")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--records", "x", "--autopsy"], "go with --pipeline_config_path"),
        (["--source", "x", "--anchor_patch", "f"], "go with --pipeline_config_path"),
        (["--pipeline_config_path", "x", "--checkpoint_dir", "d"], "--checkpoint_dir goes with --autopsy"),
        (["--pipeline_config_path", "x", "--anchors_per_location", "9"], "--anchors_per_location goes with --anchor_patch"),
        (["--pipeline_config_path", "x", "--anchor_patch", "f", "--no_anchors"], "exclude each other"),
        (["--pipeline_config_path", "x", "--autopsy_images", "0"], "must be a whole number from 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_that_do_not_go_together(flags, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(flags)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_network_that_cannot_be_built_is_an_error(config_path):
    override = "model { ssd { anchor_generator { ssd_anchor_generator { num_layers: 4 } } } }"
    findings = FindingCollector()
    assert look_at_anchors(load_config(config_path, override=override), reader(flat_boxes(30, 0)), findings) is None
    (group,) = findings.groups()
    assert (group.check, group.severity) == ("network_not_built", Severity.ERROR)
    assert "model.ssd.anchor_generator must have 6 layers, got 4" in group.findings[0].message


@pytest.mark.parametrize("broken", [None, reader(flat_boxes(3, 0), is_sound=False)], ids=["no_set", "no_sound_object"])
def test_nothing_to_train_on(config_path, broken):
    findings = FindingCollector()
    assert look_at_anchors(load_config(config_path), broken, findings) is None
    assert findings.groups() == ()


@pytest.fixture(scope="module")
def look(config_path) -> AnchorLook:
    look = look_at_anchors(load_config(config_path), reader(flat_boxes(60, 0)), FindingCollector())
    assert look is not None
    return look


def test_no_better_anchors_no_file(look, tmp_path):
    setup = look.setup
    anchors = setup.generator(setup.feature_map_shapes, image_shape=setup.input_shape)[:50]
    told = write_patch(replace(look, objects=Objects(anchors, np.ones(50, int))), tmp_path / "anchors.patch")
    assert told.endswith(f"no better anchors were found; {tmp_path / 'anchors.patch'} is not written")
    assert list(tmp_path.iterdir()) == []


def test_another_number_of_anchors(look, tmp_path):
    told = write_patch(look, tmp_path / "anchors.patch", anchors_per_location=8)
    assert "the heads change their shapes" in told
    assert "Another number of anchors at each location (8, 8, 8, 8, 8, 8)" in (tmp_path / "anchors.patch").read_text()
    with pytest.raises(InputError, match="--anchors_per_location must be >= 2, got 1"):
        write_patch(look, tmp_path / "anchors.patch", anchors_per_location=1)


def test_objects_of_unknown_images_and_crowds_are_left_out(look):
    unknown = reader(flat_boxes(3, 0))
    unknown.image_sizes[0], unknown.is_crowd[1] = 0, True
    assert len(training_objects(unknown, look.setup).boxes) == 1
