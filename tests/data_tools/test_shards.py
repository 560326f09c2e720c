from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from data_tools.shards import AtomicFiles, find_shards, label_map_path, shard_paths
from object_detection_ext.errors import InputError


@pytest.mark.parametrize(
    ("prefix", "shard", "label_map"),
    [
        ("out/train.record", "out/train.record-00001-of-00012", "out/train_label_map.pbtxt"),
        ("out/train.tfrecord", "out/train.tfrecord-00001-of-00012", "out/train_label_map.pbtxt"),
        ("out/v1.2", "out/v1.2-00001-of-00012", "out/v1.2_label_map.pbtxt"),
        ("train", "train-00001-of-00012", "train_label_map.pbtxt"),
    ],
)
def test_names(prefix, shard, label_map):
    assert shard_paths(Path(prefix), 12)[1] == Path(shard)
    assert label_map_path(Path(prefix)) == Path(label_map)


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "a.record"


def write(prefix: Path, *contents: bytes) -> None:
    with AtomicFiles(prefix, shard_paths(prefix, len(contents))) as files:
        for index, content in enumerate(contents):
            files.write(index, content)
        files.commit()


def test_files_appear_at_commit(prefix):
    targets = shard_paths(prefix, 2)
    with AtomicFiles(prefix, targets) as files:
        files.write(1, b"one")
        files.write(0, b"zero")
        files.write(1, b"more")
        assert find_shards(prefix) == []
        assert not any(path.match("a*") for path in prefix.parent.iterdir())  # nothing that a glob of the user would find
        files.commit()
        assert find_shards(prefix) == targets
    assert listing(prefix.parent) == {targets[0].name: b"zero", targets[1].name: b"onemore"}


def test_files_are_replaced_together(prefix):
    write(prefix, b"old 0", b"old 1")
    write(prefix, b"new 0", b"new 1")
    assert listing(prefix.parent) == {"a.record-00000-of-00002": b"new 0", "a.record-00001-of-00002": b"new 1"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, None])
def test_without_commit_nothing_changes(prefix, error):
    write(prefix, b"old")
    before = listing(prefix.parent)
    try:
        with AtomicFiles(prefix, shard_paths(prefix, 1)) as files:
            files.write(0, b"new" * 100_000)
            if error is not None:
                raise error
    except (KeyboardInterrupt, ValueError):
        pass
    assert listing(prefix.parent) == before


def test_a_full_disk(prefix, monkeypatch):
    """/dev/full takes the place of the last shard: the kernel's own "No space left on device"."""
    write(prefix, b"old", b"old")
    before = listing(prefix.parent)
    original = Path.open

    def open_full(path: Path, *args: str, **kwargs: str) -> IO[bytes]:
        return original(Path("/dev/full") if path.name == ".a.record-00001-of-00002.partial" else path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_full)
    for content in (b"new", b"new" * 100_000):  # found when the buffer is flushed, and while writing
        with pytest.raises(InputError, match=f"cannot write {prefix}: No space left on device; the unfinished files were removed"):
            write(prefix, content, content)
        assert listing(prefix.parent) == before


def test_a_rename_that_fails_undoes_those_before(prefix, monkeypatch):
    write(prefix, b"old 0", b"old 1", b"old 2")
    before = listing(prefix.parent)
    original = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name.endswith("1-of-00003.partial"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(InputError, match="Input/output error"):
        write(prefix, b"new 0", b"new 1", b"new 2")
    assert listing(prefix.parent) == before


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"cannot write .*file/a\.record: (Not a directory|File exists)"):
        write(tmp_path / "file" / "a.record", b"x")


def test_leftovers_of_a_killed_run_go(prefix):
    prefix.parent.mkdir(parents=True)
    for name in (".a.record-00000-of-00009.partial", ".a.record-00003-of-00009.replaced", ".a.record.lock"):
        (prefix.parent / name).write_bytes(b"x")
    others = {".b.record-00000-of-00001.partial": b"y", ".a.record-x-00000-of-00001.partial": b"z"}
    for name, content in others.items():
        (prefix.parent / name).write_bytes(content)
    write(prefix, b"new")
    assert listing(prefix.parent) == others | {"a.record-00000-of-00001": b"new"}


def test_two_runs_at_once(prefix):
    with AtomicFiles(prefix, shard_paths(prefix, 1)) as files:
        files.write(0, b"first")
        with pytest.raises(InputError, match=r"another run is writing .*a\.record; wait for it or choose another --output"):
            write(prefix, b"second")
        write(prefix.with_name("b.record"), b"other")
        files.commit()
    assert listing(prefix.parent) == {"a.record-00000-of-00001": b"first", "b.record-00000-of-00001": b"other"}
