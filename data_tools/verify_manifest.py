"""Are the records still what was written? `python -m data_tools.verify_manifest data/mine/train_manifest.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_tools.manifest import verify_manifest
from object_detection_ext.command_line import run


def main(argv: Sequence[str] | None = None) -> int:
    """The command; answers 1 where a file is not what was written."""
    parser = argparse.ArgumentParser(
        prog="python -m data_tools.verify_manifest", description="Compares record files and label map with the manifests beside them."
    )
    parser.add_argument(
        "manifests", nargs="+", type=Path, metavar="MANIFEST", help="what create_tf_record has written: PREFIX_manifest.json"
    )
    num_files = num_wrong = 0
    for manifest in parser.parse_args(argv).manifests:
        for name, problem in verify_manifest(manifest):
            num_files += 1
            if problem:
                num_wrong += 1
                print(f"error: {manifest.with_name(name)} {problem}", file=sys.stderr)
    print(f"{num_files - num_wrong:,} of {num_files:,} files are as they were written")
    return 1 if num_wrong else 0


if __name__ == "__main__":
    sys.exit(run(main))
