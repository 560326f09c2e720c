"""The part of the doctor that every training begins with: under a second, without TensorFlow, before anything is built.

Looked at are the config, the files that it names, the label maps and the first records of some files, but no image.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from data_tools.checks.classes import check_classes
from data_tools.checks.record_scan import RecordScanner, list_records
from data_tools.checks.scan import RecordSet
from data_tools.checks.scanned_set import SetBuilder
from object_detection_ext.config import Config
from object_detection_ext.diagnosis.config_checks import Job, check_config
from object_detection_ext.findings import Finding, FindingCollector, FindingGroup, Severity
from pipelines.doctor_scan import open_record_sets, scan_settings

_FILES, _RECORDS = 10, 20  # of a set, and of a file: 0.2 ms a record
_SHOWN = 3  # findings of a check


def passes_fast_checks(config: Config, job: Job) -> bool:
    """Whether the job may begin; prints a line on stderr for each error, and one that names the warnings."""
    groups = run_fast_checks(config, job)
    errors, warnings = ([group for group in groups if group.severity is severity] for severity in (Severity.ERROR, Severity.WARNING))
    if warnings:
        doctor = f"python -m pipelines.doctor --pipeline_config_path {config.path}"
        listed = ", ".join(group.check for group in warnings)
        print(f"{len(warnings)} warning{'s' * (len(warnings) != 1)} ({listed}); {doctor} says more", file=sys.stderr)
    if errors:
        print("stopped by the checks (--skip_checks goes on all the same):", file=sys.stderr)
    for group in errors:
        _print_errors(group)
    return not errors


def run_fast_checks(config: Config, job: Job) -> tuple[FindingGroup, ...]:
    """What is wrong, worst first; of the records only errors, as a few of them tell nothing about the whole set."""
    findings = FindingCollector()
    findings.add(check_config(config, job))
    for record_set in open_record_sets(config, findings, job):
        findings.add(finding for finding in _check_first_records(record_set, config) if finding.severity is Severity.ERROR)
    return findings.groups()


def _check_first_records(record_set: RecordSet, config: Config) -> Iterable[Finding]:
    settings = scan_settings(config)
    scanner = RecordScanner(settings.input_size, with_images=False)
    builder = SetBuilder(record_set.name, record_set.label_map)
    step = -(-len(record_set.paths) // _FILES)
    for path in record_set.paths[::step]:
        items, damage = list_records(path, limit=_RECORDS)
        yield from damage
        for seen in map(scanner, items):
            yield from seen.findings
            builder.add(seen)
    ids = {"num_classes": settings.num_classes, "needs_ids": record_set.needs_ids}
    yield from check_classes(builder.classes, label_map=record_set.label_map, **ids)


def _print_errors(group: FindingGroup) -> None:
    for finding in group.findings[:_SHOWN]:
        image = f" ({finding.image})" if finding.image else ""
        print(f"error: {finding.where}{image}: {finding.message}; {finding.advice}", file=sys.stderr)
    if group.count > _SHOWN:
        print(f"error: and {group.count - _SHOWN:,} more like this", file=sys.stderr)
