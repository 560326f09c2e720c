"""The trainings that the benchmarks run."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

from benchmarks.records import DataSet


@dataclass(frozen=True)
class Job:
    """A training run to compare, with the most that ours may take of the original's (None: no such aim)."""

    name: str
    depth_multiplier: float
    size: int  # pixels, height and width of the network input
    num_steps: int  # a multiple of 100: the original rounds up to it
    wall_ratio: float
    memory_ratio: float | None = None


JOBS = (
    Job("small", depth_multiplier=0.35, size=160, num_steps=300, wall_ratio=0.55, memory_ratio=0.75),
    Job("large", depth_multiplier=1.0, size=320, num_steps=200, wall_ratio=0.75),
)


def config_text(job: Job, data: DataSet) -> str:
    """The pipeline.config of a job, in text that the original API and we both accept."""
    template = string.Template((Path(__file__).parent / "training.config.template").read_text())
    return template.substitute(
        depth_multiplier=job.depth_multiplier,
        size=job.size,
        num_steps=job.num_steps,
        schedule_steps=max(job.num_steps, 101),  # the cosine must outlast its warm-up
        label_map=data.label_map,
        records=data.records,
    )
