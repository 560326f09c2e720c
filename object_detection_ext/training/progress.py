"""The line that tells how training goes, from the first seconds on."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TextIO

SHORT = {
    "Loss/total_loss": "loss",
    "Loss/classification_loss": "class",
    "Loss/localization_loss": "box",
    "Loss/regularization_loss": "l2",
}


@dataclass
class ProgressLine:
    """Prints `step 120/1200 | loss 2.9310 (class 1.8402, box 0.9671, l2 0.1237) | lr 0.0800 | 61.9 images/s | 0:02:20 left`.

    On a terminal the line rewrites itself; elsewhere a line is printed at the first step, then at most one in `seconds`.
    """

    total_steps: int
    batch_size: int
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    seconds: float = 10.0
    _last: float = float("-inf")
    _open_line: bool = False

    def show(self, step: int, values: Mapping[str, float], *, steps_per_second: float, force: bool = False) -> None:
        """Prints the state after `step` steps; `values` are the losses and `learning_rate` by TensorBoard tag."""
        now = time.monotonic()
        terminal = self.stream.isatty()
        if not force and not terminal and now - self._last < self.seconds:
            return
        self._last = now
        line = self._line(step, values, steps_per_second)
        if terminal:
            self.stream.write(f"\r\x1b[K{line}")
            self._open_line = True
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def say(self, message: str) -> None:
        """Prints a line of its own without breaking the progress line."""
        self.close()
        self.stream.write(message + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Ends the rewriting line."""
        if self._open_line:
            self.stream.write("\n")
            self._open_line = False

    def _line(self, step: int, values: Mapping[str, float], steps_per_second: float) -> str:
        terms = {tag: value for tag, value in values.items() if tag.startswith("Loss/") and tag != "Loss/total_loss"}
        parts = ", ".join(f"{SHORT.get(tag, tag)} {value:.4f}" for tag, value in terms.items())
        left = (self.total_steps - step) / steps_per_second if steps_per_second > 0 else 0.0
        minutes, seconds = divmod(round(left), 60)
        hours, minutes = divmod(minutes, 60)
        return (
            f"step {step}/{self.total_steps} | loss {values['Loss/total_loss']:.4f} ({parts}) | lr {values['learning_rate']:.4g} "
            f"| {steps_per_second * self.batch_size:.1f} images/s | {hours}:{minutes:02d}:{seconds:02d} left"
        )
