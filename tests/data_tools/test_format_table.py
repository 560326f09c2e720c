"""What holds for every format."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_tools.format_table import FORMATS
from data_tools.journal import fingerprint
from tests.data_tools.small_sets import SMALL_SETS


def format_of(name: str) -> str:
    return name.partition("-")[0]


@pytest.mark.parametrize("name", SMALL_SETS)
def test_a_folder_is_recognised_by_its_own_format_only(name, tmp_path):
    small = SMALL_SETS[name](tmp_path)
    found = {each: options for each, format_ in FORMATS.items() if (options := format_.recognise(tmp_path)) is not None}
    assert list(found) == [format_of(name)]
    (options,) = found.values()
    assert options.annotations == small.options.annotations
    assert options.images in (small.options.images, *small.options.images.parents)


@pytest.mark.parametrize("name", SMALL_SETS)
def test_other_folders_are_recognised_by_none(name, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("nothing of that kind\n")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "settings.json").write_text('{"a": 1}')
    (tmp_path / "page.xml").write_text("<html/>")
    for folder in (tmp_path, tmp_path / "empty"):
        assert FORMATS[format_of(name)].recognise(folder) is None


@pytest.mark.parametrize("name", SMALL_SETS)
def test_a_run_can_be_gone_on_with(name, tmp_path):
    """The same files give the same entries, told apart by what they show; another label file gives others."""
    small = SMALL_SETS[name](tmp_path)

    def now() -> dict[str, str]:
        return fingerprint({}, FORMATS[format_of(name)].read(small.options).entries, _inputs(small.options))

    before = now()
    assert now() == before
    path = small.files[-1]
    path.write_bytes(path.read_bytes())
    assert now() != before  # by its time


def _inputs(options: object) -> list[Path]:
    return [value for name, value in vars(options).items() if name != "images" and isinstance(value, Path)]
