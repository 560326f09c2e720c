"""Turns a trained detector into ONNX files without suppression, each compared with the checkpoint in onnxruntime.

Every file takes the normalised image `image` [1, H, W, 3] float32 (for MobileNet: pixel / 127.5 - 1) and gives float32 outputs by flavour:
  raw      box_encodings [1, A, 4], class_scores [1, A, K]; model_raw.onnx
  decoded  boxes [1, A, 4] (y_min, x_min, y_max, x_max, normalised), scores [1, A, K]; model_decoded.onnx
postprocessing.json beside them has the anchors, the box coder and the settings of the suppression, labels.txt the classes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from export.tflite import names_of
from object_detection_ext.command_line import natural_int, run

FLAVOURS = ("raw", "decoded")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    arguments = _parser().parse_args(argv)
    from export.quiet import quiet_tensorflow

    quiet_tensorflow()
    from export.onnx_export import check_onnx_installed, export_onnx  # TensorFlow takes seconds; flags must not wait for it

    check_onnx_installed()
    from export.model import load_trained_model

    model = load_trained_model(arguments.pipeline_config_path, arguments.trained_checkpoint_dir, config_override=arguments.config_override)
    made = export_onnx(
        model,
        arguments.output_directory,
        flavours=arguments.flavour,
        opset=arguments.opset,
        num_parity_images=arguments.num_parity_images,
        report=print,
    )
    print(made.table())
    return 0


def _parser() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m export.onnx",
        description=description,
        epilog=details.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--pipeline_config_path", required=True, metavar="FILE", help="the pipeline.config the detector was trained with")
    add("--trained_checkpoint_dir", required=True, metavar="DIR", help="checkpoints (the newest counts), or one checkpoint's prefix")
    add("--output_directory", required=True, metavar="DIR", help="folder for the .onnx files, labels.txt and postprocessing.json")
    add("--flavour", type=names_of(FLAVOURS), default=FLAVOURS, metavar="LIST", help="what to write (default: raw,decoded)")
    add("--opset", type=int, choices=range(13, 19), default=17, metavar="N", help="version of the operations, 13 to 18 (default: 17)")
    add("--num_parity_images", type=natural_int, default=20, metavar="N", help="images to compare on; 0 for one of noise (default: 20)")
    add("--config_override", default="", metavar="TEXT", help="text of a pipeline.config merged over the file")
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
