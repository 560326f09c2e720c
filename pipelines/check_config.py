"""Checks a pipeline.config and prints what a run would use.

    python -m pipelines.check_config --pipeline_config_path pipeline.config [--config_override 'train_config { batch_size: 4 }'] [--build]

Exit code 0 when training could use the config; paths still to be filled in are listed, not refused.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from object_detection_ext.command_line import run
from object_detection_ext.config import Config, check_supported, load_config
from object_detection_ext.config_summary import format_summary, summarize


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Checks a pipeline.config and prints the settings that a run would use.")
    parser.add_argument("--pipeline_config_path", required=True, metavar="FILE")
    parser.add_argument("--config_override", default="", metavar="TEXT", help="text-format settings merged over the file")
    parser.add_argument("--build", action="store_true", help="make the network too; needs no data")
    arguments = parser.parse_args(argv)
    config = load_config(arguments.pipeline_config_path, override=arguments.config_override)
    print(format_summary(summarize(config)), flush=True)  # before the error, which it helps to understand
    check_supported(config)
    if arguments.build:
        print(build_report(config))
    return 0


def build_report(config: Config) -> str:
    """Builds the network and says how large it is."""
    start = time.perf_counter()
    from object_detection_ext.builders.detector import build_detector  # TensorFlow takes seconds

    imported = time.perf_counter()
    with config.locate_errors():
        detector = build_detector(config.proto.model.ssd)
    built = time.perf_counter()
    parameters = sum(int(weight.shape.num_elements()) for weight in detector.network.trainable_weights)
    fixed = sum(int(weight.shape.num_elements()) for weight in detector.network.non_trainable_weights)
    feature_maps = ", ".join(f"{height} x {width}" for height, width in detector.feature_map_shapes)
    return "\n".join(
        [
            "built",
            f"  input         {' x '.join(str(size) for size in detector.network.input_shape[1:])}",
            f"  feature maps  {feature_maps}",
            f"  anchors       {len(detector.anchors)}",
            f"  parameters    {parameters:,} trained, {fixed:,} not",
            f"  layers        {len(detector.network.layers)}",
            f"  seconds       {built - imported:.1f}, after {imported - start:.1f} for loading TensorFlow",
        ]
    )


if __name__ == "__main__":
    sys.exit(run(main))
