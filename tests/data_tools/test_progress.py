from __future__ import annotations

import pytest

from data_tools import progress as module
from data_tools.progress import progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock(monkeypatch) -> None:
    monkeypatch.setattr(module, "time", Clock())


@pytest.mark.usefixtures("clock")
def test_plain_lines_now_and_then_when_nobody_watches(capsys):
    assert list(progress(range(24), total=24, label="converting")) == list(range(24))
    assert capsys.readouterr().err.splitlines() == [
        "converting 10/24 images, 1/s, 0:00:14 left",
        "converting 20/24 images, 1/s, 0:00:04 left",
        "converting 24/24 images, 1/s, 0:00:00 left",
    ]


def test_silent_when_quick(capsys):
    assert list(progress(range(5), total=5, label="converting")) == list(range(5))
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("clock")
def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(progress([1, 2], total=4000, label="drawing")) == [1, 2]
    shown = capsys.readouterr().err
    assert shown.startswith("\r[                              ] drawing 1/4,000 images, 1/s, 1:06:39 left\x1b[K\r[")
    assert shown.endswith("\x1b[K\n")


def test_an_error_goes_through(capsys):
    def fail():
        yield 1
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        list(progress(fail(), total=2, label="converting"))
