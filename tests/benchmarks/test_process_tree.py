from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.process_tree import measure

ROOT = Path(__file__).resolve().parents[2]
HOLD = "block = bytearray(120 * 2**20); import time; time.sleep(0.8)"  # bytearray fills its pages


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads Linux's /proc")
def test_memory_is_summed_over_the_tree(tmp_path: Path) -> None:
    parent = f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {HOLD!r}]); {HOLD}; child.wait()"
    # From a process of its own: the kernel counts what a child was before its exec, and a test runner can be larger than the child.
    script = (
        "import os, pathlib, sys; from benchmarks.process_tree import measure; "
        f"m = measure([sys.executable, '-c', {parent!r}], directory=pathlib.Path('.'), environment=os.environ, "
        "log=pathlib.Path('log'), sample_seconds=0.02); print(m.exit_code, m.peak_bytes, m.wall_seconds)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    exit_code, peak_bytes, wall_seconds = map(float, done.stdout.split())
    assert exit_code == 0
    assert 240 * 2**20 < peak_bytes < 340 * 2**20  # either process alone holds 120 MiB and an interpreter
    assert wall_seconds > 0.8


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads Linux's /proc")
def test_lines_are_timed_and_logged_and_failures_told(tmp_path: Path) -> None:
    code = "import sys, time; print('first', flush=True); time.sleep(0.3); print('last', file=sys.stderr); sys.exit(3)"
    measured = measure([sys.executable, "-c", code], directory=tmp_path, environment=os.environ, log=tmp_path / "log", sample_seconds=0.02)
    assert measured.exit_code == 3
    first, last = measured.lines
    assert (first.text, last.text) == ("first", "last")
    assert last.seconds - first.seconds > 0.25
    assert (tmp_path / "log").read_text() == "first\nlast\n"
