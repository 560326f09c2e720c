"""Times several models by turns, each in a process of its own, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from object_detection_ext.errors import InputError

_CALLS_A_TURN = 5


class Setting(NamedTuple):
    """One row of the table."""

    model: Path
    num_threads: int
    use_xnnpack: bool


class Timing(NamedTuple):
    """What one setting took."""

    load_ms: float  # reading the file, applying the delegate, allocating
    first_ms: float  # the first call
    times_ms: np.ndarray  # [num_runs] float64, of the calls after the warm-up
    peak_bytes: int  # resident memory of the whole process at its highest
    model_bytes: int  # the same less what the process with the runtime, and no model, had


def time_interleaved(
    settings: Sequence[Setting], *, num_runs: int, num_warmup_runs: int, report: Callable[[str], None] = lambda line: None
) -> list[Timing]:
    """Five calls of the first, five of the second, ... and around again, until each has its `num_runs`.

    Raises:
        InputError: the runtime refuses a model, or dies of it.
    """
    with ExitStack() as stack:
        workers = []
        for setting in settings:
            report(f"loading {setting.model}")
            workers.append(stack.enter_context(_Worker.start(setting)))
        if num_warmup_runs:
            for worker in workers:
                worker.ask(num_warmup_runs)
        for done in range(0, num_runs, _CALLS_A_TURN):
            report(f"run {done} of {num_runs}")
            for worker in workers:
                worker.times_ms += worker.ask(min(_CALLS_A_TURN, num_runs - done))["times_ms"]
        return [worker.timing() for worker in workers]


@dataclass
class _Worker:
    """A process of `export.latency`."""

    process: subprocess.Popen[str]
    setting: Setting
    loaded: dict[str, Any]
    times_ms: list[float]
    last: dict[str, Any]

    @staticmethod
    def start(setting: Setting) -> _Worker:
        command = [sys.executable, "-m", "export.latency", str(setting.model.absolute()), str(setting.num_threads)]
        process = subprocess.Popen(
            [*command, "on" if setting.use_xnnpack else "off"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the runtime announces its delegate there
            text=True,
            cwd=Path(__file__).parents[1],
        )
        worker = _Worker(process, setting, {}, [], {})
        try:
            worker.loaded = worker._read()
        except BaseException:
            worker.__exit__()
            raise
        return worker

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, num_calls: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has died; reading says how
            print(num_calls, file=self.process.stdin, flush=True)
        self.last = self._read()
        return self.last

    def timing(self) -> Timing:
        peak, runtime = int(self.last["peak_bytes"]), int(self.last["runtime_bytes"])
        return Timing(self.loaded["load_ms"], self.loaded["first_ms"], np.array(self.times_ms), peak, peak - runtime)

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise InputError(f"{self.setting.model}: the TFLite runtime {how} on this file")
        answer = json.loads(line)
        if "error" in answer:
            raise InputError(f"{self.setting.model}: the TFLite runtime refuses this file: {answer['error']}")
        return answer
