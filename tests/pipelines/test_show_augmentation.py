"""The command that draws what training sees."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from object_detection_ext.config import load_config
from object_detection_ext.errors import InputError
from pipelines.picture_table import Cell, View, draw_table
from pipelines.show_augmentation import main
from tests.object_detection_ext.data.records import NAMES, numbered, write

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """model { ssd {
  num_classes: 3
  image_resizer { fixed_shape_resizer { height: 48 width: 64 } }
  feature_extractor { type: "ssd_mobilenet_v2_keras" conv_hyperparams { activation: RELU_6 } }
} }
train_config { batch_size: 4 seed: 3
  data_augmentation_options { random_horizontal_flip {} }
  data_augmentation_options { ssd_random_crop {} } }
train_input_reader { label_map_path: "labels.pbtxt" tf_record_input_reader { input_path: "train.record" } }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Path("train.record"), numbered(10, broken=[7]))
    Path("labels.pbtxt").write_text("".join(f'item {{ id: {i} name: "{name}" }}\n' for i, name in enumerate(NAMES, start=1)))
    Path("pipeline.config").write_text(CONFIG)
    return tmp_path


def _show(*arguments: str) -> int:
    return main(["--pipeline_config_path", "pipeline.config", "--output", "out.png", *arguments])


def test_draws_are_those_of_training(folder):
    """The third record's first three appearances, against the batches that training gets."""
    from pipelines.augmented_record import open_record

    record = open_record(load_config("pipeline.config"), index=2, seed=5)
    batches = list(record.reader.dataset().take(8))  # 8 steps of 4: three epochs of 10
    seen = [(step * 4 + i, batch, i) for step, batch in enumerate(batches) for i in range(4) if batch.source_ids[i] == b"2"]
    positions = record.positions(3)
    assert positions == [position for position, _, _ in seen][:3]
    for position, batch, i in seen[:3]:
        shown = record.network_view(record.augment(record.decode(), position)[-1])
        pixels = (batch.images[i].numpy() + 1.0) * 127.5
        np.testing.assert_allclose(shown.pixels, pixels, atol=0.51)  # rounded
        count = batch.ground_truth.num_boxes[i]
        np.testing.assert_allclose(shown.boxes, batch.ground_truth.boxes[i, :count], atol=1e-6)
        np.testing.assert_array_equal(shown.class_ids, batch.ground_truth.classes[i, :count] + 1)


def test_grid_and_steps(folder, capsys):
    assert _show("--source_id", "4", "--num_draws", "3") == 0
    assert capsys.readouterr().out.splitlines() == [
        "record 4 (from 0) of train.record, source id 4",
        "stored: 25 x 32 pixels (height x width), 1 box",
        "augmentation: random_horizontal_flip, ssd_random_crop",
        "out.png: 3 draws of seed 3",
    ]
    assert Image.open("out.png").width == 10 + 2 * (64 * 5 + 10)  # two columns; 5 times 64 is the first above 300

    assert _show("--each_step", "--num_draws", "2", "--seed", "9") == 0
    assert capsys.readouterr().out.endswith("out.png: 2 draws of seed 9\n")
    assert Image.open("out.png").width > Image.open("out.png").height  # two rows of stored, flip, crop, network input


def test_without_augmentation_the_plain_record_is_drawn(folder, capsys):
    lines = [line for line in CONFIG.splitlines() if "data_augmentation_options" not in line]
    Path("pipeline.config").write_text("\n".join(lines).replace("seed: 3", "seed: 3 }"))
    assert _show() == 0
    assert "no augmentation is configured (train_config.data_augmentation_options)" in capsys.readouterr().err
    assert _show("--each_step") == 0


def test_records_of_another_file(folder):
    write(Path("other.record"), numbered(2))
    assert _show("--record", "other.record", "--index", "1", "--num_draws", "1") == 0
    Path("pipeline.config").write_text(CONFIG[: CONFIG.index("train_input_reader")])
    assert _show("--record", "other.record", "--num_draws", "1") == 0  # without a label map: classes are numbers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "10"], r"--index must be < 10, the number of records in train.record, got 10"),
        (["--source_id", "44"], r"--source_id: none of the 10 records has the source id '44'; the nearest is '4'"),
        (["--record", "absent"], r"--record: 'absent' matches no file"),
        (["--index", "7"], r"record 7 \(from 0\) of train.record \(source id '7'\): the image cannot be decoded"),
        (["--output", "out.gif"], r"--output must end with one of .jpeg, .jpg, .png, got out.gif"),
        (
            ["--config_override", "train_config { data_augmentation_options { scale_boxes_to_pixel_coordinates {} } }"],
            r"scale_boxes_to_pixel_coordinates is not supported: anchors are normalised",
        ),
        (["--seed", str(2**31)], r"train_config.seed must be <= 2147483647"),
    ],
)
def test_mistakes(folder, arguments, message):
    with pytest.raises(InputError, match=message):
        _show(*arguments)
    assert not Path("out.png").exists()


def test_no_train_reader(folder):
    Path("pipeline.config").write_text(CONFIG[: CONFIG.index("train_input_reader")])
    with pytest.raises(InputError, match=r"pipeline.config: train_input_reader is not set; name a TFRecord file with --record"):
        _show()


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--help"], 0, ""),
        (["--index", "1", "--source_id", "x"], 2, "not allowed with argument"),
        (["--pipeline_config_path", "a", "--output", "b.png", "--num_draws", "0"], 2, "must be a whole number from 1, got '0'"),
        (["--pipeline_config_path", "absent.config", "--output", "b.png"], 1, "error: No such file or directory: absent.config"),
    ],
)
def test_command_line_answers_at_once(arguments, code, error):
    start = time.perf_counter()
    command = [sys.executable, "-m", "pipelines.show_augmentation", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == code
    assert error in result.stderr
    assert time.perf_counter() - start < 2.0, "half a second on a quiet machine: TensorFlow must not be imported"


def test_large_pictures_are_scaled_down_and_long_titles_wrapped():
    pixels = np.full((100, 800, 3), 7, np.uint8)
    cell = Cell(View(pixels, np.zeros([0, 4]), np.zeros([0], int)), ["a caption"])
    assert draw_table([[cell]], names={}, title=["x"]).shape[1] == 820
    small = draw_table([[cell]], names={}, title=["x"], max_size=400)
    assert small.shape[1] == 420 and (small[-11, 10:410] == 7).all() and (small[-50:, :10] == 224).all()
    assert draw_table([[cell]], names={}, title=["words " * 40], max_size=400).shape[0] > small.shape[0] + 40
