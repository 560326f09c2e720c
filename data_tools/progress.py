"""A progress bar on stderr: one line rewritten on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")

_TERMINAL_INTERVAL, _LOG_INTERVAL = 0.1, 10.0  # seconds between two updates
_BAR_WIDTH = 30


def progress(items: Iterable[Item], *, total: int, label: str, unit: str = "images") -> Generator[Item, None, None]:
    """Yields the items and shows how many of `total` have gone by, at what rate, and the time left."""
    is_terminal = sys.stderr.isatty()
    interval = _TERMINAL_INTERVAL if is_terminal else _LOG_INTERVAL
    start = shown = time.monotonic()
    done = 0
    try:
        for done, item in enumerate(items, start=1):
            yield item
            now = time.monotonic()
            if now - shown >= interval:
                _show(label, done, total, unit, now - start, is_terminal=is_terminal)
                shown = now
    finally:
        if done and (is_terminal or shown > start):
            _show(label, done, total, unit, time.monotonic() - start, is_terminal=is_terminal)
            if is_terminal:
                print(file=sys.stderr)


def _show(label: str, done: int, total: int, unit: str, seconds: float, *, is_terminal: bool) -> None:
    rate = done / max(seconds, 1e-9)
    line = f"{label} {done:,}/{total:,} {unit}, {rate:,.0f}/s, {_clock((total - done) / rate)} left"
    if is_terminal:
        filled = round(_BAR_WIDTH * done / max(total, 1))
        print(f"\r[{'#' * filled}{' ' * (_BAR_WIDTH - filled)}] {line}\x1b[K", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
