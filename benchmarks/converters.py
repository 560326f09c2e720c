"""Times our converters against the original API's on the same photos, and what a large COCO file costs in memory.

    python -m benchmarks.converters --coco_dir DIR --reference_python DIR/bin/python [--json FILE]

The reference Python is an environment in which `python -m object_detection.dataset_tools.create_coco_tf_record` runs. All sides take turns,
one command at a time, and the minimum of each figure counts: other work on the machine only ever makes a run slower. Rates are those of the
conversion of the larger set, timed inside the process: without the imports, which take the original seconds. Whole processes are listed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmarks.converter_data import ConverterData, make_converter_data, make_large_instances
from benchmarks.machine import describe_machine, describe_python
from benchmarks.process_tree import measure
from benchmarks.training_process import ROOT, check_succeeded
from data_tools.record_file import read_records
from object_detection_ext.command_line import positive_int, run
from object_detection_ext.errors import InputError

AnnotationFormat = Literal["coco", "voc"]
Side = Literal["reference", "headers", "verified"]

SIDES: dict[Side, str] = {
    "reference": "original",
    "headers": "ours, headers checked, one process",
    "verified": "ours, every image decoded, two processes",
}
OUR_FLAGS: dict[Side, tuple[str, ...]] = {"headers": ("--num_workers=1",), "verified": ("--num_workers=2", "--verify_images")}
NUM_SHARDS: dict[AnnotationFormat, int] = {"coco": 100, "voc": 1}  # the original's
AIMS: dict[Side, tuple[str, float]] = {"headers": ("cpu_seconds", 10.0), "verified": ("wall_seconds", 2.5)}  # times the original's rate

_ORIGINAL_SCRIPTS = {"coco": "create_coco_tf_record", "voc": "create_pascal_tf_record"}


@dataclass(frozen=True)
class Run:
    """One conversion, a whole process."""

    format: AnnotationFormat
    side: Side
    num_images: int
    call_wall_seconds: float  # of the conversion, without what was imported before
    call_cpu_seconds: float  # workers and their imports included
    wall_seconds: float
    cpu_seconds: float  # of the command and its workers
    peak_mib: float  # of the process tree
    load_before: float  # 1-minute load average of the machine before the run: near 0 on a quiet one


@dataclass(frozen=True)
class Rate:
    """What the runs of a side say of one format; the minimum of each figure counts."""

    records_per_cpu_second: float  # of the larger set's conversion
    records_per_second: float  # the same by the clock
    whole_cpu_seconds: float  # of the larger set
    whole_wall_seconds: float
    peak_mib_small: float
    peak_mib_large: float


def convert(data: ConverterData, format: AnnotationFormat, *, side: Side, python: Path, folder: Path) -> Run:
    """Converts a set into `folder`, counts the records, and removes them again.

    Raises:
        InputError: the converter failed, or wrote another number of records.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = _original_command(data, format, python, folder) if side == "reference" else _our_command(data, format, side, python, folder)
    load_before, log = os.getloadavg()[0], folder / "log.txt"
    directory = folder if side == "reference" else ROOT
    measured = measure(command, directory=directory, environment=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, log=log, sample_seconds=0.02)
    check_succeeded(measured, f"{SIDES[side]}, {format}", log)
    num_records = sum(1 for path in folder.glob("*.record*") for _ in read_records(path))
    if num_records != data.num_images:
        raise InputError(
            f"{SIDES[side]}, {format}: wrote {num_records} records of {data.num_images} images ({log}): the run does not count"
        )
    shutil.rmtree(folder)
    return Run(
        format=format,
        side=side,
        num_images=data.num_images,
        **json.loads(measured.lines[-1].text),
        wall_seconds=measured.wall_seconds,
        cpu_seconds=measured.cpu_seconds,
        peak_mib=measured.peak_bytes / 2**20,
        load_before=load_before,
    )


def _our_command(data: ConverterData, format: AnnotationFormat, side: Side, python: Path, folder: Path) -> list[str]:
    flags = [f"--format={format}", f"--images={data.images}", f"--output={folder / 'train.record'}", f"--num_shards={NUM_SHARDS[format]}"]
    if format == "coco":
        flags += [f"--annotations={data.instances}"]
    else:
        flags += [f"--annotations={data.annotations}", f"--split_file={data.split_file}", f"--label_map={data.label_map}"]
    return [str(python), "-m", "benchmarks.timed_call", "data_tools.create_tf_record", *flags, *OUR_FLAGS[side]]


