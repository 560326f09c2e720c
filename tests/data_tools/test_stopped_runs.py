"""Conversions that are killed, interrupted, or run out of disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_tools.create_tf_record import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "a.record"


def start(flags: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "data_tools.create_tf_record", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # else inherited: a suite in the background ignores Ctrl-C
    )


def wait_for_partial(process: subprocess.Popen[bytes], output: Path) -> None:
    while not any(path.stat().st_size for path in output.parent.glob(".*.partial")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


@pytest.fixture
def many(voc_set) -> list[str]:
    """Enough images to be stopped half-way."""
    voc_set.add("0", ("cat", 0, 0, 9, 9))
    text = (voc_set.annotations / "0.xml").read_text()
    image = voc_set.images / "0.jpg"
    image.write_bytes(image.read_bytes() + b"\0" * 50_000)
    for index in range(1, 1500):
        os.link(image, voc_set.images / f"{index}.jpg")
        voc_set.write(str(index), text.replace("0.jpg", f"{index}.jpg"))
    labels = voc_set.images.parent / "labels.pbtxt"
    labels.write_text("item { id: 1 name: 'cat' }")
    return [f"--label_map={labels}", "--num_shards=2", "--num_workers=2"]


@pytest.mark.parametrize(
    ("stop", "code", "leaves_partials"),
    [(signal.SIGKILL, -signal.SIGKILL, True), (signal.SIGTERM, 130, False), (signal.SIGINT, 130, False)],
)
def test_a_stopped_run_leaves_nothing_that_looks_finished(voc_set, many, output, stop, code, leaves_partials):
    output.parent.mkdir()
    earlier = output.with_name("a.record-00000-of-00002")
    earlier.write_bytes(b"earlier")
    process = start([*voc_set.flags(output), *many])
    wait_for_partial(process, output)
    process.send_signal(stop)
    _, errors = process.communicate()
    assert process.returncode == code
    assert leaves_partials or errors.decode().splitlines()[-1] == "interrupted", errors.decode()
    assert [path for path in output.parent.iterdir() if not path.name.startswith(".")] == [earlier]
    assert earlier.read_bytes() == b"earlier"
    assert bool(list(output.parent.glob(".*.partial"))) == leaves_partials

    assert main([*voc_set.flags(output), *many]) == 0
    names = ["a.record-00000-of-00002", "a.record-00001-of-00002", "a_manifest.json"]
    assert [path.name for path in sorted(output.parent.iterdir())] == names
    assert all(path.stat().st_size > 700 * 50_000 for path in output.parent.glob("a.record-*"))


def test_a_disk_that_fills_up(voc_set, many, output, tmp_path):
    """A limit on the size of files stands for the full disk: writes fail in the kernel, half-way."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))\n"
        "from object_detection_ext.command_line import run\nfrom data_tools.create_tf_record import main\nsys.exit(run(main))"
    )
    flags = [*voc_set.flags(output), *many, "--num_workers=1"]
    result = subprocess.run([sys.executable, "-c", program, *flags], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"error: cannot write {output}: File too large; the unfinished files were removed, earlier ones are as they were"
    )
    assert list(output.parent.iterdir()) == []
