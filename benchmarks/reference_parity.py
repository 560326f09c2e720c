"""Trains one config on the same records with this project and with the original API, and compares the mAP that both reach.

    python -m benchmarks.reference_parity --reference_python DIR/bin/python --output_dir runs/parity [--config FILE] [--seeds 0,1,2]
    python -m benchmarks.reference_parity --reference_python DIR/bin/python --output_dir runs/parity --evaluate_checkpoint model/ckpt-3

Each side trains once a seed and evaluates its last checkpoint with its own evaluator. The original draws its weights and its order without
a seed, so its runs are numbered only. Runs that are finished in the output folder are not repeated. Exit code 0: ours is not below the
original's mean less one standard deviation; 3: it is.

With --evaluate_checkpoint nothing is trained: both sides evaluate one checkpoint of the original. Exit code 0: the twelve numbers of COCO
agree to 1e-4; 3: they do not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from google.protobuf import text_format

from benchmarks.process_tree import measure
from benchmarks.training_process import ROOT, Side, check_succeeded, run_training
from object_detection_ext.command_line import run
from object_detection_ext.config import EXAMPLE_CONFIG, load_config
from object_detection_ext.errors import InputError
from object_detection_ext.protos import pipeline_pb2

MAP = "DetectionBoxes_Precision/mAP"
COCO_PREFIXES = ("DetectionBoxes_Precision/", "DetectionBoxes_Recall/")  # of the twelve numbers
TOLERANCE = 1e-4  # of one checkpoint's numbers
BELOW = 3  # exit code where ours falls behind or differs


@dataclass(frozen=True)
class Run:
    """A training process that ended, and what its last checkpoint reaches."""

    side: Side
    seed: int
    wall_seconds: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Pythons:
    """The interpreters of both environments."""

    ours: Path
    reference: Path

    def of(self, side: Side) -> Path:
        return self.ours if side == "ours" else self.reference


def train_and_evaluate(side: Side, seed: int, *, python: Path, config: Path, num_steps: int, folder: Path) -> Run:
    """One run; what an earlier call finished in `folder` is read from there, what it broke off is done again from the start."""
    trained, metrics = folder / "trained.json", folder / "metrics.json"
    if not trained.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        measured = run_training(side, python, config=config, folder=folder, num_steps=num_steps, seed=seed)
        _write_json(trained, {"wall_seconds": measured.wall_seconds})
    if not metrics.exists():
        evaluate(side, python, config=config, checkpoint=last_checkpoint(folder / "model"), folder=folder)
    return Run(side, seed, json.loads(trained.read_text())["wall_seconds"], json.loads(metrics.read_text()))


def evaluate(side: Side, python: Path, *, config: Path, checkpoint: Path, folder: Path) -> dict[str, float]:
    """The metrics of a checkpoint by the side's own evaluator; they stand in `folder`/metrics.json afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / "metrics.json.unfinished"
    if side == "ours":
        flags = {"pipeline_config_path": config, "checkpoint_dir": checkpoint, "json": unfinished}
        command = ["-m", "pipelines.evaluate", *(f"--{name}={value}" for name, value in flags.items())]
    else:
        command = ["-P", str(ROOT / "benchmarks" / "reference_evaluation.py"), str(config), str(checkpoint), str(unfinished)]
    log = folder / "evaluation.txt"
    measured = measure([str(python), *command], directory=ROOT if side == "ours" else folder, environment=os.environ, log=log)
    check_succeeded(measured, f"evaluation ({side})", log)
    unfinished.replace(folder / "metrics.json")
    return json.loads((folder / "metrics.json").read_text())


def last_checkpoint(folder: Path) -> Path:
    """The prefix with the highest number in `folder`."""
    prefixes = [path.with_suffix("") for path in folder.glob("ckpt-*.index")]
    if not prefixes:
        raise InputError(f"no checkpoint in {folder}")
    return max(prefixes, key=lambda prefix: int(prefix.name.rpartition("-")[2]))


