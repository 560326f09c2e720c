from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import reference_parity
from benchmarks.reference_parity import MAP, Run, Spread, checkpoint_report, is_not_below, training_report, write_config
from benchmarks.training_process import Side
from object_detection_ext.errors import InputError
from object_detection_ext.text_proto import set_fields

RECALL = "DetectionBoxes_Recall/AR@1"
STAND_IN = """#!/bin/sh
echo "$@" >> {calls}
for argument; do
  case "$argument" in
    --model_dir=*) mkdir -p "${{argument#*=}}"; for n in 1 12; do echo > "${{argument#*=}}/ckpt-$n.index"; done
      head -c 200000 /dev/zero > "${{argument#*=}}/ckpt-12.data-00000-of-00001" ;;
    --json=*) echo '{{"{tag}": 0.5}}' > "${{argument#*=}}" ;;
    *.unfinished) echo '{{"{tag}": 0.25}}' > "$argument" ;;
  esac
done
"""
CONFIG = """model {{ ssd {{ num_classes: 1 }} }}
train_config {{ num_steps: {steps} }}
train_input_reader {{ label_map_path: "a/map.pbtxt" tf_record_input_reader {{ input_path: "a/train-*" input_path: "b" }} }}
eval_input_reader {{ label_map_path: "/map.pbtxt" tf_record_input_reader {{ input_path: "a/test" }} }}
"""


