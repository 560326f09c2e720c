"""Files that once brought a reader down, or made it say something unclear, as fuzzing found them (tests/data_tools/fuzz.py)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data_tools.format_table import FORMATS
from tests.data_tools.reading import read_everything
from tests.data_tools.small_sets import SMALL_SETS


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    """Replaces the first occurrence."""

    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return change


HUGE = "9" * 400  # more than a float64 holds


@pytest.mark.parametrize(
    ("name", "number", "change", "message"),
    [
        pytest.param("voc", 2, replaced("a", "9" * 300), "cannot be looked up", id="an image id longer than a file name can be"),
        pytest.param("coco", 0, replaced('"width": 64', f'"width": {HUGE}'), "no image has so many", id="a width beyond float64"),
        pytest.param("pets", 2, lambda content: b"\0" + content[1:], "cannot identify image file", id="a trimap without signature"),
    ],
)
def test_refused_in_one_line(name, number, change, message, tmp_path: Path):
    small = SMALL_SETS[name](tmp_path)
    path = small.files[number]
    path.write_bytes(change(path.read_bytes()))
    messages = read_everything(FORMATS[name.partition("-")[0]], small.options, root=tmp_path)
    assert messages and message in messages[0]
    json.dumps(messages)  # no lone surrogates