def write_config(source: Path, target: Path, *, num_steps: int | None = None) -> int:
    """Writes the config with absolute paths and the number of steps into `target`; returns the steps.

    Raises:
        InputError: `target` exists and says something else: its folder holds runs that do not compare.
    """
    proto = pipeline_pb2.TrainEvalPipelineConfig()
    proto.CopyFrom(load_config(source).proto)
    for reader in (proto.train_input_reader, *proto.eval_input_reader):
        if reader.label_map_path:
            reader.label_map_path = os.path.abspath(reader.label_map_path)
        paths = [os.path.abspath(path) for path in reader.tf_record_input_reader.input_path]
        if paths:
            reader.tf_record_input_reader.input_path[:] = paths
    if num_steps is not None:
        proto.train_config.num_steps = num_steps
    if proto.train_config.num_steps < 1:
        raise InputError(f"{source} has no train_config.num_steps; give --num_train_steps")
    text = text_format.MessageToString(proto, as_utf8=True)
    if target.exists() and target.read_text() != text:
        raise InputError(f"{target} is another config than {source} makes now: runs would not compare. Name another --output_dir")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return proto.train_config.num_steps


class Spread:
    """Mean and sample standard deviation (0 for a single run) of one metric over runs."""

    def __init__(self, runs: Sequence[Run], tag: str) -> None:
        self.values = [each.metrics[tag] for each in runs]
        self.mean = statistics.fmean(self.values)
        self.deviation = statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def listed(self) -> str:
        return ", ".join(f"{value:.4f}" for value in self.values)

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.deviation:.4f}"


def coco_tags(metrics: Mapping[str, float]) -> list[str]:
    """The tags of COCO's twelve numbers, in the order of `metrics`."""
    return [tag for tag in metrics if tag.startswith(COCO_PREFIXES)]


def is_not_below(ours: Spread, reference: Spread) -> bool:
    """Whether our mean reaches the original's less one standard deviation of the original."""
    return ours.mean >= reference.mean - reference.deviation


def training_report(runs: Sequence[Run]) -> tuple[str, bool]:
    """A Markdown table of means and spreads with the verdict on mAP, and the verdict."""
    by_side = {side: [each for each in runs if each.side == side] for side in ("ours", "reference")}
    rows = ["| | ours | original |", "|---|---|---|"]
    rows += [f"| {tag} | {Spread(by_side['ours'], tag)} | {Spread(by_side['reference'], tag)} |" for tag in coco_tags(runs[0].metrics)]
    seconds = {side: statistics.fmean(each.wall_seconds for each in own) for side, own in by_side.items()}
    rows.append(f"| seconds of training, mean | {seconds['ours']:.0f} | {seconds['reference']:.0f} |")
    ours, reference = Spread(by_side["ours"], MAP), Spread(by_side["reference"], MAP)
    good = is_not_below(ours, reference)
    floor = reference.mean - reference.deviation
    verdict = f"mAP {ours.mean:.4f} is {'not below' if good else 'BELOW'} {floor:.4f}, the original's mean less one standard deviation"
    by_run = "; ".join(f"{side} {spread.listed}" for side, spread in (("ours", ours), ("original", reference)))
    return "\n".join([*rows, "", f"mAP by run: {by_run}", verdict]), good


def checkpoint_report(ours: Mapping[str, float], reference: Mapping[str, float]) -> tuple[str, bool]:
    """A Markdown table of the twelve numbers with the verdict, and the verdict."""
    differences = {tag: abs(ours[tag] - reference[tag]) for tag in coco_tags(ours)}
    rows = ["| | ours | original | difference |", "|---|---|---|---|"]
    rows += [f"| {tag} | {ours[tag]:.6f} | {reference[tag]:.6f} | {difference:.1e} |" for tag, difference in differences.items()]
    good = max(differences.values()) <= TOLERANCE
    verdict = f"the largest difference is {max(differences.values()):.1e}, {'within' if good else 'ABOVE'} {TOLERANCE:.0e}"
    return "\n".join([*rows, "", verdict]), good


