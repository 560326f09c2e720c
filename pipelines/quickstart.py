"""The main job from beginning to end on generated pictures: draw, convert, train, evaluate, export, detect.

Every step is the command that you would type yourself, and is printed before it runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from object_detection_ext.command_line import positive_int, run
from object_detection_ext.config import load_config
from object_detection_ext.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "ssdlite_mobilenet_v2_035_160x160_shapes.config"
CONFIG_DATA = "runs/quickstart/data/"  # where the config as published looks for records
TRAIN_SEED, TEST_SEED = 1, 2  # the held-out images come from another seed
MAP, MAP_50 = "DetectionBoxes_Precision/mAP", "DetectionBoxes_Precision/mAP@.50IOU"
TYPES = ("float32", "fp16", "int8")


class Row(NamedTuple):
    """A line of the final table; None where a checkpoint has no such number."""

    name: str
    metrics: dict[str, float]
    size: int | None = None  # bytes
    ms_per_image: float | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.quickstart", description=__doc__)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/quickstart"), help="everything goes here (%(default)s)")
    parser.add_argument("--num_train_images", type=positive_int, default=1200, metavar="N", help="(%(default)s)")
    parser.add_argument("--num_test_images", type=positive_int, default=100, metavar="N", help="(%(default)s)")
    parser.add_argument("--num_train_steps", type=positive_int, metavar="N", help="instead of the config's")
    arguments = parser.parse_args(argv)
    if not CONFIG.is_file():
        raise InputError(f"{CONFIG} is missing: run the quickstart from a checkout of the project")
    begin = time.monotonic()
    out: Path = arguments.output_dir
    _make_data(out / "data", num_train=arguments.num_train_images, num_test=arguments.num_test_images)
    config = _write_config(out)
    _train(config, out / "model", num_steps=arguments.num_train_steps)
    _export(config, out)
    rows = _evaluate(config, out)
    _detect(out)
    print(f"\n{_table(rows)}\n\n{_paths(out)}\n\ndone in {(time.monotonic() - begin) / 60:.1f} minutes")
    return 0


def _make_data(data: Path, *, num_train: int, num_test: int) -> None:
    shapes = data / "shapes"
    for split, seed, count in (("train", TRAIN_SEED, num_train), ("test", TEST_SEED, num_test)):
        _command("data_tools.generate_shapes", output_dir=shapes, split=split, seed=seed, num_images=count)
    common: dict[str, Any] = {"format": "voc", "images": shapes / "JPEGImages", "annotations": shapes / "Annotations"}
    splits = shapes / "ImageSets" / "Main"
    _command("data_tools.create_tf_record", **common, split_file=splits / "train.txt", output=data / "train.record", num_shards=2)
    label_map = data / "train_label_map.pbtxt"
    _command("data_tools.create_tf_record", **common, split_file=splits / "test.txt", label_map=label_map, output=data / "test.record")


def _write_config(out: Path) -> Path:
    """The published config with its paths pointing into `out`."""
    config = load_config(CONFIG)
    for reader in (config.proto.train_input_reader, config.proto.eval_input_reader[0]):
        reader.label_map_path = _moved(reader.label_map_path, out)
        paths = [_moved(path, out) for path in reader.tf_record_input_reader.input_path]
        reader.tf_record_input_reader.input_path[:] = paths
    path = out / "pipeline.config"
    config.save(path)
    return path


def _moved(path: str, out: Path) -> str:
    return str(out / "data" / path.removeprefix(CONFIG_DATA))


def _train(config: Path, model_dir: Path, *, num_steps: int | None) -> None:
    steps: dict[str, Any] = {} if num_steps is None else {"num_train_steps": num_steps}
    _command("model_main_tf2.py", pipeline_config_path=config, model_dir=model_dir, eval_every_n=0, **steps)


def _export(config: Path, out: Path) -> None:
    _command("export.tflite", pipeline_config_path=config, trained_checkpoint_dir=out / "model", output_directory=out)


def _evaluate(config: Path, out: Path) -> list[Row]:
    """Evaluates the checkpoint and every exported file on the held-out images, in one process: TensorFlow starts once."""
    from pipelines.evaluate import evaluate, write_json
    from pipelines.evaluate_model import evaluate_model

    metrics_file = out / "metrics.json"
    program = f"$ python -m pipelines.evaluate --pipeline_config_path {config}"
    print(f"\n{program} --checkpoint_dir {out / 'model'} --json {metrics_file}", flush=True)
    rows = [Row("checkpoint", evaluate(str(config), str(out / "model"), model_dir=str(out / "model")))]
    for name in TYPES:
        model = out / f"model_{name}.tflite"
        print(f"{program} --model {model}", flush=True)
        result = evaluate_model(str(config), str(model), quiet=True)
        rows.append(Row(model.name, result.metrics, model.stat().st_size, result.ms_per_image))
    write_json({**rows[0].metrics, **{row.name: row.metrics for row in rows[1:]}}, metrics_file)
    return rows


def _detect(out: Path) -> None:
    from pipelines.detect import save_detection_grid
    from pipelines.detector import Detector

    images = out / "data" / "shapes"
    names = (images / "ImageSets" / "Main" / "test.txt").read_text().split()[:12]
    paths = [images / "JPEGImages" / f"{name}.jpg" for name in names]
    model = out / "model_int8.tflite"
    _command("pipelines.detect", model=model, images=paths, output_dir=out / "detections", json=out / "detections.json", quiet=True)
    save_detection_grid(Detector.load(model), paths, out / "detections.png", columns=4, cell_size=320)


def _command(program: str, *, quiet: bool = False, **flags: object) -> None:
    """Prints and runs `python -m program --flag value ...` (or a script at the root) and stops where it fails."""
    start = [sys.executable, str(ROOT / program)] if program.endswith(".py") else [sys.executable, "-m", program]
    words: list[str] = []
    for name, value in flags.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    shown = program if program.endswith(".py") else f"-m {program}"
    arguments = shlex.join(words)
    print(f"\n$ python {shown} {arguments if len(arguments) < 400 else arguments[:400] + ' ...'}", flush=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(start + words, env=environment, stdout=subprocess.DEVNULL if quiet else None, check=False)
    if done.returncode < 0 or done.returncode > 128:
        raise InputError(f"{program} was stopped (exit code {done.returncode})")
    if done.returncode:
        raise InputError(f"{program} failed (exit code {done.returncode}); its message is above")


def _table(rows: Sequence[Row]) -> str:
    lines = [f"{'on the held-out images':<24}{'mAP':>8}{'mAP@.5':>8}{'size':>12}{'ms/image':>10}"]
    for row in rows:
        size = "" if row.size is None else f"{row.size / 1024:,.0f} KiB"
        speed = "" if row.ms_per_image is None else f"{row.ms_per_image:.1f}"
        lines.append(f"{row.name:<24}{row.metrics[MAP]:>8.3f}{row.metrics[MAP_50]:>8.3f}{size:>12}{speed:>10}")
    return "\n".join(lines)


def _paths(out: Path) -> str:
    entries = {
        "pictures": out / "detections.png",
        "phone model": out / "model_int8.tflite",
        "metrics": out / "metrics.json",
        "TensorBoard": f"tensorboard --logdir {out / 'model'}",
    }
    return "\n".join(f"{name:<12} {value}" for name, value in entries.items())


if __name__ == "__main__":
    sys.exit(run(main))
