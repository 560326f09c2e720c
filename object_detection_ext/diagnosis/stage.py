"""The stages of an autopsy: what each found, and which one is broken first."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Outcome(enum.Enum):
    """What became of a stage."""

    OK = "ok"
    NOTE = "note"  # works, with something worth knowing
    BROKEN = "BROKEN"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Stage:
    """One link of the chain from records to metrics."""

    name: str
    outcome: Outcome
    message: str  # what was seen, with numbers
    advice: str = ""  # what to do, where it is broken


def first_broken(stages: Sequence[Stage]) -> Stage | None:
    """The stage where the chain breaks; None where it holds."""
    return next((stage for stage in stages if stage.outcome is Outcome.BROKEN), None)


def format_stages(stages: Sequence[Stage]) -> str:
    """One line a stage, numbered from 1."""
    width = max(len(stage.name) for stage in stages)
    return "\n".join(
        f"{number:>2}  {stage.name:<{width}}  {stage.outcome.value:<7}  {stage.message}" for number, stage in enumerate(stages, start=1)
    )
