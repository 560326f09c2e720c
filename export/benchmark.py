"""Times .tflite files: latency, images per second, memory, size, and what each delegate can take of them.

All settings take turns, a few calls each, so that what else the machine does meets all alike; each runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from object_detection_ext.command_line import natural_int, positive_int, run, whole_number
from object_detection_ext.errors import InputError

if TYPE_CHECKING:
    from export.interleaved import Setting, Timing
    from export.operations import Operation

_COLUMNS = ("model", "MB", "threads", "XNNPACK", "median ms", "p90 ms", "first ms", "load ms", "images/s", "memory MB")
_LEGEND = """median, p90: of {runs} calls with made-up input, after {warmup} to warm up; images/s: one after the other, from the median
first: the first call after loading; memory: the process at its highest, less what the runtime alone has"""
_PHONE_LEGEND = "phone: TFLite's benchmark_model, which measures p95 (not p90) and memory since its own start"
_SKIPS_A_CLASS = """with T > 1 threads the runtime's regular suppression leaves out class T (from 0), if there are more: run these files
with one thread, or with as many as there are classes (https://github.com/tensorflow/tensorflow/issues/56058)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.benchmark_binary and not arguments.adb:
        raise InputError("--benchmark_binary is of use only with --adb")
    from export.delegates import delegate_table, sources
    from export.interleaved import Setting
    from export.operations import read_model, read_operations

    models = list(dict.fromkeys(Path(name) for name in arguments.models))
    operations = {model: read_operations(read_model(model), model) for model in models}
    settings = [Setting(model, threads, on) for model in models for threads in arguments.threads for on in arguments.xnnpack]
    rows, legend = _phone_rows(settings, arguments) if arguments.adb else _local_rows(settings, arguments)
    print(f"{_table(rows)}\n\n{legend}")
    if max(arguments.threads) > 1 and any(_has_regular_nms(model) for model in models):
        print(_SKIPS_A_CLASS)
    for model, listed in operations.items():
        print(f"\n{model}: operations by delegate, from the op list alone\n{delegate_table(listed)}")
    print(f"\nsources of the lists\n{sources()}")
    if arguments.json:
        _write_json(Path(arguments.json), {"runs": rows, "delegates": _delegates_json(operations)})
    return 0


def _local_rows(settings: Sequence[Setting], arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    from export.interleaved import time_interleaved

    show = _Status()
    timings = time_interleaved(settings, num_runs=arguments.num_runs, num_warmup_runs=arguments.num_warmup_runs, report=show)
    show("")
    rows = [_row(setting, timing) for setting, timing in zip(settings, timings, strict=True)]
    return rows, _LEGEND.format(runs=arguments.num_runs, warmup=arguments.num_warmup_runs)


def _row(setting: Setting, timing: Timing) -> dict[str, Any]:
    import numpy as np

    median, p90 = (float(value) for value in np.percentile(timing.times_ms, [50, 90]))
    return _common(setting) | {
        "median_ms": median,
        "p90_ms": p90,
        "mean_ms": float(timing.times_ms.mean()),
        "min_ms": float(timing.times_ms.min()),
        "first_ms": timing.first_ms,
        "load_ms": timing.load_ms,
        "images_per_second": 1000 / median,
        "memory_mb": timing.model_bytes / 1e6,
        "process_memory_mb": timing.peak_bytes / 1e6,
    }


def _phone_rows(settings: Sequence[Setting], arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    from export.phone import FOLDER, Phone

    phone = Phone.attached(Path(arguments.benchmark_binary) if arguments.benchmark_binary else None)
    show, rows, places = _Status(), [], {}
    for setting in settings:
        if setting.model not in places:
            places[setting.model] = f"{FOLDER}/benchmark_{len(places)}.tflite"
            phone.copy(setting.model, places[setting.model])
    try:
        for setting in settings:
            show(f"{phone.name}: {setting.model}")
            timing = phone.benchmark(
                places[setting.model], num_threads=setting.num_threads, use_xnnpack=setting.use_xnnpack, num_runs=arguments.num_runs
            )
            middle = timing.median_ms if timing.median_ms is not None else timing.mean_ms
            measured = {"median_ms": timing.median_ms, "p95_ms": timing.p95_ms, "mean_ms": timing.mean_ms, "first_ms": timing.first_ms}
            measured |= {"load_ms": timing.load_ms, "images_per_second": 1000 / middle, "memory_mb": timing.memory_mb}
            rows.append(_common(setting) | {"phone": phone.name} | measured)
    finally:
        phone.shell("rm", "-f", *places.values())
    show("")
    return rows, _PHONE_LEGEND.replace("phone", phone.name, 1)


def _common(setting: Setting) -> dict[str, Any]:
    size = setting.model.stat().st_size
    return {"model": str(setting.model), "size_bytes": size, "threads": setting.num_threads, "xnnpack": setting.use_xnnpack}


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    cells: list[tuple[str, ...]] = [_COLUMNS]
    for row in rows:
        numbers = [row["median_ms"], row.get("p90_ms", row.get("p95_ms")), row["first_ms"], row["load_ms"], row["images_per_second"]]
        if numbers[0] is None:
            numbers[0] = row["mean_ms"]
        texts = ["-" if number is None else f"{number:.2f}" if number < 100 else f"{number:.0f}" for number in numbers]
        memory = "-" if row["memory_mb"] is None else f"{row['memory_mb']:.1f}"
        size = f"{row['size_bytes'] / 1e6:.2f}"
        cells.append((row["model"], size, str(row["threads"]), "on" if row["xnnpack"] else "off", *texts, memory))
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join([line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    ]
    return "\n".join(lines)


def _has_regular_nms(model: Path) -> bool:
    """Whether the file ends in the fused operation with its regular suppression on."""
    from export.operations import custom_options, read_model

    options = custom_options(read_model(model), "TFLite_Detection_PostProcess")
    return options is not None and bool(options.get("use_regular_nms"))


def _delegates_json(operations: Mapping[Path, Sequence[Operation]]) -> dict[str, Any]:
    from export.delegates import DELEGATES

    return {
        str(model): {
            delegate.name: {"total": len(listed), "left_out": dict(delegate.left_out(listed)), "source": delegate.source}
            for delegate in DELEGATES
        }
        for model, listed in operations.items()
    }


class _Status:
    """One line on a terminal's stderr, rewritten; nothing elsewhere."""

    def __call__(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="python -m export.benchmark", description=description, epilog=details.strip())
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help=".tflite files, detectors or not")
    add("--threads", type=_threads, default=(1,), metavar="LIST", help="numbers of threads, as in 1,2,4 (default: 1)")
    add("--xnnpack", type=_on_off, default=(True, False), metavar="LIST", help="on, off or on,off (default: on,off)")
    add("--num_runs", type=positive_int, default=50, metavar="N", help="timed calls of each setting (default: 50)")
    add("--num_warmup_runs", type=natural_int, default=5, metavar="N", help="calls before those, not counted (default: 5)")
    add("--json", metavar="FILE", help="everything measured, as JSON")
    add("--adb", action="store_true", help="run on the attached Android phone instead, with TFLite's benchmark_model")
    add("--benchmark_binary", metavar="FILE", help="that program for the phone's processor; needed where it is not on the phone yet")
    return parser


def _threads(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(whole_number(part.strip(), least=1) for part in text.split(",")))


def _on_off(text: str) -> tuple[bool, ...]:
    names = {"on": True, "off": False}
    parts = [part.strip() for part in text.split(",")]
    if any(part not in names for part in parts):
        raise argparse.ArgumentTypeError(f"expected on, off or on,off, got {text!r}")
    return tuple(dict.fromkeys(names[part] for part in parts))


if __name__ == "__main__":
    sys.exit(run(main))
