"""Runs that are stopped and gone on with: the files must be, byte for byte, those of a run that was not."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.create_tf_record import main
from data_tools.shards import AtomicFiles, shard_paths
from object_detection_ext.command_line import run

ROOT = Path(__file__).resolve().parents[2]
NUM_IMAGES = 40

# The process kills itself, as SIGKILL would at that moment: {0} is what is called, {1} on which call, {2} what happens before it dies.
PROGRAM = """
import os, pathlib, signal, sys
from data_tools import journal, shards
from data_tools.create_tf_record import main
journal._INTERVAL, journal._MOST_COST = 0, 1e9  # a journal after each record
original, calls = {0}, []
def call(*arguments):
    calls.append(arguments)
    if len(calls) == {1}:
        {2}
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
{0} = call
main(sys.argv[1:])
"""
HALF_A_RECORD = "original(arguments[0], arguments[1], arguments[2][:100]); arguments[0].flush()"


@pytest.fixture
def flags(voc_set, tmp_path) -> list[str]:
    for index in range(NUM_IMAGES):
        objects = [("cat" if index % 3 else "dog", 0, 0, 10 + index, 20)] * (index % 4)
        voc_set.add(f"{index:02d}", *objects, ("bird", 5, 5, 5, 9))
    return [*voc_set.flags(tmp_path / "out" / "a.record"), "--split=train=0.7,val=0.3", "--num_shards=3", "--num_workers=1"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def uninterrupted(flags, tmp_path) -> dict[str, bytes]:
    assert main([*flags, f"--output={tmp_path / 'whole' / 'a.record'}"]) == 0
    return files(tmp_path / "whole")


def killed(flags: list[str], called: str, count: int, before: str = "pass") -> None:
    program = PROGRAM.format(called, count, before)
    result = subprocess.run([sys.executable, "-c", program, *flags], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr


@pytest.mark.parametrize(
    ("called", "count", "before"),
    [
        ("shards.AtomicFiles.write", 1, "pass"),
        ("shards.AtomicFiles.write", 2, HALF_A_RECORD),
        ("shards.AtomicFiles.write", NUM_IMAGES // 2, HALF_A_RECORD),
        ("shards.AtomicFiles.write", NUM_IMAGES, HALF_A_RECORD),
        ("os.replace", NUM_IMAGES // 2, "pass"),
        ("pathlib.Path.rename", 2, "pass"),
        ("pathlib.Path.rename", 5, "original(*arguments)"),
    ],
    ids=[
        "before the first record",
        "in the second record",
        "half-way",
        "in the last record",
        "while the journal is written",
        "between two renames",
        "after the last rename",
    ],
)
def test_a_killed_run_is_gone_on_with(flags, uninterrupted, tmp_path, called, count, before):
    output = tmp_path / "out"
    killed([*flags, "--resume"], called, count, before)
    unfinished = [path.name for path in output.iterdir() if not path.name.startswith(".")]
    assert "rename" in called or unfinished == []
    assert main([*flags, "--resume"]) == 0
    assert files(output) == uninterrupted


def test_killed_again_and_again_and_without_the_flag_at_first(flags, uninterrupted, tmp_path, capsys):
    killed(flags, "shards.AtomicFiles.write", 10, HALF_A_RECORD)
    for _ in range(3):
        killed([*flags, "--resume"], "shards.AtomicFiles.write", 8, HALF_A_RECORD)
    journal = json.loads((tmp_path / "out" / ".a.record.journal").read_text())
    assert journal["num_done"] == 9 + 3 * 7
    assert [sum(shard[0] for shard in journal["shards"]), len(journal["shards"])] == [30, 3]
    assert main([*flags, "--resume"]) == 0
    assert files(tmp_path / "out") == uninterrupted
    assert f"{NUM_IMAGES} broken boxes" in capsys.readouterr().out.splitlines()


def test_without_the_flag_a_run_starts_over(flags, uninterrupted, tmp_path):
    killed(flags, "shards.AtomicFiles.write", 20)
    assert main(flags) == 0
    assert files(tmp_path / "out") == uninterrupted


def test_leftovers_of_other_splits_go(flags, uninterrupted, tmp_path):
    killed([*flags, "--split=one=0.5,two=0.5"], "shards.AtomicFiles.write", 20)
    assert list((tmp_path / "out").glob(".a_one.record-*.partial"))
    assert main(flags) == 0
    assert {name: content for name, content in files(tmp_path / "out").items() if not name.endswith(".lock")} == uninterrupted


def test_earlier_output_stands_until_the_end_also_through_a_kill_between_renames(flags, tmp_path):
    assert main([*flags, "--seed=1"]) == 0
    earlier = files(tmp_path / "out")
    killed(flags, "pathlib.Path.rename", 7)  # five were moved away, one new file has its name
    assert run(functools.partial(main, [*flags, "--broken_boxes=error"])) == 1
    assert files(tmp_path / "out") == earlier


@pytest.fixture
def refused(flags, capsys):
    """Goes on with other flags; returns the one line."""

    def call(*more: str) -> str:
        capsys.readouterr()
        assert run(functools.partial(main, [*flags, "--resume", *more])) == 1
        return capsys.readouterr().err.splitlines()[-1]

    return call


def test_other_settings_are_refused(flags, uninterrupted, tmp_path, refused, voc_set):
    killed(flags, "shards.AtomicFiles.write", 20)
    before = files(tmp_path / "out")
    start = "error: --resume: arguments or annotations have changed since the run that was stopped: "
    end = "; give them as they were, or leave out --resume to start over"
    assert refused("--num_shards=6") == f"{start}num_shards was 3, now 6{end}"
    assert refused("--seed=4") == f"{start}selection.seed was 0, now 4{end}"
    assert refused("--broken_boxes=clip") == f"{start}broken_boxes was drop, now clip{end}"
    text = (voc_set.annotations / "07.xml").read_text()
    voc_set.write("07", text + " ")
    assert refused().startswith(f"{start}annotation files was ")
    assert files(tmp_path / "out") == before


def test_records_that_are_converted_again_are_looked_at_too(flags, uninterrupted, tmp_path, capsys):
    source, label_map = tmp_path / "whole" / "a_train.record", tmp_path / "whole" / "a_label_map.pbtxt"
    (first, *_) = sorted(source.parent.glob("a_train.record-*"))
    again = ["--format=tfrecord", f"--images={source}", f"--annotations={label_map}", f"--output={tmp_path / 'out' / 'b.record'}"]
    killed([*again, "--num_workers=1", "--resume"], "shards.AtomicFiles.write", 10)
    content = first.read_bytes()
    first.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])  # as long as it was
    assert run(functools.partial(main, [*again, "--num_workers=1", "--resume"])) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"have changed since the run that was stopped: list of images was 28 \(\w+\), now 28 \(\w+\); give them as", line)


def test_shards_that_are_not_what_the_journal_says(flags, uninterrupted, tmp_path, capsys):
    killed(flags, "shards.AtomicFiles.write", 20)
    (partial,) = (tmp_path / "out").glob(".a_val.record-*.partial")
    partial.write_bytes(b"x" * partial.stat().st_size)
    assert main([*flags, "--resume"]) == 0
    assert "--resume: the unfinished shards are not what their journal says, so all images are converted anew" in capsys.readouterr().err
    assert files(tmp_path / "out") == uninterrupted


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b'{"num_done": 3}'])
def test_no_journal_that_can_be_used(flags, uninterrupted, tmp_path, capsys, content):
    killed(flags, "shards.AtomicFiles.write", 20)
    journal = tmp_path / "out" / ".a.record.journal"
    journal.unlink() if content is None else journal.write_bytes(content)
    assert main([*flags, "--resume"]) == 0
    assert "--resume: found no unfinished run, so all images are converted" in capsys.readouterr().err
    assert files(tmp_path / "out") == uninterrupted


def test_an_image_that_stops_the_run_can_be_mended(flags, tmp_path, voc_set, monkeypatch):
    flags = [flag for flag in flags if not flag.startswith("--split=")]
    assert main([*flags, f"--output={tmp_path / 'whole' / 'a.record'}"]) == 0
    monkeypatch.setattr("data_tools.journal._INTERVAL", 0)
    monkeypatch.setattr("data_tools.journal._MOST_COST", 1e9)
    image = voc_set.images / "30.jpg"
    content = image.read_bytes()
    image.write_bytes(content[:200])
    assert run(functools.partial(main, [*flags, "--resume"])) == 1
    assert json.loads((tmp_path / "out" / ".a.record.journal").read_text())["num_done"] == 30
    image.write_bytes(content)
    assert main([*flags, "--resume"]) == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_other_images_that_change_the_splits_are_refused(flags, tmp_path, voc_set, refused, write_image):
    """Some of the 40 are equal, and stay together; afterwards none are."""
    killed(flags, "shards.AtomicFiles.write", 20)
    for index in range(NUM_IMAGES):
        write_image(voc_set.images / f"{index:02d}.jpg", color=7919 * index)
    assert "since the run that was stopped: shards of the images was " in refused()


def test_an_image_annotated_twice_is_found_across_the_stop(voc_set, tmp_path, refused, flags):
    voc_set.write("39", (voc_set.annotations / "00.xml").read_text())
    killed(flags, "shards.AtomicFiles.write", 20)
    assert refused() == (
        f"error: {voc_set.annotations / '39.xml'}: image '00.jpg' is annotated twice, first by {voc_set.annotations / '00.xml'}"
    )


def test_two_runs_at_once(flags, tmp_path, refused):
    """A run of which one split is the other one's output."""
    prefix = tmp_path / "out" / "a_val.record"
    with AtomicFiles(prefix, shard_paths(prefix, 1)):
        assert refused() == f"error: another run is writing {prefix}; wait for it or choose another --output"
    assert os.listdir(prefix.parent) == []
