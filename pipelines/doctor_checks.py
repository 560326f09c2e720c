"""All checks of the doctor as a table, which docs/doctor.md holds: `python -m pipelines.doctor_checks`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType

from object_detection_ext.command_line import run
from object_detection_ext.findings import Check


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    argparse.ArgumentParser(prog="python -m pipelines.doctor_checks", description=__doc__).parse_args(argv)
    print(format_checks(all_checks()))
    return 0


def all_checks() -> Mapping[str, tuple[Check, ...]]:
    """Every check there is, under the heading of what it looks at. Loads TensorFlow, for the autopsy."""
    from data_tools.checks import boxes, classes, images, label_map, record_features, record_scan, sets, source_scan, splits
    from object_detection_ext.diagnosis import (
        anchor_coverage,
        autopsy,
        config_checks,
        detection_checks,
        flip_checks,
        input_checks,
        memory_checks,
        schedule_checks,
    )
    from pipelines import doctor_anchors

    return {
        "Config": (*config_checks.CHECKS, *memory_checks.CHECKS, *flip_checks.CHECKS),
        "Steps and learning rate": schedule_checks.CHECKS,
        "Detections": detection_checks.CHECKS,
        "Files and label maps": (*input_checks.CHECKS, *label_map.CHECKS),
        "Records": (*record_scan.CHECKS, *record_features.CHECKS, *source_scan.CHECKS),
        "Images": images.CHECKS,
        "Boxes": boxes.CHECKS,
        "Classes": classes.CHECKS,
        "A set as a whole": sets.CHECKS,
        "Training against evaluation": splits.CHECKS,
        "Anchors and network": (*_checks_in(anchor_coverage), *_checks_in(doctor_anchors), *_checks_in(autopsy)),
    }


def _checks_in(module: ModuleType) -> tuple[Check, ...]:
    return tuple(value for value in vars(module).values() if isinstance(value, Check))


def format_checks(checks: Mapping[str, Sequence[Check]]) -> str:
    """Markdown: a section for each heading, a row for each check, worst first."""
    sections = []
    for heading, group in checks.items():
        rows = [f"### {heading}", "", "| check | | looks for | what to do |", "|---|---|---|---|"]
        for check in sorted(group, key=lambda check: -check.severity):
            cells = (f"`{check.name}`", check.severity.name.lower(), check.what, check.advice)
            rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        sections.append("\n".join(rows))
    return "\n\n".join(sections)


if __name__ == "__main__":
    sys.exit(run(main))