def _original_command(data: ConverterData, format: AnnotationFormat, python: Path, folder: Path) -> list[str]:
    if format == "voc":
        flags = [f"--data_dir={data.root}", f"--set={data.voc_set}", "--year=VOC2007", f"--label_map_path={data.label_map}"]
        flags += [f"--output_path={folder / 'train.record'}"]
    else:  # converts three sets or none
        empty = folder / "empty.json"
        empty.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
        flags = [f"--{name}_image_dir={data.images}" for name in ("train", "val", "test")] + [f"--output_dir={folder}"]
        flags += [f"--train_annotations_file={data.instances}", f"--val_annotations_file={empty}", f"--testdev_annotations_file={empty}"]
    module = f"object_detection.dataset_tools.{_ORIGINAL_SCRIPTS[format]}"
    return [str(python), "-P", str(ROOT / "benchmarks" / "timed_call.py"), module, *flags]


def rate(runs: Sequence[Run]) -> Rate:
    """Of the runs of one format and side, over two set sizes."""
    small, large = min(run.num_images for run in runs), max(run.num_images for run in runs)

    def best(figure: str, num_images: int = large) -> float:
        return min(getattr(run, figure) for run in runs if run.num_images == num_images)

    return Rate(
        records_per_cpu_second=large / best("call_cpu_seconds"),
        records_per_second=large / best("call_wall_seconds"),
        whole_cpu_seconds=best("cpu_seconds"),
        whole_wall_seconds=best("wall_seconds"),
        peak_mib_small=best("peak_mib", small),
        peak_mib_large=best("peak_mib"),
    )


def compare(
    sets: Sequence[ConverterData],
    format: AnnotationFormat,
    *,
    pythons: Mapping[Side, Path],
    folder: Path,
    repeats: int,
    say: Callable[[str], None],
) -> list[Run]:
    """Converts every set on every side in turn, `repeats` times."""
    runs = []
    for repeat in range(1, repeats + 1):
        for data in sets:
            for side, python in pythons.items():
                runs.append(convert(data, format, side=side, python=python, folder=folder / "output"))
                cost = f"{runs[-1].wall_seconds:.1f} s, {runs[-1].cpu_seconds:.1f} s of CPU, {runs[-1].peak_mib:.0f} MiB"
                say(f"{format}, {data.num_images} images, {SIDES[side]}, run {repeat} of {repeats}: {cost}")
    return runs


def table(format: AnnotationFormat, rates: Mapping[Side, Rate]) -> str:
    """Markdown; ratios are ours to the original's, in the figure that the aim is about, and for whole processes in brackets."""
    rows = [f"| {format} | records a CPU second | records a second | whole process, s | peak, MiB | ratio | aim |", "|" + "---|" * 7]
    for side, own in rates.items():
        ratio, aim = "", ""
        if side in AIMS and "reference" in rates:
            inside, whole = speed_ratios(side, rates)
            ratio, aim = f"{inside:.2f} ({whole:.2f})", f"at least {AIMS[side][1]}"
        peaks = f"{own.peak_mib_small:.0f}, {own.peak_mib_large:.0f}"
        speeds = f"{own.records_per_cpu_second:.0f} | {own.records_per_second:.0f} | {own.whole_wall_seconds:.1f}"
        rows.append(f"| {SIDES[side]} | {speeds} | {peaks} | {ratio} | {aim} |")
    return "\n".join(rows)


def speed_ratios(side: Side, rates: Mapping[Side, Rate]) -> tuple[float, float]:
    """How many times as fast as the original a side of ours is, by CPU time or the clock as its aim says: the conversion, the process."""
    figure, whole = {
        "cpu_seconds": ("records_per_cpu_second", "whole_cpu_seconds"),
        "wall_seconds": ("records_per_second", "whole_wall_seconds"),
    }[AIMS[side][0]]
    own, original = rates[side], rates["reference"]
    return getattr(own, figure) / getattr(original, figure), getattr(original, whole) / getattr(own, whole)


