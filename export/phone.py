"""Runs TFLite's public benchmark program on an attached Android phone, through adb."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from object_detection_ext.errors import InputError

FOLDER = "/data/local/tmp"  # the only place where adb's shell may write and run programs
BINARY = f"{FOLDER}/benchmark_model"
BINARY_SOURCE = "https://ai.google.dev/edge/litert/models/measurement (android_aarch64_benchmark_model)"
_TIMEOUT = 600.0  # seconds for one command

_NUMBER = r"([0-9.eE+-]+)"
_INIT_AND_FIRST = re.compile(rf"Init: {_NUMBER}, First inference: {_NUMBER}")
_STATISTICS = re.compile(r"count=\d+ .*\bavg=.*")  # the last one is of the measured runs, those before are of the warm-up
_MEMORY = re.compile(rf"Memory footprint delta .*overall={_NUMBER}")


class PhoneTiming(NamedTuple):
    """What the program measured; None where this version of it does not say."""

    load_ms: float
    first_ms: float
    median_ms: float | None
    mean_ms: float
    p95_ms: float | None
    memory_mb: float | None


@dataclass(frozen=True)
class Phone:
    """A phone that answers.

    Attributes:
        adb: path of the program.
        serial: the phone's.
        name: its model and version of Android, to be shown.
    """

    adb: str
    serial: str
    name: str

    @staticmethod
    def attached(binary: Path | None) -> Phone:
        """The phone attached, with the benchmark program on it.

        Args:
            binary: the program, to be copied to the phone; None where it is there already.

        Raises:
            InputError: there is no adb, not exactly one phone, or no program.
        """
        adb = shutil.which("adb")
        if adb is None:
            raise InputError("--adb: no adb found in PATH (Debian: apt install adb; it is part of Android's platform tools)")
        if binary is not None and not binary.is_file():
            raise InputError(f"--benchmark_binary {binary} does not exist")
        lines = _run([adb, "devices"]).splitlines()[1:]
        serials = [line.split()[0] for line in lines if line.split()[1:2] == ["device"]]
        if len(serials) != 1:
            states = ", ".join(" ".join(line.split()) for line in lines if line.strip()) or "none"
            raise InputError(f"--adb needs one attached phone that allows debugging, adb devices shows: {states}")
        name = " ".join(
            _run([adb, "-s", serials[0], "shell", "getprop", key]).strip() for key in ("ro.product.model", "ro.build.version.release")
        )
        phone = Phone(adb, serials[0], name)
        if binary is not None:
            phone.copy(binary, BINARY)
            phone.shell("chmod", "755", BINARY)
        elif "yes" not in phone.shell(f"test -x {BINARY} && echo yes || echo no"):
            raise InputError(f"--adb: no benchmark program at {BINARY} on the phone; give one by --benchmark_binary ({BINARY_SOURCE})")
        return phone

    def copy(self, source: Path, target: str) -> None:
        """Copies a file to the phone."""
        _run([self.adb, "-s", self.serial, "push", str(source), target])

    def shell(self, *command: str) -> str:
        """What a command on the phone prints."""
        return _run([self.adb, "-s", self.serial, "shell", *command])

    def benchmark(self, model: str, *, num_threads: int, use_xnnpack: bool, num_runs: int) -> PhoneTiming:
        """Times a model that was copied to the phone.

        Raises:
            InputError: the program failed or printed no times.
        """
        flags = (f"--graph={model}", f"--num_threads={num_threads}", f"--use_xnnpack={str(use_xnnpack).lower()}", f"--num_runs={num_runs}")
        return parse_timing(self.shell(BINARY, *flags), model)


def parse_timing(output: str, model: str) -> PhoneTiming:
    """The numbers in the output of TFLite's benchmark_model, which are in microseconds and megabytes."""
    initial, statistics, memory = _INIT_AND_FIRST.search(output), _STATISTICS.findall(output), _MEMORY.search(output)
    if initial is None or not statistics:
        last = (output.strip().splitlines() or ["nothing"])[-1]
        raise InputError(f"{model}: the benchmark program on the phone gave no times, it printed: {last}")
    values = {name: float(value) / 1000 for name, value in re.findall(rf"(\w+)={_NUMBER}", statistics[-1])}
    return PhoneTiming(
        load_ms=float(initial[1]) / 1000,
        first_ms=float(initial[2]) / 1000,
        median_ms=values.get("median"),
        mean_ms=values["avg"],
        p95_ms=values.get("p95"),
        memory_mb=float(memory[1]) if memory else None,
    )


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{' '.join(command)}: no answer for {_TIMEOUT:.0f} s") from error
    if done.returncode:
        last = ((done.stderr or done.stdout).strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{' '.join(command)} failed with exit code {done.returncode}: {last}")
    return done.stdout + done.stderr
