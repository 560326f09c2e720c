"""Turns a trained detector into .tflite files for the phone: float32, fp16 and int8, each compared with the checkpoint.

Every file takes one image as `image` and gives, in this order, `detection_boxes` [1, M, 4] (y_min, x_min, y_max, x_max, normalised),
`detection_classes` [1, M] (0-based: line i of labels.txt), `detection_scores` [1, M] and `num_detections` [1], all float32.
float32 and fp16 take the normalised image (for MobileNet: pixel / 127.5 - 1), int8 the image itself, uint8.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from object_detection_ext.command_line import natural_int, positive_int, run

ONE_THREAD = """Run these files with one thread: with T > 1 threads and more than T classes, the runtime's regular suppression leaves out
class T (from 0; https://github.com/tensorflow/tensorflow/issues/56058)."""

TYPES = ("float32", "fp16", "int8")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    arguments = _parser().parse_args(argv)
    from export.quiet import quiet_tensorflow

    quiet_tensorflow()
    from export.model import load_trained_model  # TensorFlow takes seconds; flags must not wait for it
    from export.tflite_export import TfliteOptions, export_tflite

    model = load_trained_model(arguments.pipeline_config_path, arguments.trained_checkpoint_dir, config_override=arguments.config_override)
    options = TfliteOptions(
        types=arguments.types,
        max_detections=arguments.max_detections,
        use_regular_nms=not arguments.fast_nms,
        num_calibration_images=arguments.num_calibration_images,
        num_parity_images=arguments.num_parity_images,
    )
    print(export_tflite(model, arguments.output_directory, options, report=print).table())
    if options.use_regular_nms and model.detector.num_classes > 2:
        print(ONE_THREAD)
    return 0


def _parser() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m export.tflite",
        description=description,
        epilog=details.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--pipeline_config_path", required=True, metavar="FILE", help="the pipeline.config the detector was trained with")
    add("--trained_checkpoint_dir", required=True, metavar="DIR", help="checkpoints (the newest counts), or one checkpoint's prefix")
    add("--output_directory", required=True, metavar="DIR", help="folder for the .tflite files and labels.txt")
    add("--types", type=_types, default=TYPES, metavar="LIST", help=f"what to write (default: {','.join(TYPES)})")
    add("--max_detections", type=positive_int, default=100, metavar="M", help="rows of the outputs (default: 100)")
    add("--fast_nms", action="store_true", help="only each anchor's best class, and no overlap between classes: faster, lower mAP")
    add(
        "--num_calibration_images",
        type=positive_int,
        default=200,
        metavar="N",
        help="training images that set int8's ranges (default: 200)",
    )
    add("--num_parity_images", type=natural_int, default=50, metavar="N", help="images to compare on; 0 for none (default: 50)")
    add("--config_override", default="", metavar="TEXT", help="text of a pipeline.config merged over the file")
    return parser


def _types(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in TYPES]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"expected a comma list of {', '.join(TYPES)}, got {text!r}")
    return names


if __name__ == "__main__":
    sys.exit(run(main))
