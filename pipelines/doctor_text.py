"""The doctor's findings as text for people, as JSON for programs, and as one line that says whether training can start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from data_tools.checks.summary import DataSummary, ReaderSummary
from object_detection_ext.findings import Finding, FindingGroup, Severity

_CLASSES = 12  # listed in a table of a set


def format_summary(summary: DataSummary, *, shown: int) -> str:
    """The sets, then the findings of each check, worst first, `shown` of each."""
    blocks = [_format_set(reader) for reader in summary.readers]
    blocks += [_format_group(group, shown=shown) for group in summary.findings]
    return "\n\n".join(blocks)


def verdict(groups: Sequence[FindingGroup], *, for_config: bool) -> str:
    """One line: whether training can start, and what there is of each severity."""
    errors = [group.check for group in groups if group.severity is Severity.ERROR]
    counts = Counter(group.severity for group in groups)
    rest = f"{_count(counts[Severity.WARNING], 'warning')}, {_count(counts[Severity.INFO], 'note')}"
    subject = "training" if for_config else "training with these"
    if errors:
        return f"{subject} cannot start: {_count(len(errors), 'error')} ({', '.join(errors)}), {rest}"
    return f"{subject} can start: no error, {rest}"


def can_start(groups: Sequence[FindingGroup]) -> bool:
    """Whether no check found an error."""
    return all(group.severity < Severity.ERROR for group in groups)


def to_json(summary: DataSummary) -> Mapping[str, object]:
    """The same for programs; of each check `count` findings were made, of which at most 1,000 are listed."""
    return {
        "can_start": can_start(summary.findings),
        "seconds": round(summary.seconds, 3),
        "sets": [
            {
                "name": reader.name,
                "paths": list(reader.paths) if reader.is_record_set else [],
                "num_images": reader.num_images,
                "num_objects": len(reader.boxes),
                "num_images_without_objects": int((reader.num_boxes == 0).sum()),
                "objects": dict(reader.class_counts),
            }
            for reader in summary.readers
        ],
        "checks": [
            {
                "check": group.check,
                "severity": group.severity.name,
                "count": group.count,
                "findings": [_finding_to_json(finding) for finding in group.findings],
            }
            for group in summary.findings
        ],
    }


def _finding_to_json(finding: Finding) -> Mapping[str, object]:
    record = {"path": finding.record.path, "index": finding.record.index} if finding.record else None
    return {
        "where": finding.where,
        "image": finding.image,
        "record": record,
        "object_index": finding.object_index,
        "message": finding.message,
        "advice": finding.advice,
    }


def _format_set(reader: ReaderSummary) -> str:
    counts = reader.class_counts
    listed = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:_CLASSES])
    more = f" and {len(counts) - _CLASSES} more classes" if len(counts) > _CLASSES else ""
    files = f" in {_count(len(reader.paths), 'file')}" if reader.is_record_set else ""
    return f"{reader.name}: {_count(reader.num_images, 'image')}{files}, {_count(len(reader.boxes), 'object')}: {listed or 'none'}{more}"


def _format_group(group: FindingGroup, *, shown: int) -> str:
    lines = [f"{group.severity.name} {group.check}" + (f" ({group.count:,})" if group.count > 1 else "")]
    advice = Counter(finding.advice for finding in group.findings).most_common(1)[0][0]
    for finding in group.findings[:shown]:
        image = f" ({finding.image})" if finding.image else ""
        own = f"; {finding.advice}" if finding.advice != advice else ""
        lines.append(f"  {finding.where}{image}: {finding.message}{own}")
    if group.count > shown:
        lines.append(f"  and {group.count - min(shown, len(group.findings)):,} more")
    return "\n".join([*lines, f"  to do: {advice}"])


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"
