from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_tools.parallel import ordered_map
from object_detection_ext.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def square(value: int) -> tuple[int, int]:
    time.sleep(0.002 if value < 32 else 0)  # the first chunk is the slowest
    return value * value, os.getpid()


def refuse_from_70(value: int) -> int:
    if value >= 70:
        raise InputError(f"item {value} is wrong")
    return value


def die_at_40(value: int) -> int:
    if value == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@pytest.mark.parametrize("num_items", [0, 1, 33, 200])
def test_order_and_result_do_not_depend_on_the_workers(num_items):
    for num_workers in (1, 2) if num_items < 200 else (1, 2, 3):
        results = list(ordered_map(square, range(num_items), num_workers=num_workers))
        assert [result for result, _ in results] == [i * i for i in range(num_items)]
        pids = {pid for _, pid in results}
        assert (os.getpid() in pids) == (num_items > 0 and min(num_workers, -(-num_items // 32)) == 1)


def test_the_first_error_comes_after_the_results_before_it():
    for num_workers in (1, 2):
        results: list[int] = []
        with pytest.raises(InputError, match="item 70 is wrong"):
            results.extend(ordered_map(refuse_from_70, range(200), num_workers=num_workers))
        assert results == list(range(70 if num_workers == 1 else 64))  # a chunk comes whole or not at all


def test_a_worker_that_dies():
    with pytest.raises(ChildProcessError, match="a worker process died"):
        list(ordered_map(die_at_40, range(100), num_workers=2))


PARENT = """
import time
from data_tools.parallel import ordered_map
if __name__ == "__main__":
    results = ordered_map(time.sleep, [0.01] * 33 + [0.0] * 1000, num_workers=2)
    next(results)
    print("started", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"started\n"
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.kill()
    assert len(children) >= 2
    deadline = time.monotonic() + 20
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"  # a zombie waits for init only
    except (FileNotFoundError, ProcessLookupError):
        return False
