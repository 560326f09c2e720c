from __future__ import annotations

import os

import pytest

from export.quiet import native_output_hidden


def test_what_native_code_writes_is_hidden_and_ours_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with native_output_hidden():
        os.write(1, b"noise\n")
        os.write(2, b"noise\n")
    print("after")
    out, err = capfd.readouterr()
    assert (out, err) == ("before\nafter\n", "")


def test_it_is_shown_where_something_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with native_output_hidden():
            os.write(2, b"the reason\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    os.write(2, b"still works\n")
    assert capfd.readouterr().err == "the reason\nstill works\n"
