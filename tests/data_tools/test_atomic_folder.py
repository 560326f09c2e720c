from __future__ import annotations

import fcntl

import pytest

from data_tools.atomic_folder import atomic_folder
from object_detection_ext.errors import InputError


def test_the_folder_appears_when_it_is_complete(tmp_path):
    output = tmp_path / "below/out"
    with atomic_folder(output) as folder:
        (folder / "a").write_text("1")
        assert not output.exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["below", "out", "a"]


def test_nothing_is_left_of_a_failure(tmp_path):
    output = tmp_path / "out"

    def fail() -> None:
        with atomic_folder(output) as folder:
            (folder / "a").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".out.partial").mkdir()  # of a killed run
    (tmp_path / ".out.partial/old").write_text("1")
    with atomic_folder(output):
        pass
    assert output.is_dir() and list(output.iterdir()) == []
    with atomic_folder(output) as folder:  # an empty folder may be filled
        (folder / "a").write_text("1")
    assert [path.name for path in output.iterdir()] == ["a"]


def test_what_is_there_is_left_alone(tmp_path):
    def enter(name: str) -> None:
        with atomic_folder(tmp_path / name):
            pass

    (tmp_path / "file").write_text("1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("file", "full", "link"):
        with pytest.raises(InputError, match=rf"--output .*/{name} is there already; choose a new folder"):
            enter(name)
    with pytest.raises(InputError, match=r"cannot write .*/file/out: (Not a directory|File exists); nothing is left of it"):
        enter("file/out")
    with (tmp_path / ".out.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"another run is writing .*/out; wait for it"):
            enter("out")
