"""Finds what is wrong with records, label maps and a config before training does, and says what to do.

    python -m pipelines.doctor --pipeline_config_path pipeline.config
    python -m pipelines.doctor --records 'data/train.record-*' --label_map data/label_map.pbtxt
    python -m pipelines.doctor --source photos
    python -m pipelines.doctor --pipeline_config_path pipeline.config --anchor_patch anchors.patch
    python -m pipelines.doctor --pipeline_config_path pipeline.config --autopsy --checkpoint_dir runs/mine    # the mAP is 0: why?

Every record and image is read once, by several processes. Exit code 0 when training can start, 1 when something must be mended first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_tools.arguments import add_num_workers
from object_detection_ext.command_line import natural_int, positive_int, run
from object_detection_ext.weights.locate import locate_weights

if TYPE_CHECKING:
    from pipelines.doctor_anchors import AnchorLook
    from pipelines.doctor_scan import Examination


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    arguments = _parse_arguments(argv)
    from pipelines.doctor_text import can_start, format_summary, to_json, verdict  # --help does not wait for numpy and Pillow

    if arguments.checkpoint_dir:
        locate_weights(arguments.checkpoint_dir)  # before anything takes time
    examined = _examine(arguments)
    look = _look_at_anchors(examined, arguments)
    autopsy = _autopsy(examined, arguments)
    summary = examined.scan.summary()
    print(format_summary(summary, shown=arguments.max_findings))
    if arguments.json:
        from pipelines.evaluate import write_json

        write_json(to_json(summary), arguments.json)
    if arguments.report:
        from pipelines.doctor_report import write_report

        write_report(summary, arguments.report, config=examined.config, anchors=look.anchors if look else None)
        print(f"\nreport: {arguments.report}")
    if arguments.fix:
        print(f"\n{_fix(examined, arguments)}")
    if arguments.anchor_patch:
        print(f"\n{_write_anchor_patch(look, arguments)}")
    if autopsy:
        print(f"\n{autopsy}")
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
    return examine_source(
        arguments.source, arguments.format, arguments.label_map, annotations=arguments.annotations, num_workers=arguments.num_workers
    )


def _look_at_anchors(examined: Examination, arguments: argparse.Namespace) -> AnchorLook | None:
    if examined.config is None or arguments.no_anchors:
        return None
    from pipelines.doctor_anchors import look_at_anchors

    return look_at_anchors(examined.config, examined.scan.summary().reader("train"), examined.scan.findings)


def _write_anchor_patch(look: AnchorLook | None, arguments: argparse.Namespace) -> str:
    if look is None:
        return f"there are no anchors or no objects to fit them to; {arguments.anchor_patch} is not written"
    from pipelines.doctor_anchors import write_patch

    return write_patch(look, arguments.anchor_patch, anchors_per_location=arguments.anchors_per_location)


def _autopsy(examined: Examination, arguments: argparse.Namespace) -> str:
    """The autopsy as text, its finding beside the others; empty where none is asked for."""
    if examined.config is None or not arguments.autopsy:
        return ""
    from pipelines.doctor_autopsy import perform_autopsy

    return perform_autopsy(
        examined.config, examined.scan.findings, checkpoint=arguments.checkpoint_dir, num_images=arguments.autopsy_images
    )


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
    parser.add_argument(
        "--annotations", type=Path, metavar="PATH", help="with --format, where they are; --source is then the images' folder"
    )
    parser.add_argument("--fix", type=Path, metavar="DIR", help="write mended copies of the records, and changes.txt, into this folder")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page with pictures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings for programs")
    parser.add_argument("--max_findings", type=natural_int, default=5, metavar="N", help="of each check that are printed; default 5")
    add_num_workers(parser)
    _add_network_arguments(parser)
    arguments = parser.parse_args(argv)
    if arguments.pipeline_config_path and arguments.label_map:
        parser.error("--label_map goes with --records or --source; a config names its label maps")
    if arguments.config_override and not arguments.pipeline_config_path:
        parser.error("--config_override goes with --pipeline_config_path")
    if arguments.annotations and (not arguments.source or arguments.format == "auto"):
        parser.error("--annotations goes with --source and --format")
    if arguments.fix and arguments.source:
        parser.error("--fix mends records; write records of --source with data_tools.create_tf_record first")
    _check_network_arguments(parser, arguments)
    return arguments


def _add_network_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with a config, what its network makes of the data (these load TensorFlow)")
    group.add_argument("--no_anchors", action="store_true", help="leave out which objects the anchors miss")
    group.add_argument("--anchor_patch", type=Path, metavar="FILE", help="search better anchors, write them as text for --config_override")
    group.add_argument("--anchors_per_location", type=positive_int, metavar="N", help="another number of anchors than the config's")
    group.add_argument("--autopsy", action="store_true", help="the mAP is 0: send ground truth, then a checkpoint, through every stage")
    group.add_argument("--checkpoint_dir", metavar="DIR", help="of --autopsy: a folder of checkpoints (the newest counts), or a prefix")
    group.add_argument("--autopsy_images", type=positive_int, default=100, metavar="N", help="that the autopsy looks at; default 100")


def _check_network_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if not arguments.pipeline_config_path and (arguments.anchor_patch or arguments.autopsy):
        parser.error("--anchor_patch and --autopsy go with --pipeline_config_path")
    if arguments.anchors_per_location and not arguments.anchor_patch:
        parser.error("--anchors_per_location goes with --anchor_patch")
    if arguments.anchor_patch and arguments.no_anchors:
        parser.error("--anchor_patch and --no_anchors exclude each other")
    if arguments.checkpoint_dir and not arguments.autopsy:
        parser.error("--checkpoint_dir goes with --autopsy")


if __name__ == "__main__":
    sys.exit(run(main))
