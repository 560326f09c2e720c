from __future__ import annotations

from pathlib import Path

import pytest

from export.output_folder import complete_folder
from object_detection_ext.errors import InputError


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with complete_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    assert _files(tmp_path) == {"deep/out/a"}


def test_an_existing_folder_keeps_what_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    (target / "saved_model").mkdir(parents=True)
    (target / "saved_model" / "old").write_text("old")
    (target / "a").write_text("old")
    (target / "mine").write_text("kept")
    with complete_folder(target) as folder:
        (folder / "saved_model").mkdir()
        (folder / "saved_model" / "new").write_text("new")
        (folder / "a").write_text("new")
    assert _files(tmp_path) == {"out/saved_model/new", "out/a", "out/mine"}
    assert (target / "a").read_text() == "new"


@pytest.mark.parametrize("exists", [True, False])
def test_an_error_leaves_nothing_behind(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "out"
    if exists:
        target.mkdir()
        (target / "a").write_text("old")

    def fail() -> None:
        with complete_folder(target) as folder:
            (folder / "a").write_text("new")
            raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        fail()
    assert _files(tmp_path) == ({"out/a"} if exists else set())
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if exists else [])
    if exists:
        assert (target / "a").read_text() == "old"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out is a file"), complete_folder(tmp_path / "out"):
        pytest.fail("must not come here")
