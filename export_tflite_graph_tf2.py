"""Exports a trained detector as a SavedModel for the TFLite converter: the API's command with the API's flags."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from object_detection_ext.command_line import run
from object_detection_ext.flag_parsing import parse_flags, usage_error

USAGE = """Exports a trained detector as a SavedModel that the TFLite converter turns into a .tflite.

Writes saved_model/ to --output_directory, with the fused TFLite_Detection_PostProcess at the end, as the API does. `python -m
export.tflite` goes all the way to .tflite files, calibrates int8 and compares the results with the checkpoint."""

COST_OF_FAST_NMS = """Fast NMS looks only at the best class of each anchor, and boxes of different classes suppress each other.
With 10 detections it has halved mAP: 0.057 against 0.102 with regular NMS and 100 detections, same model, same images.
To switch: --ssd_use_regular_nms=true --max_detections=100"""


def define_flags() -> flags.FlagValues:
    """The API's flags with its defaults."""
    values = flags.FlagValues()
    string = flags.DEFINE_string
    string("pipeline_config_path", None, "The pipeline.config the detector was trained with.", flag_values=values)
    string("trained_checkpoint_dir", None, "Folder of checkpoints (the newest counts), or one checkpoint's prefix.", flag_values=values)
    string("output_directory", None, "Folder to write.", flag_values=values)
    string("config_override", "", "Text of a pipeline.config merged over the file.", flag_values=values)
    flags.DEFINE_integer("max_detections", 10, "Detections that the model returns.", lower_bound=1, flag_values=values)
    flags.DEFINE_boolean(
        "ssd_use_regular_nms", False, "Suppress within each class, as evaluation does, instead of fast NMS.", flag_values=values
    )
    flags.DEFINE_boolean("centernet_include_keypoints", False, "Not supported: for CenterNet.", flag_values=values)
    string("keypoint_label_map_path", None, "Not supported: for CenterNet.", flag_values=values)
    flags.mark_flags_as_required(["pipeline_config_path", "trained_checkpoint_dir", "output_directory"], flag_values=values)
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    values = define_flags()
    rest = parse_flags(values, argv, USAGE)
    if rest:
        usage_error(f"unexpected argument {rest[0]!r}")
    for name in ("centernet_include_keypoints", "keypoint_label_map_path"):
        if values[name].value:
            usage_error(f"--{name} is for CenterNet; this project exports SSD detectors")
    from export.quiet import quiet_tensorflow

    quiet_tensorflow()
    from export.model import load_trained_model  # TensorFlow takes seconds; flags must not wait for it
    from export.saved_model import export_tflite_saved_model

    model = load_trained_model(values.pipeline_config_path, values.trained_checkpoint_dir, config_override=values.config_override)
    export_tflite_saved_model(
        model, values.output_directory, max_detections=values.max_detections, use_regular_nms=values.ssd_use_regular_nms
    )
    print(f"exported {model.checkpoint} to {values.output_directory}")
    if not values.ssd_use_regular_nms:
        print(COST_OF_FAST_NMS)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
