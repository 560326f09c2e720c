"""Turns a trained detector into .tflite files for the phone, each compared with the checkpoint.

Every file takes one image as `image`: float32, fp16 and dynamic the normalised image (for MobileNet: pixel / 127.5 - 1), int8 and int16
the image itself (see --input_type). It gives float32 outputs of fixed shapes, in this order, by flavour:
  nms      detection_boxes [1, M, 4] (y_min, x_min, y_max, x_max, normalised), detection_classes [1, M] (0-based: line i of labels.txt),
           detection_scores [1, M], num_detections [1]; model_<type>.tflite
  raw      box_encodings [1, A, 4], class_scores [1, A, K]; builtin operations only; model_raw_<type>.tflite
  decoded  boxes [1, A, 4] (as detection_boxes), scores [1, A, K]; builtin operations only; model_decoded_<type>.tflite
postprocessing.json, written with raw and decoded, has the anchors, the box coder and the settings of the suppression.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence

from export.flavours import OUTPUTS
from object_detection_ext.command_line import natural_int, positive_int, run

ONE_THREAD = """Run these files with one thread: with T > 1 threads and more than T classes, the runtime's regular suppression leaves out
class T (from 0; https://github.com/tensorflow/tensorflow/issues/56058)."""

TYPES = ("float32", "fp16", "dynamic", "int8", "int16")
DEFAULT_TYPES = ("float32", "fp16", "int8")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.fast_nms and "nms" not in arguments.flavour:
        parser.error("--fast_nms is for --flavour nms")
    if arguments.deployment_kit and ("nms" not in arguments.flavour or not set(arguments.types) - {"int16"}):
        parser.error("--deployment_kit needs --flavour nms and a type other than int16")
    from export.quiet import one_algebra_thread, quiet_tensorflow

    one_algebra_thread()
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
        flavours=arguments.flavour,
        input_type=arguments.input_type,
        certificate=arguments.certificate,
        allow_divergence=arguments.allow_divergence,
    )
    export = export_tflite(model, arguments.output_directory, options, report=print)
    print(export.table())
    if arguments.deployment_kit:
        from export.deployment_kit import kit_of_export

        print(f"deployment kit for Android: {kit_of_export(model.config, export.files, arguments.deployment_kit)}")
    if "nms" in options.flavours and options.use_regular_nms and model.detector.num_classes > 2:
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
    add(
        "--flavour",
        type=names_of(OUTPUTS),
        default=("nms",),
        metavar="LIST",
        help=f"what the files end in: {', '.join(OUTPUTS)}; several share the work (default: nms)",
    )
    add(
        "--types",
        type=names_of(TYPES),
        default=DEFAULT_TYPES,
        metavar="LIST",
        help=f"number formats: {', '.join(TYPES)} (default: {','.join(DEFAULT_TYPES)})",
    )
    add(
        "--input_type",
        choices=("uint8", "int8", "float32"),
        default="uint8",
        help="input of int8 and int16: pixels, pixels minus 128, or the normalised image (default: uint8)",
    )
    add("--max_detections", type=positive_int, default=100, metavar="M", help="rows of the outputs (default: 100)")
    add("--fast_nms", action="store_true", help="only each anchor's best class, and no overlap between classes: faster, lower mAP")
    add(
        "--num_calibration_images",
        type=positive_int,
        default=200,
        metavar="N",
        help="training images that set the ranges of int8 and int16 (default: 200)",
    )
    add("--num_parity_images", type=natural_int, default=50, metavar="N", help="images to compare on; 0 for none (default: 50)")
    add(
        "--certificate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="certificate.json and .html: every file and a SavedModel compared with the checkpoint on evaluation images, mAP among it; "
        "files beyond the tolerance are not written",
    )
    add("--allow_divergence", action="store_true", help="write files that are beyond the certificate's tolerance")
    add("--deployment_kit", metavar="DIR", help="also write a folder for an Android app: Kotlin, Gradle, an image and the boxes on it")
    add("--config_override", default="", metavar="TEXT", help="text of a pipeline.config merged over the file")
    return parser


def names_of(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """A flag's type: a comma list of known names, each once."""
    allowed = tuple(known)

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        if not names or not set(names) <= set(allowed):
            raise argparse.ArgumentTypeError(f"expected a comma list of {', '.join(allowed)}, got {text!r}")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(run(main))
