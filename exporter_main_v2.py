"""Exports a trained detector as SavedModel: the API's command with the API's flags."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from object_detection_ext.command_line import run
from object_detection_ext.errors import InputError
from object_detection_ext.flag_parsing import parse_flags, usage_error

USAGE = """Exports a trained detector as SavedModel.

Writes checkpoint/, saved_model/ and pipeline.config to --output_directory, then runs the SavedModel on images of the config's records
and prints how far its detections are from the checkpoint's."""

INPUT_TYPES = ("image_tensor", "float_image_tensor", "encoded_image_string_tensor", "tf_example")
_SIDE_INPUTS = ("use_side_inputs", "side_input_shapes", "side_input_types", "side_input_names")


def define_flags() -> flags.FlagValues:
    """The API's flags with its defaults, then our own."""
    values = flags.FlagValues()
    string = flags.DEFINE_string
    string("input_type", "image_tensor", f"What the SavedModel takes: {', '.join(INPUT_TYPES)}.", flag_values=values)
    string("pipeline_config_path", None, "The pipeline.config the detector was trained with.", flag_values=values)
    string("trained_checkpoint_dir", None, "Folder of checkpoints (the newest counts), or one checkpoint's prefix.", flag_values=values)
    string("output_directory", None, "Folder to write.", flag_values=values)
    string("config_override", "", "Text of a pipeline.config merged over the file.", flag_values=values)
    flags.DEFINE_boolean("use_side_inputs", False, "Not supported: for Context R-CNN.", flag_values=values)
    string("side_input_shapes", "", "Not supported: for Context R-CNN.", flag_values=values)
    string("side_input_types", "", "Not supported: for Context R-CNN.", flag_values=values)
    string("side_input_names", "", "Not supported: for Context R-CNN.", flag_values=values)
    flags.DEFINE_integer("num_parity_images", 50, "Images to compare on; 0 compares nothing.", lower_bound=0, flag_values=values)
    flags.mark_flags_as_required(["pipeline_config_path", "trained_checkpoint_dir", "output_directory"], flag_values=values)
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    values = define_flags()
    rest = parse_flags(values, argv, USAGE)
    _check(values, rest)
    from export.quiet import quiet_tensorflow

    quiet_tensorflow()
    from export.model import load_trained_model  # TensorFlow takes seconds; flags must not wait for it
    from export.saved_model import compare_saved_model, export_saved_model

    model = load_trained_model(values.pipeline_config_path, values.trained_checkpoint_dir, config_override=values.config_override)
    export_saved_model(model, values.output_directory, input_type=values.input_type)
    print(f"exported {model.checkpoint} to {values.output_directory}")
    if values.num_parity_images:
        try:
            print(compare_saved_model(model, values.output_directory, input_type=values.input_type, num_images=values.num_parity_images))
        except InputError as error:  # the export itself needs no records
            print(f"not compared with the checkpoint: {error}", file=sys.stderr)
    return 0


def _check(values: flags.FlagValues, rest: Sequence[str]) -> None:
    if rest:
        usage_error(f"unexpected argument {rest[0]!r}")
    if values.input_type == "image_and_boxes_tensor":
        usage_error("--input_type=image_and_boxes_tensor is for models that predict masks of given boxes; an SSD detector has none")
    if values.input_type not in INPUT_TYPES:
        usage_error(f"--input_type must be one of {', '.join(INPUT_TYPES)}, got {values.input_type!r}")
    for name in _SIDE_INPUTS:
        if values[name].value:
            usage_error(f"--{name} is for Context R-CNN; an SSD detector takes the image alone")


if __name__ == "__main__":
    sys.exit(run(main))
