"""The table of checks in the guide is what the code says; loads TensorFlow, for the autopsy's checks."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.doctor_checks import all_checks, format_checks

ROOT = Path(__file__).resolve().parents[2]


def test_the_guide_holds_the_table():
    """`python -m pipelines.doctor_checks` prints it anew."""
    assert (ROOT / "docs" / "doctor.md").read_text().endswith(f"## All checks\n\n{format_checks(all_checks())}\n")


def test_no_check_is_missing_from_the_table():
    pattern = re.compile(r'\bCheck\(\s*"(\w+)"')
    sources = [path for package in ("data_tools", "object_detection_ext", "pipelines") for path in (ROOT / package).rglob("*.py")]
    written = [name for path in sources for name in pattern.findall(path.read_text())]
    listed = [check.name for group in all_checks().values() for check in group]
    assert sorted(written) == sorted(listed)
    assert len(set(listed)) == len(listed)


def test_every_check_says_what_to_do():
    for group in all_checks().values():
        for check in group:
            assert re.fullmatch(r"[a-z][a-z0-9_]*", check.name)
            assert len(check.what) > 10
            assert len(check.advice) > 7
            assert "\n" not in check.what + check.advice
