from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from data_tools.journal import Journal, check_same, fingerprint
from data_tools.selection import Selection
from object_detection_ext.errors import InputError

CONTENT = {"fingerprint": {"a": "1"}, "num_done": 3, "shards": [[1, 20, "ff"]], "summary": {}}


class Entry(NamedTuple):
    path: Path


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / ".a.record.journal")


def test_written_as_a_whole(journal, monkeypatch):
    journal.write(CONTENT)
    assert journal.read() == CONTENT
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        journal.write({**CONTENT, "num_done": 4})
    assert journal.read() == CONTENT
    journal.remove()
    assert list(journal.path.parent.iterdir()) == []
    journal.remove()


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff", b'{"num_done": 3}', b"[" * 100_000])
def test_what_is_no_journal(journal, content):
    assert journal.read() is None
    journal.path.write_bytes(content)
    assert journal.read() is None


def test_due_after_two_seconds_or_fifty_times_what_it_costs(journal, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    timed = Journal(journal.path)
    assert not timed.is_due
    now[0] = 1002.0
    assert timed.is_due
    timed.write(CONTENT)
    now[0] = 1003.9
    assert not timed.is_due
    now[0] = 1004.0
    assert timed.is_due
    original = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (original(*paths), now.__setitem__(0, now[0] + 0.5)))
    timed.write(CONTENT)
    now[0] = 1004.5 + 24.9
    assert not timed.is_due
    now[0] = 1004.5 + 25
    assert timed.is_due


def test_what_a_fingerprint_looks_at(tmp_path):
    """Each change shows in one place, and only there."""
    annotations, listing = tmp_path / "xml", tmp_path / "list.txt"
    (annotations / "deep").mkdir(parents=True)
    for path in (annotations / "a.xml", annotations / "deep" / "b.xml", listing):
        path.write_text("12345")
        os.utime(path, (1, 1))
    (annotations / "loop").symlink_to(annotations)
    labels = tmp_path / "labels.txt"
    labels.write_text("1")
    entries = [Entry(Path("a")), Entry(labels)]

    def now(num_shards=2, sample=None, entries=entries) -> dict[str, str]:
        settings = {"num_shards": num_shards, "selection": Selection(sample=sample), "label_map": None}
        return fingerprint(settings, entries, [annotations, listing, tmp_path / "none"])

    before = now()
    assert before.keys() == {
        "num_shards",
        "selection.classes",
        "selection.excluded_classes",
        "selection.renamed_classes",
        "selection.drops_images_without_objects",
        "selection.seed",
        "list of images",
        "annotation files",
    }
    assert before["list of images"].startswith("2 (")
    check_same(before, now())
    (annotations / ".hidden").write_text("x")
    check_same(before, now())

    def change(after: dict[str, str]) -> str:
        with pytest.raises(InputError) as raised:
            check_same(before, after)
        return str(raised.value).split(": ", 2)[2].removesuffix("; give them as they were, or leave out --resume to start over")

    assert change(now(num_shards=3)) == "num_shards was 2, now 3"
    assert change(now(sample=5)) == "selection.sample was not given, now 5"
    assert change(now(entries=entries[:1])).startswith("list of images was 2 (")
    assert change(now(entries=[Entry(Path("a")), Entry(Path("c"))])).startswith("list of images was 2 (")
    for path, text, time in ((annotations / "deep" / "b.xml", "123456", 1), (annotations / "a.xml", "12345", 2), (listing, "12345", 3)):
        earlier = path.read_text()
        path.write_text(text)
        os.utime(path, (time, time))
        assert change(now()).startswith("annotation files was ")
        path.write_text(earlier)
        os.utime(path, (1, 1))
    check_same(before, now())
    labels.write_text("12")
    assert change(now()).startswith("list of images was 2 (")
    labels.unlink()
    assert change(now()).startswith("list of images was 2 (")
    with pytest.raises(InputError, match=r"selection\.sample was 5, now not given"):
        check_same({**before, "selection.sample": "5"}, before)
    with pytest.raises(InputError, match="num_shards was not given, now 2"):
        check_same("no dictionary", before)
