from __future__ import annotations

from pathlib import Path

import pytest

from data_tools.file_bytes import read_file
from object_detection_ext.errors import InputError


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_the_whole_file(tmp_path: Path, size):
    (tmp_path / "a").write_bytes(bytes(size))
    assert read_file(tmp_path / "a", largest=5000) == bytes(size)


def test_limits(tmp_path: Path):
    (tmp_path / "a").write_bytes(bytes(5001))
    with pytest.raises(InputError, match=r"^the file has 5,001 bytes; at most 5,000 are read$"):
        read_file(tmp_path / "a", largest=5000)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "b", largest=5000)
