"""How a run begins: what model_dir, config and flags say, and what contradicts."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import model_main_tf2
from object_detection_ext.errors import InputError
from pipelines.train import TrainOptions, train

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "ssdlite_mobilenet_v2_035_160x160_shapes.config"
FINE_TUNE = 'train_config { fine_tune_checkpoint: "nowhere/ckpt-0" fine_tune_checkpoint_type: "detection" }'


@pytest.fixture(autouse=True)
def no_tuning(monkeypatch):
    """TensorFlow's settings are those of the whole process."""
    for name in ("use_training_kernels", "use_small_network_threads"):
        monkeypatch.setattr(f"pipelines.train.{name}", lambda: None)


@pytest.fixture
def checkpoint_folder(tmp_path):
    """A model_dir with something that looks like a checkpoint: nothing here opens it."""
    for name in ("ckpt-5.index", "ckpt-5.data-00000-of-00001"):
        (tmp_path / name).touch()
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-5"\nall_model_checkpoint_paths: "ckpt-5"\n')
    return tmp_path


def start(model_dir, how, override=""):
    return train(TrainOptions(str(CONFIG), str(model_dir), start=how, config_override=override, num_train_steps=1, eval_every_n=0))


def test_resume_needs_a_checkpoint(tmp_path):
    with pytest.raises(InputError, match=rf"^--resume needs a checkpoint in --model_dir {tmp_path}, got none"):
        start(tmp_path, "resume")


@pytest.mark.parametrize("how", ["from_scratch", "fine_tune"])
def test_a_new_start_needs_a_folder_without_checkpoints(checkpoint_folder, how):
    with pytest.raises(InputError, match=rf"^--{how} needs a --model_dir \S+ without checkpoints, got \S+ckpt-5; name another folder, or"):
        start(checkpoint_folder, how, FINE_TUNE)


def test_fine_tune_needs_a_checkpoint_in_the_config(tmp_path):
    with pytest.raises(
        InputError, match=r"shapes\.config:\d+: train_config\.fine_tune_checkpoint must be set with --fine_tune, got nothing$"
    ):
        start(tmp_path, "fine_tune")


def test_weights_that_are_not_there_are_told_before_anything_is_built(tmp_path):
    begin = time.perf_counter()
    with pytest.raises(InputError, match=r"^--config_override: train_config\.fine_tune_checkpoint: no checkpoint at nowhere/ckpt-0"):
        start(tmp_path, "auto", FINE_TUNE)
    assert time.perf_counter() - begin < 1.0
    assert not list(tmp_path.iterdir())


def test_from_scratch_does_not_look_at_fine_tune_checkpoint(tmp_path):
    """Not even where its path is still to be filled in. The next mistake is told instead."""
    override = 'train_config { fine_tune_checkpoint: "PATH_TO_BE_CONFIGURED/ckpt-0" } model { ssd { num_classes: 0 } }'
    with pytest.raises(InputError, match="1 field still holds PATH_TO_BE_CONFIGURED; fill in train_config"):
        start(tmp_path, "auto", override)
    with pytest.raises(InputError, match=r"model\.ssd\.num_classes must be >= 1, got 0"):
        start(tmp_path, "from_scratch", override)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from_scratch", "--resume"], "at most one of --from_scratch, --fine_tune, --resume, got --from_scratch and --resume"),
        (["--fine_tune", "--from_scratch"], "got --from_scratch and --fine_tune"),
        (["--resume", "--checkpoint_dir=there"], "--resume is for training; with --checkpoint_dir nothing is trained"),
    ],
)
def test_contradictions_are_usage_errors(capsys, flags, message):
    with pytest.raises(SystemExit) as ended:
        model_main_tf2.main(["--pipeline_config_path=c", "--model_dir=m", *flags])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_contradictions_answer_at_once():
    words = ["model_main_tf2.py", "--pipeline_config_path=c", "--model_dir=m", "--from_scratch", "--resume"]
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert time.perf_counter() - begin < 3  # TensorFlow alone takes longer


@pytest.mark.parametrize("how", ["from_scratch", "fine_tune"])
def test_a_checkpoint_of_a_folder_that_was_moved_is_seen_too(checkpoint_folder, how):
    state = 'model_checkpoint_path: "/gone/model/ckpt-5"\nall_model_checkpoint_paths: "/gone/model/ckpt-5"\n'  # as the API writes it
    (checkpoint_folder / "checkpoint").write_text(state)
    with pytest.raises(InputError, match=rf"^--{how} needs a --model_dir \S+ without checkpoints, got {checkpoint_folder}/ckpt-5"):
        start(checkpoint_folder, how, FINE_TUNE)
