from __future__ import annotations

import os
from pathlib import Path

from data_tools.formats.first_bytes import first_bytes


def test_regular_files_only(tmp_path: Path):
    (tmp_path / "long").write_bytes(b"x" * 5000)
    (tmp_path / "link").symlink_to("long")
    os.mkfifo(tmp_path / "pipe")
    assert first_bytes(tmp_path / "long") == b"x" * 1024
    for name in ("link", "pipe", "no such file", "."):
        assert first_bytes(tmp_path / name) == b""
