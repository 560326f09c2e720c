"""Every example of docs/annotation-formats.md is a data set that its command reads, and prints what stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from data_tools.create_tf_record import main
from data_tools.format_table import FORMATS

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "annotation-formats.md").read_text()
COMMAND = "python -m data_tools.create_tf_record "


def write_files(section: str) -> None:
    """The photos that the layout lists, and the files whose content follows their names."""
    for name in re.findall(r"^(\S+\.(?:jpg|png))$", section, flags=re.MULTILINE):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (640, 480), 2) if "trimaps" in name else Image.new("RGB", (640, 480))
        image.paste(1, (10, 10, 200, 300))
        image.save(name)
    for name, content in re.findall(r"^`([^`\n]+)`:\n\n```\w*\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)


def test_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    tried = []
    for section in TEXT.split("\n## ")[1:]:
        write_files(section)
        printed = ""
        for block in re.findall(r"^```bash\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
            for command in block.replace("\\\n", "").splitlines():
                assert command.startswith(COMMAND)
                assert main([*shlex.split(command.removeprefix(COMMAND)), "--num_workers=1"]) == 0, command
                said = capsys.readouterr()
                printed += said.out + said.err
                assert re.search(r"^[1-9]\d* objects: ", said.out, flags=re.MULTILINE), said.out
                assert "\n0 broken boxes\n" in said.out
        for block in re.findall(r"^```bash\n[^`]*```\n\n```\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                assert line in printed.splitlines()
        tried += re.findall(r"\A.*\(`(\w+)`\)", section)
    assert sorted(tried) == sorted(FORMATS)
