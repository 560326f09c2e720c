from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from data_tools.shards import AtomicFiles, find_shards, label_map_path, manifest_path, shard_paths, split_prefix
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
    assert manifest_path(Path(prefix)) == Path(label_map.replace("label_map.pbtxt", "manifest.json"))


def test_names_of_splits():
    assert split_prefix(Path("out/mine.record"), "val") == Path("out/mine_val.record")
    assert split_prefix(Path("out/v1.2"), "val") == Path("out/v1.2_val")


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
            files.write(0, b"new" * 1_000_000)
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


def test_unfinished_files_are_kept_and_appended_to(prefix):
    targets = shard_paths(prefix, 2)
    with AtomicFiles(prefix, targets, keeps_unfinished=True) as files:
        files.write(0, b"zero and more")
        files.write(1, b"one")
    assert find_shards(prefix) == []
    with AtomicFiles(prefix, targets, keeps_unfinished=True) as files:
        files.cut(0, 4)
        files.write(0, b"!")
        files.write(1, b"!")
        files.flush()
        assert files.partial_path(0).read_bytes() == b"zero!"
        files.commit()
    assert listing(prefix.parent) == {targets[0].name: b"zero!", targets[1].name: b"one!"}


def test_a_full_disk_keeps_what_is_finished(prefix, monkeypatch):
    original = Path.open

    def open_full(path: Path, *args: str, **kwargs: str) -> IO[bytes]:
        return original(Path("/dev/full") if path.suffix == ".partial" else path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_full)
    message = "No space left on device; what is finished is kept for --resume, earlier ones are as they were"
    with pytest.raises(InputError, match=message), AtomicFiles(prefix, shard_paths(prefix, 1), keeps_unfinished=True) as files:
        files.write(0, b"new" * 1_000_000)


@pytest.mark.parametrize("keeps_unfinished", [False, True])
def test_a_kill_between_renames_is_taken_back(prefix, keeps_unfinished):
    """The first of three new files has its name, the second old one was moved away, the third is not there yet."""
    prefix.parent.mkdir(parents=True)
    first, second, third = names = [path.name for path in shard_paths(prefix, 3)]
    before = {
        ".a.record.lock": "".join(f"{name}\n" for name in (*names, "/committing")).encode(),
        first: b"new 0",
        f".{first}.replaced": b"old 0",
        f".{second}.partial": b"new 1",
        f".{second}.replaced": b"old 1",
        f".{third}.partial": b"new 2",
    }
    for name, content in before.items():
        (prefix.parent / name).write_bytes(content)
    with AtomicFiles(prefix, shard_paths(prefix, 3), keeps_unfinished=keeps_unfinished) as files:
        assert [(prefix.parent / name).read_bytes() for name in (first, second)] == [b"old 0", b"old 1"]
        contents = [files.partial_path(index).read_bytes() for index in range(3)]
        assert contents == ([b"new 0", b"new 1", b"new 2"] if keeps_unfinished else [b"", b"", b""])


def test_files_that_a_killed_run_listed_go(prefix):
    """Those of other splits, too; a name that leads elsewhere is no name of ours."""
    prefix.parent.mkdir(parents=True)
    stays = prefix.parent.parent / ".x.partial"
    for path in (prefix.parent / ".a_val.record-00000-of-00001.partial", stays):
        path.write_bytes(b"x")
    (prefix.parent / ".a.record.lock").write_text("a_val.record-00000-of-00001\n../x\n")
    write(prefix, b"new")
    assert listing(prefix.parent) == {"a.record-00000-of-00001": b"new"}
    assert stays.exists()


def test_every_prefix_is_locked(prefix):
    val = prefix.with_name("a_val.record")
    with AtomicFiles(prefix, [*shard_paths(prefix.with_name("a_train.record"), 1), *shard_paths(val, 1)]) as files:
        with pytest.raises(InputError, match=r"another run is writing .*a_val\.record; wait for it or choose another --output"):
            write(val, b"second")
        files.commit()
    write(val, b"second")
    assert listing(prefix.parent) == {"a_train.record-00000-of-00001": b"", "a_val.record-00000-of-00001": b"second"}
