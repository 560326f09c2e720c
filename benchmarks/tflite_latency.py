"""Times our float32 and int8 files against the original API's export of the same network with the same weights, in one run.

    python -m benchmarks.tflite_latency --reference_python DIR/bin/python --pipeline_config_path CONFIG --checkpoint PREFIX [--json FILE]

CHECKPOINT is one of the original (`python -m pipelines.checkpoint export` makes such of ours). Both sides export at each size, with the
regular suppression and 100 detections; all files then take turns in this project's runtime, on noise. The config's records give the
ranges of int8. What an earlier call has exported into the output folder is not exported again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine, describe_python
from benchmarks.process_tree import measure
from benchmarks.training_process import ROOT, Side, check_succeeded
from object_detection_ext.command_line import positive_int, run

TYPES = ("float32", "int8")
SIDES: tuple[Side, ...] = ("reference", "ours")
_SCRIPT = Path(__file__).with_name("reference_tflite.py")
_NUM_CALIBRATION_IMAGES = 100


@dataclass(frozen=True)
class Row:
    """Medians of one type at one setting, and the files' sizes."""

    type: str
    size: int  # pixels
    num_threads: int
    reference_ms: float
    ours_ms: float
    reference_kib: float
    ours_kib: float


def resized(size: int) -> str:
    """The part of a config that sets the input size."""
    return f"model {{ ssd {{ image_resizer {{ fixed_shape_resizer {{ height: {size} width: {size} }} }} }} }}"


def export(side: Side, python: Path, *, config: Path, checkpoint: Path, size: int, folder: Path) -> dict[str, float]:
    """Writes FOLDER/float32.tflite and FOLDER/int8.tflite; returns the seconds of each command.

    Raises:
        InputError: a command failed; its output is in FOLDER/log.txt.
    """
    flags = [f"--pipeline_config_path={config}", f"--config_override={resized(size)}"]
    if side == "ours":
        flags += [f"--trained_checkpoint_dir={checkpoint}", f"--output_directory={folder / 'out'}", f"--types={','.join(TYPES)}"]
        flags += ["--no-certificate", "--num_parity_images=0", f"--num_calibration_images={_NUM_CALIBRATION_IMAGES}"]
        seconds = {"export.tflite": _run([str(python), "-m", "export.tflite", *flags], folder)}
        for kind in TYPES:
            (folder / "out" / f"model_{kind}.tflite").replace(folder / f"{kind}.tflite")
        return seconds
    images = _network_inputs(config, size, folder)
    flags += [f"--trained_checkpoint_dir={checkpoint.parent}", f"--output_directory={folder / 'graph'}"]
    flags += ["--ssd_use_regular_nms", "--max_detections=100"]
    seconds = {"graph": _run([str(python), "-P", "-m", "object_detection.export_tflite_graph_tf2", *flags], folder)}
    command = [str(python), "-P", str(_SCRIPT), str(folder / "graph" / "saved_model"), str(images), str(folder)]
    return seconds | {"conversions": _run(command, folder)}


def _network_inputs(config_path: Path, size: int, folder: Path) -> Path:
    """The images that ours calibrates on, as the network takes them."""
    import tensorflow as tf

    from export.images import draw_images, train_records
    from object_detection_ext.builders.detector import build_detector
    from object_detection_ext.config import load_config

    config = load_config(config_path, override=resized(size))
    detector = build_detector(config.proto.model.ssd)
    images = draw_images(train_records(config), _NUM_CALIBRATION_IMAGES)
    path = folder / "images.npy"
    np.save(path, np.concatenate([detector.preprocess(tf.constant(image[np.newaxis]))[0].numpy() for image in images]))
    return path


def _run(command: Sequence[str], folder: Path) -> float:
    log = folder / "log.txt"
    measured = measure(command, directory=Path.cwd(), environment=command_environment(), log=log)
    check_succeeded(measured, command[2], log)
    return measured.wall_seconds


def command_environment() -> dict[str, str]:
    """Of a command of either side, started in any folder."""
    return os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}


def table(rows: Sequence[Row]) -> str:
    """Markdown; the ratio is ours to the original's."""
    lines = ["| type | input | threads | original, ms | ours, ms | ratio | original, KiB | ours, KiB |", "|" + "---|" * 8]
    for row in rows:
        milliseconds = f"{row.reference_ms:.2f} | {row.ours_ms:.2f} | {row.ours_ms / row.reference_ms:.2f}"
        sizes = f"{row.reference_kib:.0f} | {row.ours_kib:.0f}"
        lines.append(f"| {row.type} | {row.size} | {row.num_threads} | {milliseconds} | {sizes} |")
    return "\n".join(lines)


def time_files(folder: Path, *, size: int, num_threads: int, num_runs: int) -> list[Row]:
    """Times the files of both sides and all types by turns."""
    from export.interleaved import Setting, time_interleaved

    files = [folder / f"{side}_{size}" / f"{kind}.tflite" for kind in TYPES for side in SIDES]
    settings = [Setting(file, num_threads, use_xnnpack=True) for file in files]
    timings = time_interleaved(settings, num_runs=num_runs, num_warmup_runs=10)
    medians = [float(np.median(timing.times_ms)) for timing in timings]
    kib = [file.stat().st_size / 1024 for file in files]
    return [
        Row(kind, size, num_threads, *medians[2 * place : 2 * place + 2], *kib[2 * place : 2 * place + 2])
        for place, kind in enumerate(TYPES)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tflite_latency", description="Our .tflite files against the original's.")
    parser.add_argument("--reference_python", required=True, type=Path, help="of an environment with the original API")
    parser.add_argument("--pipeline_config_path", required=True, type=Path)
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="PREFIX", help="of the original, the newest of its folder")
    parser.add_argument("--sizes", nargs="+", type=positive_int, default=[160, 320], metavar="PIXELS", help="default 160 320")
    parser.add_argument("--threads", nargs="+", type=positive_int, default=[1, 2], metavar="N", help="default 1 2")
    parser.add_argument("--num_runs", type=positive_int, default=200, metavar="N", help="calls of each file; default 200")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/tflite_latency"), metavar="DIR", help="default runs/tflite_latency")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go; default OUTPUT_DIR/tflite_latency.json")
    arguments = parser.parse_args(argv)
    folder = arguments.output_dir.absolute()
    pythons: dict[Side, Path] = {"reference": arguments.reference_python.absolute(), "ours": Path(sys.executable)}
    config, checkpoint, seconds = arguments.pipeline_config_path.absolute(), arguments.checkpoint.absolute(), {}
    for size, side in itertools.product(arguments.sizes, SIDES):
        own = folder / f"{side}_{size}"
        finished = own / "seconds.json"
        own.mkdir(parents=True, exist_ok=True)
        if not finished.exists():
            finished.write_text(json.dumps(export(side, pythons[side], config=config, checkpoint=checkpoint, size=size, folder=own)))
        seconds[own.name] = json.loads(finished.read_text())
        print(f"{side}, {size}: " + ", ".join(f"{what} {value:.1f} s" for what, value in seconds[own.name].items()), flush=True)
    rows: list[Row] = []
    for size, num_threads in itertools.product(arguments.sizes, arguments.threads):
        rows += time_files(folder, size=size, num_threads=num_threads, num_runs=arguments.num_runs)
    print(table(rows))
    path = arguments.json or folder / "tflite_latency.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    versions = {side: describe_python(python) for side, python in pythons.items()}
    result = {"machine": describe_machine(), "versions": versions, "export_seconds": seconds, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
