"""Where the tests find real data and the reference's golden numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEST_DATA = Path(os.environ.get("DETECTION_TEST_DATA", ROOT.parent / "shared" / "data"))
REFERENCE = Path(os.environ.get("DETECTION_TEST_REFERENCE", ROOT.parent / "shared" / "reference"))
# Real networks and photos, as tests/fetch_test_weights.py fetches them.
REAL_WEIGHTS = Path(os.environ.get("DETECTION_TEST_WEIGHTS", ROOT.parent / "shared" / "weights"))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as every command sets it, and as the golden files were made


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data sets; skips where it is absent."""
    if not TEST_DATA.is_dir():
        pytest.skip(f"real data not found at {TEST_DATA}; set DETECTION_TEST_DATA")
    return TEST_DATA


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Path of a golden file by name: from `tests/golden`, else from the reference folder, else skip."""

    def find(name: str) -> Path:
        for folder in (ROOT / "tests" / "golden", REFERENCE / "golden"):
            if (folder / name).exists():
                return folder / name
        pytest.skip(f"golden file {name} not found in tests/golden or {REFERENCE}; set DETECTION_TEST_REFERENCE")

    return find


@pytest.fixture(scope="session")
def real_weights() -> Callable[[str], Path]:
    """Path of a real network's file, or of a photo, by name; skips where it is absent."""

    def find(name: str) -> Path:
        if not (REAL_WEIGHTS / name).exists():
            pytest.skip(f"{name} not found in {REAL_WEIGHTS}; fetch it with tests/fetch_test_weights.py or set DETECTION_TEST_WEIGHTS")
        return REAL_WEIGHTS / name

    return find
