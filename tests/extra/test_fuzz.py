"""The long run over damaged files: `make test-extra`; FUZZ_EXAMPLES says how many files of each kind (default 3,000)."""

from __future__ import annotations

import os

import pytest

from tests.data_tools.fuzz import TARGETS, fuzz


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_are_refused_in_one_line(target, tmp_path):
    fuzz(target, tmp_path, num_examples=int(os.environ.get("FUZZ_EXAMPLES", "3000")), is_random=True)
