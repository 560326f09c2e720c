"""KITTI into records: the script of the TF Object Detection API with its flags.

`python -m data_tools.create_kitti_tf_record --data_dir=kitti --output_path=records/kitti --label_map_path=kitti_label_map.pbtxt`
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from data_tools.annotated_image import ReadOptions
from data_tools.api_script import define_num_workers, existing_path, parse, run_script, write_records
from data_tools.formats.kitti import DONT_CARE, KittiEntry, KittiReader, read_kitti
from object_detection_ext.errors import InputError
from object_detection_ext.flag_parsing import usage_error

USAGE = """Writes OUTPUT_PATH_val.tfrecord, the images with numbers below --validation_set_size, and OUTPUT_PATH_train.tfrecord, the others.

Images are looked for in DATA_DIR/data_object_image_2/training/image_2 and DATA_DIR/training/image_2, label files in
DATA_DIR/training/label_2 and DATA_DIR/data_object_label_2/training/label_2: however the two archives were unpacked."""

_IMAGES = ("data_object_image_2/training/image_2", "training/image_2")
_LABELS = ("training/label_2", "data_object_label_2/training/label_2")


def define_flags() -> flags.FlagValues:
    """The API's flags with its defaults, then our own."""
    values = flags.FlagValues()
    flags.DEFINE_string("data_dir", "", "Folder of the data set.", flag_values=values)
    flags.DEFINE_string("output_path", "", "Start of the names of the two record files.", flag_values=values)
    flags.DEFINE_string(
        "classes_to_use",
        "car,pedestrian,dontcare",
        "Classes to take, with commas between; dontcare leaves out the objects that overlap a region which was not annotated.",
        flag_values=values,
    )
    flags.DEFINE_string("label_map_path", "data/kitti_label_map.pbtxt", "Label map.", flag_values=values)
    flags.DEFINE_integer("validation_set_size", 500, "Images of the validation set.", lower_bound=0, flag_values=values)
    define_num_workers(values)
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    values = define_flags()
    parse(values, argv, USAGE, required=["data_dir", "output_path"])
    classes = frozenset(name.strip().lower() for name in values.classes_to_use.split(","))
    if not classes - {DONT_CARE, ""}:
        usage_error(f"--classes_to_use must name a class besides {DONT_CARE}, got {values.classes_to_use!r}")
    data_dir, label_map = existing_path(values, "data_dir"), existing_path(values, "label_map_path")
    images, labels = _find(data_dir, _IMAGES), _find(data_dir, _LABELS)
    source = read_kitti(ReadOptions(images, labels))
    reader = KittiReader(images.resolve(), labels.resolve(), classes - {DONT_CARE}, clears_dont_care=DONT_CARE in classes)
    numbers = {entry: _number(entry) for entry in source.entries}
    for part in ("train", "val"):
        entries = [entry for entry, number in numbers.items() if (number < values.validation_set_size) == (part == "val")]
        output = Path(f"{values.output_path}_{part}.tfrecord")
        write_records(dataclasses.replace(source, entries=entries, load=reader), output, values, label_map=label_map)
        source = dataclasses.replace(source, notes=())  # said once
    return 0


def _find(data_dir: Path, places: Sequence[str]) -> Path:
    for place in places:
        if (data_dir / place).is_dir():
            return data_dir / place
    raise InputError(f"--data_dir {data_dir} has neither {places[0]} nor {places[1]}")


def _number(entry: KittiEntry) -> int:
    stem = entry.image.partition(".")[0]
    if not stem.isdecimal():
        raise InputError(f"the image {entry.image!r} is not named by a number, as KITTI's are, so that it belongs to neither set")
    return int(stem)


if __name__ == "__main__":
    sys.exit(run_script(main))
