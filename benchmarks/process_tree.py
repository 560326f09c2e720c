"""Runs a command as a whole process and says what it cost: wall and CPU time, peak memory of the process tree, and when each line came."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class TimedLine(NamedTuple):
    """A line that the command printed, on stdout or stderr."""

    seconds: float  # since the command was started
    text: str


@dataclass(frozen=True)
class Measurement:
    """What a finished command cost."""

    exit_code: int
    wall_seconds: float
    cpu_seconds: float  # user and system, of the command and all children that it waited for
    peak_bytes: int  # resident memory summed over the process tree
    lines: tuple[TimedLine, ...]


def measure(
    command: Sequence[str], *, directory: Path, environment: Mapping[str, str], log: Path, sample_seconds: float = 0.1
) -> Measurement:
    """Runs `command` in `directory` to its end; everything it prints goes to `log` too.

    The peak is the larger of two readings: the tree's memory sampled every `sample_seconds`, which sees all processes but may miss a spike,
    and the kernel's own peak of the largest single process. Linux only: it reads /proc.
    """
    start = time.monotonic()
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        lines: list[TimedLine] = []
        reader = threading.Thread(target=_collect, args=(process.stdout, log, start, lines))
        reader.start()
        status, usage, sampled_peak = _wait(process, sample_seconds)
        wall_seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # waited for here, so Popen must not wait again
        reader.join()
    return Measurement(
        exit_code=process.returncode,
        wall_seconds=wall_seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=max(sampled_peak, usage.ru_maxrss * 1024),
        lines=tuple(lines),
    )


def _wait(process: subprocess.Popen[bytes], sample_seconds: float) -> tuple[int, resource.struct_rusage, int]:
    """Waits for the end: the wait status, what it used, and the largest sum of resident memory seen, in bytes."""
    peak = 0
    try:
        while True:
            process_id, status, usage = os.wait4(process.pid, os.WNOHANG)
            if process_id:
                return status, usage, peak
            peak = max(peak, sum(map(_resident_bytes, _tree(process.pid))))
            time.sleep(sample_seconds)
    except BaseException:  # Ctrl-C: leave nothing running
        process.kill()
        raise


def _collect(stream: IO[bytes], log: Path, start: float, lines: list[TimedLine]) -> None:
    with log.open("wb") as file:
        for line in stream:
            lines.append(TimedLine(time.monotonic() - start, line.decode(errors="replace").rstrip()))
            file.write(line)
            file.flush()  # for whoever looks in while it runs


def _tree(root: int) -> Iterator[int]:
    """Process ids of `root` and its living descendants."""
    waiting = [root]
    while waiting:
        process_id = waiting.pop()
        yield process_id
        with contextlib.suppress(OSError):  # ended while we looked
            for task in Path(f"/proc/{process_id}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())


def _resident_bytes(process_id: int) -> int:
    try:
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:  # ended while we looked
        return 0
