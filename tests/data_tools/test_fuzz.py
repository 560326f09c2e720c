"""A short run over damaged files of every kind that is read; `make test-extra` has the long one (tests/extra/test_fuzz.py)."""

from __future__ import annotations

import pytest

from tests.data_tools.fuzz import TARGETS, fuzz


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_are_refused_in_one_line(target, tmp_path):
    fuzz(target, tmp_path, num_examples=12, is_random=False)
