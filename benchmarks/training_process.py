"""One training process of either side: its command, and whether it trained to its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from benchmarks.process_tree import Measurement, measure
from object_detection_ext.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
Side = Literal["ours", "reference"]


def run_training(side: Side, python: Path, *, config: Path, folder: Path, num_steps: int, seed: int | None = None) -> Measurement:
    """Trains `num_steps` steps into `folder`/model, without evaluation, with one checkpoint at the end.

    Args:
        python: of the environment that the side runs in.
        config: pipeline.config with absolute paths.
        folder: exists; `log.txt` in it takes what the process prints.
        seed: of ours; the original has none.

    Raises:
        InputError: the process failed, or ended without a checkpoint.
    """
    measured = measure(
        training_command(side, python, config=config, model_dir=folder / "model", num_steps=num_steps, seed=seed),
        directory=ROOT if side == "ours" else folder,
        environment=os.environ | {"PYTHONUNBUFFERED": "1"},
        log=folder / "log.txt",
    )
    check_succeeded(measured, "training", folder / "log.txt")
    with_weights = [path for path in (folder / "model").glob("ckpt-*.data-*") if path.stat().st_size > 100_000]
    if not with_weights:
        raise InputError(f"no checkpoint in {folder / 'model'} after {num_steps} steps: the run does not count")
    return measured


def training_command(side: Side, python: Path, *, config: Path, model_dir: Path, num_steps: int, seed: int | None = None) -> list[str]:
    """The command line of either side's model_main_tf2. The original rounds `num_steps` up to a multiple of 100."""
    program = [str(ROOT / "model_main_tf2.py")] if side == "ours" else ["-m", "object_detection.model_main_tf2"]
    flags = {"pipeline_config_path": config, "model_dir": model_dir, "num_train_steps": num_steps, "checkpoint_every_n": num_steps}
    if side == "ours":
        flags |= {"eval_every_n": 0}  # the original never evaluates while it trains
        flags |= {} if seed is None else {"seed": seed}
    return [str(python), *program, *(f"--{name}={value}" for name, value in flags.items()), "--alsologtostderr"]


def check_succeeded(measured: Measurement, what: str, log: Path) -> None:
    """Raises `InputError` with the last lines where the process ended with another code than 0."""
    if measured.exit_code:
        last_lines = "; ".join(line.text for line in measured.lines[-3:])
        raise InputError(f"{what} ended with exit code {measured.exit_code} ({log}): {last_lines}")
