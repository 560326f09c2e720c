"""Finds what is wrong with records, label maps and a config before training does, and says what to do.

    python -m pipelines.doctor --pipeline_config_path pipeline.config
    python -m pipelines.doctor --records 'data/train.record-*' --label_map data/label_map.pbtxt
    python -m pipelines.doctor --source photos

Every record and image is read once, by several processes. Exit code 0 when training can start, 1 when something must be mended first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.arguments import add_num_workers
from object_detection_ext.command_line import natural_int, run

if TYPE_CHECKING:
    from pipelines.doctor_scan import Examination


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    arguments = _parse_arguments(argv)
    from pipelines.doctor_text import can_start, format_summary, to_json, verdict  # --help does not wait for numpy and Pillow

    examined = _examine(arguments)
    summary = examined.scan.summary()
    print(format_summary(summary, shown=arguments.max_findings))
    if arguments.json:
        from pipelines.evaluate import write_json

        write_json(to_json(summary), arguments.json)
    if arguments.report:
        from pipelines.doctor_report import write_report

        write_report(summary, arguments.report, config=examined.config)
        print(f"\nreport: {arguments.report}")
    if arguments.fix:
        print(f"\n{_fix(examined, arguments)}")
    print(f"\n{verdict(summary.findings, for_config=examined.config is not None)}; checked in {summary.seconds:.1f} s")
    return 0 if can_start(summary.findings) else 1


def _examine(arguments: argparse.Namespace) -> Examination:
    from object_detection_ext.config import load_config
    from pipelines.doctor_scan import examine_config, examine_records, examine_source

    if arguments.pipeline_config_path:
        config = load_config(arguments.pipeline_config_path, override=arguments.config_override)
        return examine_config(config, num_workers=arguments.num_workers)
    if arguments.records:
        return examine_records(arguments.records, arguments.label_map, num_workers=arguments.num_workers)
    return examine_source(arguments.source, arguments.format, arguments.label_map, num_workers=arguments.num_workers)


def _fix(examined: Examination, arguments: argparse.Namespace) -> str:
    from data_tools.checks.fix import fix_records

    fixed = fix_records(examined.record_sets, examined.scan, arguments.fix, num_workers=arguments.num_workers)
    return (
        f"wrote {fixed.num_records:,} records to {arguments.fix}: {fixed.num_changed:,} changed, {fixed.num_dropped:,} left out; "
        f"each change is a line of {fixed.paths[-1]}. Give these files to input_path, and run the doctor on them"
    )


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pipeline_config_path", metavar="FILE", help="check the config and the records that it reads")
    what.add_argument("--records", nargs="+", metavar="GLOB", help="check record files, as one set")
    what.add_argument("--source", type=Path, metavar="DIR", help="check an annotated folder before it becomes records")
    parser.add_argument("--config_override", default="", metavar="TEXT", help="text of a pipeline.config merged over the file")
    parser.add_argument("--label_map", metavar="FILE", help="with --records or --source; a config names its own")
    parser.add_argument(
        "--format", default="auto", help="of --source: one of data_tools.create_tf_record's, or auto (default): as it looks"
    )
    parser.add_argument("--fix", type=Path, metavar="DIR", help="write mended copies of the records, and changes.txt, into this folder")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page with pictures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings for programs")
    parser.add_argument("--max_findings", type=natural_int, default=5, metavar="N", help="of each check that are printed; default 5")
    add_num_workers(parser)
    arguments = parser.parse_args(argv)
    if arguments.pipeline_config_path and arguments.label_map:
        parser.error("--label_map goes with --records or --source; a config names its label maps")
    if arguments.config_override and not arguments.pipeline_config_path:
        parser.error("--config_override goes with --pipeline_config_path")
    if arguments.fix and arguments.source:
        parser.error("--fix mends records; write records of --source with data_tools.create_tf_record first")
    return arguments


if __name__ == "__main__":
    sys.exit(run(main))