def compare_training(arguments: argparse.Namespace, pythons: Pythons, folder: Path) -> tuple[str, bool, dict[str, object]]:
    """All runs, one process at a time, the two sides in turn: the report, the verdict and what goes into the JSON file."""
    num_steps = write_config(arguments.config, folder / "input.config", num_steps=arguments.num_train_steps)
    runs = []
    for seed in arguments.seeds:
        for side in ("reference", "ours"):
            run_folder = folder / f"{side}_{seed}"
            runs.append(
                train_and_evaluate(
                    side, seed, python=pythons.of(side), config=folder / "input.config", num_steps=num_steps, folder=run_folder
                )
            )
            last = runs[-1]
            print(f"{side}, seed {seed}: mAP {last.metrics[MAP]:.4f} after {last.wall_seconds:.0f} s of training", flush=True)
    report, good = training_report(runs)
    return report, good, {"config": str(arguments.config), "num_train_steps": num_steps, "runs": [asdict(each) for each in runs]}


def compare_evaluation(arguments: argparse.Namespace, pythons: Pythons, folder: Path) -> tuple[str, bool, dict[str, object]]:
    """Both sides' numbers of one checkpoint: the report, the verdict and what goes into the JSON file."""
    given = arguments.evaluate_checkpoint
    checkpoint = (last_checkpoint(given) if given.is_dir() else given).absolute()
    if not checkpoint.with_name(checkpoint.name + ".index").exists():
        raise InputError(f"--evaluate_checkpoint {given}: there is no {checkpoint}.index")
    config = folder / f"evaluate_{checkpoint.name}" / "input.config"
    config.unlink(missing_ok=True)
    write_config(arguments.config, config, num_steps=1)  # does not matter here
    metrics: dict[Side, dict[str, float]] = {}
    for side in ("reference", "ours"):
        metrics[side] = evaluate(side, pythons.of(side), config=config, checkpoint=checkpoint, folder=config.parent / side)
    report, good = checkpoint_report(metrics["ours"], metrics["reference"])
    return report, good, {"config": str(arguments.config), "checkpoint": str(given), "metrics": metrics}


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = _parse_arguments(argv)
    if not os.access(arguments.reference_python, os.X_OK):
        raise InputError(f"--reference_python {arguments.reference_python} is not an executable file")
    pythons = Pythons(ours=Path(sys.executable), reference=arguments.reference_python.absolute())
    folder = arguments.output_dir.absolute()
    compare = compare_evaluation if arguments.evaluate_checkpoint else compare_training
    report, good, result = compare(arguments, pythons, folder)
    print(f"\n{report}")
    path = arguments.json or folder / ("evaluation.json" if arguments.evaluate_checkpoint else "parity.json")
    _write_json(path, result | {"good": good})
    print(path)
    return 0 if good else BELOW


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be integers separated by commas, got {text!r}") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise argparse.ArgumentTypeError(f"must be >= 0, each once, got {text!r}")
    return seeds


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference_parity", description="Accuracy against the original API.")
    parser.add_argument("--reference_python", type=Path, required=True, metavar="FILE", help="Python that runs the original API")
    parser.add_argument("--config", type=Path, default=Path(EXAMPLE_CONFIG), metavar="FILE", help=f"default {EXAMPLE_CONFIG}")
    parser.add_argument("--seeds", type=_seeds, default=[0, 1, 2], metavar="N,N,...", help="one run of each side a seed; default 0,1,2")
    parser.add_argument("--num_train_steps", type=int, metavar="N", help="default: the config's; the original rounds up to hundreds")
    parser.add_argument(
        "--evaluate_checkpoint", type=Path, metavar="PREFIX", help="evaluate this checkpoint of the original, train nothing"
    )
    parser.add_argument("--output_dir", type=Path, required=True, metavar="DIR", help="runs, checkpoints and logs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go; default in --output_dir")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run(main))