def measure_memory(coco: Path, num_images: int, *, folder: Path, num_workers: int) -> dict[str, float]:
    """Converts an instances file of `num_images` blank images; its size and what the conversion cost."""
    instances = make_large_instances(folder, coco, num_images=num_images)
    output = folder / "output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    flags = [f"--images={folder / f'images_{num_images}'}", f"--annotations={instances}", f"--output={output / 'train.record'}"]
    command = [sys.executable, "-m", "data_tools.create_tf_record", "--format=coco", *flags, f"--num_workers={num_workers}"]
    measured = measure(command, directory=ROOT, environment=os.environ, log=folder / "log.txt", sample_seconds=0.02)
    check_succeeded(measured, f"{num_images} images", folder / "log.txt")
    shutil.rmtree(output)
    return {
        "num_images": num_images,
        "num_workers": num_workers,
        "json_mib": instances.stat().st_size / 2**20,
        "peak_mib": measured.peak_bytes / 2**20,
        "wall_seconds": measured.wall_seconds,
        "cpu_seconds": measured.cpu_seconds,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = _parse_arguments(argv)
    folder = arguments.output_dir.absolute()
    pythons: dict[Side, Path] = {side: Path(sys.executable) for side in OUR_FLAGS}
    if arguments.reference_python:
        if not os.access(arguments.reference_python, os.X_OK):
            raise InputError(f"--reference_python {arguments.reference_python} is not an executable file")
        pythons = {"reference": arguments.reference_python.absolute(), **pythons}
    result: dict[str, object] = {"machine": describe_machine(), "versions": {s: describe_python(p) for s, p in pythons.items()}}
    sets = make_converter_data(folder / "data", arguments.coco_dir, num_images=arguments.num_images) if arguments.formats else []
    for format in arguments.formats:
        runs = compare(sets, format, pythons=pythons, folder=folder, repeats=arguments.repeats, say=lambda text: print(text, flush=True))
        rates: dict[Side, Rate] = {side: rate([run for run in runs if run.side == side]) for side in pythons}
        print(f"\n{table(format, rates)}\n", flush=True)
        ratios = {side: speed_ratios(side, rates) for side in AIMS if "reference" in rates}
        result[format] = {
            "rates": {side: asdict(own) for side, own in rates.items()},
            "times_the_reference": {side: {"conversion": inside, "whole_process": whole} for side, (inside, whole) in ratios.items()},
            "runs": [asdict(run) for run in runs],
        }
    memory = []
    for num_images in arguments.memory_images:
        memory.append(measure_memory(arguments.coco_dir, num_images, folder=folder / "memory", num_workers=arguments.memory_workers))
        print(" ".join(f"{key} {value:.0f}" for key, value in memory[-1].items()), flush=True)
    path = arguments.json or folder / "converters.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result | {"memory": memory}, indent=2) + "\n")
    print(path)
    return 0


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.converters", description="Converters against the original API's.")
    parser.add_argument("--coco_dir", required=True, type=Path, metavar="DIR", help="photos: annotations/instances_train2017.json, images/")
    parser.add_argument(
        "--reference_python", type=Path, metavar="FILE", help="Python that runs the original; without it only ours is timed"
    )
    parser.add_argument("--output_dir", type=Path, default=Path("runs/converters"), metavar="DIR", help="default runs/converters")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go; default OUTPUT_DIR/converters.json")
    formats = get_args(AnnotationFormat)
    parser.add_argument("--formats", nargs="*", choices=formats, default=formats, help="default: all; none for memory only")
    parser.add_argument("--num_images", nargs=2, type=positive_int, default=[1000, 4000], metavar="N", help="default 1000 4000")
    parser.add_argument("--repeats", type=positive_int, default=3, metavar="N", help="runs a side and size; default 3")
    parser.add_argument(
        "--memory_images", nargs="*", type=positive_int, default=[25_000, 100_000], metavar="N", help="COCO files; default 25000 100000"
    )
    parser.add_argument("--memory_workers", type=positive_int, default=2, metavar="N", help="processes of the memory runs; default 2")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run(main))
