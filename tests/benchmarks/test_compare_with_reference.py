from __future__ import annotations

import pytest

from benchmarks.compare_with_reference import PROGRESS, Comparison, Run, Side
from benchmarks.jobs import Job

JOB = Job("tiny", depth_multiplier=0.35, size=96, num_steps=100, wall_ratio=0.55)


def _run(side: Side, wall: float, step: float | None) -> Run:
    return Run(side, wall, cpu_seconds=10.0, peak_mib=1000.0, first_line_seconds=5.0, step_seconds=step, load_before=0.0)


def test_the_best_of_each_figure_counts() -> None:
    comparison = Comparison.of(
        JOB, [_run("ours", 30.0, 0.2), _run("reference", 80.0, 0.4), _run("ours", 40.0, 0.1), _run("reference", 60.0, 0.5)]
    )
    assert comparison.best["ours"]["wall_seconds"] == 30.0
    assert comparison.best["ours"]["step_seconds"] == 0.1
    assert comparison.ratios["wall_seconds"] == 0.5
    assert comparison.ratios["step_seconds"] == 0.25
    assert "| whole process, s | 30 | 60 | 0.5 | at most 0.55 |" in comparison.table()


def test_a_figure_that_one_side_lacks_has_no_ratio() -> None:
    comparison = Comparison.of(JOB, [_run("ours", 30.0, 0.2), _run("reference", 80.0, None)])
    assert "step_seconds" not in comparison.ratios
    assert "| a step from there on, s | 0.2 |  |  | at most 1.0 |" in comparison.table()


@pytest.mark.parametrize(
    ("side", "line", "step"),
    [
        ("ours", "step 120/1200 | loss 2.9310 (class 1.8402) | lr 0.0800 | 61.9 images/s | 0:02:20 left", "120"),
        ("reference", "I1124 08:23:20.988279 140680081521536 model_lib_v2.py:705] Step 100 per-step time 0.440s", "100"),
    ],
)
def test_progress_lines_are_recognised(side: Side, line: str, step: str) -> None:
    match = PROGRESS[side].search(line)
    assert match is not None
    assert match[1] == step