def _run(side: Side, seed: int, value: float) -> Run:
    return Run(side, seed, 60.0, {MAP: value, RECALL: 2 * value, "Loss/total_loss": 1.0})


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A program that behaves as both interpreters do, in milliseconds."""
    program = tmp_path / "python"
    program.write_text(STAND_IN.format(calls=tmp_path / "calls", tag=MAP))
    program.chmod(0o755)
    return program


def _calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def test_spread_is_the_sample_deviation() -> None:
    spread = Spread([_run("ours", seed, value) for seed, value in enumerate((0.4, 0.5, 0.6))], MAP)
    assert (spread.mean, spread.deviation) == pytest.approx((0.5, 0.1))
    assert Spread([_run("ours", 0, 0.4)], MAP).deviation == 0.0


@pytest.mark.parametrize(("ours", "good"), [(0.41, True), (0.38, False)], ids=["within one deviation", "below"])
def test_the_verdict(ours: float, good: bool) -> None:
    runs = [*(_run("reference", seed, value) for seed, value in enumerate((0.4, 0.5, 0.6))), _run("ours", 0, ours)]
    text, verdict = training_report(runs)
    assert verdict == good == is_not_below(Spread(runs[3:], MAP), Spread(runs[:3], MAP))
    assert f"| {MAP} | {ours:.4f} ± 0.0000 | 0.5000 ± 0.1000 |" in text
    assert f"| {RECALL} | {2 * ours:.4f} ± 0.0000 | 1.0000 ± 0.2000 |" in text
    assert "Loss" not in text
    assert f"mAP {ours:.4f} is {'not below' if good else 'BELOW'} 0.4000, the original's mean less one standard deviation" in text


@pytest.mark.parametrize(("difference", "good"), [(0.9e-4, True), (1.1e-4, False)])
def test_one_checkpoint_must_have_the_same_numbers(difference: float, good: bool) -> None:
    text, verdict = checkpoint_report({MAP: 0.5, RECALL: 0.25, "Loss/total_loss": 9.0}, {MAP: 0.5, RECALL: 0.25 + difference})
    assert verdict == good
    assert f"the largest difference is {difference:.1e}" in text


def test_finished_runs_are_not_repeated(tmp_path: Path, stand_in: Path) -> None:
    config, folder = tmp_path / "input.config", tmp_path / "ours_3"

    def call() -> Run:
        return reference_parity.train_and_evaluate("ours", 3, python=stand_in, config=config, num_steps=20, folder=folder)

    assert call().metrics == {MAP: 0.5}
    train, evaluate = _calls(tmp_path)
    assert train.endswith("--num_train_steps=20 --checkpoint_every_n=20 --eval_every_n=0 --seed=3 --alsologtostderr")
    assert f"--checkpoint_dir={folder}/model/ckpt-12 " in evaluate
    call()
    assert len(_calls(tmp_path)) == 2
    (folder / "metrics.json").unlink()  # broken off while it evaluated
    call()
    assert "pipelines.evaluate" in _calls(tmp_path)[-1] and len(_calls(tmp_path)) == 3
    (folder / "trained.json").unlink()  # broken off while it trained
    call()
    assert len(_calls(tmp_path)) == 5


def test_the_original_evaluates_with_its_own_evaluator(tmp_path: Path, stand_in: Path) -> None:
    run = reference_parity.train_and_evaluate(
        "reference", 0, python=stand_in, config=tmp_path / "input.config", num_steps=100, folder=tmp_path / "reference_0"
    )
    assert run.metrics == {MAP: 0.25}
    train, evaluate = _calls(tmp_path)
    assert train.startswith("-m object_detection.model_main_tf2 ") and "--seed" not in train
    assert evaluate.startswith("-P ") and "reference_evaluation.py" in evaluate


def test_a_failed_run_is_told_with_its_last_lines(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no such record >&2\nexit 7\n")
    program.chmod(0o755)
    with pytest.raises(InputError, match=r"training ended with exit code 7 \(.*log.txt\): no such record"):
        reference_parity.train_and_evaluate("ours", 0, python=program, config=tmp_path / "c", num_steps=1, folder=tmp_path / "ours_0")


def test_both_sides_read_one_config_with_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source, target = Path("mine.config"), Path("out/input.config")
    source.write_text(CONFIG.format(steps=7))
    assert write_config(source, target) == 7
    written = {field.path: field.value for field in set_fields(reference_parity.load_config(target).proto)}
    assert written["train_input_reader.tf_record_input_reader.input_path[0]"] == f"{tmp_path}/a/train-*"
    assert written["train_input_reader.tf_record_input_reader.input_path[1]"] == f"{tmp_path}/b"
    assert written["eval_input_reader[0].label_map_path"] == "/map.pbtxt"
    assert write_config(source, target) == 7  # the same again
    with pytest.raises(InputError, match=r"runs would not compare. Name another --output_dir"):
        write_config(source, target, num_steps=20)
    source.write_text(CONFIG.format(steps=0))
    with pytest.raises(InputError, match=r"has no train_config.num_steps; give --num_train_steps"):
        write_config(source, Path("other.config"))


def test_a_checkpoint_evaluated_by_both(tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reference_parity.sys, "executable", str(stand_in))
    Path("mine.config").write_text(CONFIG.format(steps=0))
    Path("model").mkdir()
    Path("model/ckpt-3.index").touch()
    arguments = ["--reference_python", str(stand_in), "--config", "mine.config", "--output_dir", "out"]
    assert reference_parity.main([*arguments, "--evaluate_checkpoint", "model/ckpt-3"]) == reference_parity.BELOW  # 0.5 and 0.25
    assert f"| {MAP} | 0.500000 | 0.250000 | 2.5e-01 |" in capsys.readouterr().out
    assert json.loads(Path("out/evaluation.json").read_text())["metrics"] == {"ours": {MAP: 0.5}, "reference": {MAP: 0.25}}
    with pytest.raises(InputError, match=r"--evaluate_checkpoint model/ckpt-4: there is no .*ckpt-4.index"):
        reference_parity.main([*arguments, "--evaluate_checkpoint", "model/ckpt-4"])


@pytest.mark.parametrize(("text", "message"), [("1,a", "must be integers"), ("1,1", "each once"), ("-1", "must be >= 0")])
def test_impossible_seeds(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        reference_parity._seeds(text)
