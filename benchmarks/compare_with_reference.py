"""Trains one config on the same records with this project and with the original API; compares time and memory of the whole processes.

    python -m benchmarks.compare_with_reference --reference_python DIR/bin/python [--json FILE]

The reference Python is an environment in which `python -m object_detection.model_main_tf2` runs. The two sides take turns, one process at a
time, and the best of the runs counts: other work on the machine only ever makes a run slower. Float32, summaries on, no evaluation, a
checkpoint at the end, on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from benchmarks.jobs import JOBS, Job, config_text
from benchmarks.machine import describe_machine, describe_python
from benchmarks.process_tree import TimedLine
from benchmarks.records import DataSet, make_data_set
from benchmarks.training_process import Side, run_training
from object_detection_ext.command_line import run
from object_detection_ext.errors import InputError

PROGRESS: dict[Side, re.Pattern[str]] = {
    "ours": re.compile(r"^step (\d+)/\d+ "),
    "reference": re.compile(r"\bStep (\d+) per-step time"),  # every 100 steps
}

FIGURES = {
    "wall_seconds": "whole process, s",
    "cpu_seconds": "CPU time, s",
    "peak_mib": "peak memory of the process tree, MiB",
    "first_line_seconds": "first line that names a step after, s",
    "step_seconds": "a step from there on, s",
}


@dataclass(frozen=True)
class Run:
    """One training process."""

    side: Side
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    first_line_seconds: float  # from the start to the first line that names a step
    step_seconds: float | None  # between the first such line and the last
    load_before: float  # 1-minute load average of the machine before the run: near 0 on a quiet one


def compare(job: Job, data: DataSet, *, pythons: Mapping[Side, Path], folder: Path, repeats: int, say: Callable[[str], None]) -> list[Run]:
    """Runs `job` on all sides in turn, `repeats` times."""
    runs = []
    for repeat in range(1, repeats + 1):
        for side, python in pythons.items():
            run_folder = folder / f"{job.name}_{side}_{repeat}"
            runs.append(_train(job, data, side=side, python=python, folder=run_folder))
            say(f"{job.name}, {side}, run {repeat} of {repeats}: {runs[-1].wall_seconds:.1f} s")
    return runs


def _train(job: Job, data: DataSet, *, side: Side, python: Path, folder: Path) -> Run:
    if folder.exists():
        raise InputError(f"{folder} exists; an earlier run's checkpoints would be gone on with. Name another --output_dir")
    folder.mkdir(parents=True)
    config = folder / "input.config"
    config.write_text(config_text(job, data))
    load_before = os.getloadavg()[0]
    measured = run_training(side, python, config=config, folder=folder, num_steps=job.num_steps)
    steps = _progress(measured.lines, side)
    (first_step, first), (last_step, last) = steps[0], steps[-1]
    return Run(
        side=side,
        wall_seconds=measured.wall_seconds,
        cpu_seconds=measured.cpu_seconds,
        peak_mib=measured.peak_bytes / 2**20,
        first_line_seconds=first,
        step_seconds=(last - first) / (last_step - first_step) if last_step > first_step else None,
        load_before=load_before,
    )


def _progress(lines: Sequence[TimedLine], side: Side) -> list[tuple[int, float]]:
    found = [(int(match[1]), line.seconds) for line in lines if (match := PROGRESS[side].search(line.text))]
    if not found:
        raise InputError(f"no line of {side} matches {PROGRESS[side].pattern!r}: its log format has changed")
    return found


@dataclass(frozen=True)
class Comparison:
    """The runs of a job, and what to read from them: the best of each figure."""

    job: Job
    best: Mapping[Side, Mapping[str, float]]
    runs: Sequence[Run]

    @classmethod
    def of(cls, job: Job, runs: Sequence[Run]) -> Self:
        """Takes the minimum of each figure, side by side."""
        best: dict[Side, dict[str, float]] = {}
        for side in PROGRESS:
            own = [each for each in runs if each.side == side]
            values = {key: [value for each in own if (value := getattr(each, key)) is not None] for key in FIGURES}
            best |= {side: {key: min(found) for key, found in values.items() if found}} if own else {}
        return cls(job, best, runs)

    @property
    def ratios(self) -> dict[str, float]:
        """Ours to the original's, of every figure that both have."""
        ours, theirs = self.best.get("ours", {}), self.best.get("reference", {})
        return {key: ours[key] / theirs[key] for key in FIGURES if key in ours and key in theirs}

    def table(self) -> str:
        """A Markdown table of the best figures."""
        aims = {"wall_seconds": self.job.wall_ratio, "peak_mib": self.job.memory_ratio, "step_seconds": 1.0}
        title = f"depth {self.job.depth_multiplier} at {self.job.size}, {self.job.num_steps} steps"
        rows = [title, "", "| | ours | original | ratio | aim |", "|---|---|---|---|---|"]
        for key, label in FIGURES.items():
            values = (self.best.get("ours", {}).get(key), self.best.get("reference", {}).get(key), self.ratios.get(key))
            aim = f"at most {aims[key]}" if aims.get(key) else ""
            rows.append(f"| {label} | {' | '.join(map(_number, values))} | {aim} |")
        return "\n".join(rows)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"job": asdict(self.job), "best": self.best, "ours_to_reference": self.ratios, "runs": [asdict(each) for each in self.runs]}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = _parse_arguments(argv)
    pythons: dict[Side, Path] = {"ours": Path(sys.executable)}
    if arguments.reference_python:
        if not os.access(arguments.reference_python, os.X_OK):
            raise InputError(f"--reference_python {arguments.reference_python} is not an executable file")
        pythons["reference"] = arguments.reference_python.absolute()
    if arguments.only:
        pythons = {side: python for side, python in pythons.items() if side == arguments.only}
    folder = arguments.output_dir.absolute()
    data = make_data_set(folder / "data")
    jobs = [replace(job, num_steps=arguments.num_steps or job.num_steps) for job in JOBS]
    comparisons = []
    for job in jobs:
        if job.name in arguments.jobs:
            runs = compare(job, data, pythons=pythons, folder=folder, repeats=arguments.repeats, say=lambda text: print(text, flush=True))
            comparisons.append(Comparison.of(job, runs))
            print(f"\n{comparisons[-1].table()}\n", flush=True)
    versions = {side: describe_python(python) for side, python in pythons.items()}
    result = {"machine": describe_machine(), "versions": versions, "jobs": [each.as_dict() for each in comparisons]}
    path = arguments.json or folder / "comparison.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path)
    return 0


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare_with_reference", description="Speed and memory against the original API."
    )
    parser.add_argument(
        "--reference_python", type=Path, metavar="FILE", help="Python that runs the original API; without it only ours is timed"
    )
    parser.add_argument("--output_dir", type=Path, default=Path("runs/benchmark"), metavar="DIR", help="default runs/benchmark")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go; default OUTPUT_DIR/comparison.json")
    names = [job.name for job in JOBS]
    parser.add_argument("--jobs", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs a side; default 3")
    parser.add_argument("--num_steps", type=int, metavar="N", help="steps of every job, to try the benchmark itself")
    parser.add_argument("--only", choices=list(PROGRESS), help="run one side only")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run(main))
