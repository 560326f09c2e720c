"""Oxford-IIIT Pets into records: the script of the TF Object Detection API with its flags.

`python -m data_tools.create_pet_tf_record --data_dir=pets --output_dir=records --label_map_path=pet_label_map.pbtxt`
"""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from data_tools.annotated_image import ReadOptions
from data_tools.api_script import define_num_workers, existing_path, parse, run_script, write_records
from data_tools.formats.pets import read_pets
from data_tools.split_file import read_split_file
from object_detection_ext.flag_parsing import usage_error

USAGE = """Writes 70 % of the annotated pets as training records and the others as validation records, the API's draw.

DATA_DIR holds images and annotations (trainval.txt, xmls and, for whole bodies, trimaps). Names: pet_faces_train.record and
pet_faces_val.record or, with --nofaces_only, pets_fullbody_with_masks_train.record and pets_fullbody_with_masks_val.record."""

_SEED, _TRAIN_SHARE = 42, 0.7  # the API's


def define_flags() -> flags.FlagValues:
    """The API's flags with its defaults, then our own."""
    values = flags.FlagValues()
    flags.DEFINE_string("data_dir", "", "Folder of the data set.", flag_values=values)
    flags.DEFINE_string("output_dir", "", "Folder for the records.", flag_values=values)
    flags.DEFINE_string("label_map_path", "data/pet_label_map.pbtxt", "Label map.", flag_values=values)
    flags.DEFINE_boolean("faces_only", True, "Boxes of faces; else boxes and masks of whole bodies.", flag_values=values)
    flags.DEFINE_string("mask_type", "png", "How masks are written; only png is.", flag_values=values)
    flags.DEFINE_integer("num_shards", 10, "Shards of each set.", lower_bound=1, flag_values=values)
    define_num_workers(values)
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    values = define_flags()
    parse(values, argv, USAGE, required=["data_dir", "output_dir"])
    if values.mask_type != "png":
        usage_error(f"--mask_type must be png, got {values.mask_type!r}: numerical masks are not written")
    data_dir, label_map = existing_path(values, "data_dir"), existing_path(values, "label_map_path")
    annotations = data_dir / "annotations"
    listed = annotations / "trainval.txt"
    options = ReadOptions(data_dir / "images", annotations, split_file=listed, include_masks=not values.faces_only)
    source = read_pets(options)
    by_stem = {path.stem: path for path in source.entries}
    stems = [line.split()[0] for _, line in read_split_file(listed)]
    random.Random(_SEED).shuffle(stems)
    num_train = int(_TRAIN_SHARE * len(stems))
    prefix = "pet_faces" if values.faces_only else "pets_fullbody_with_masks"
    for part, chosen in (("train", stems[:num_train]), ("val", stems[num_train:])):
        entries = [by_stem[stem] for stem in chosen if stem in by_stem]
        output = Path(values.output_dir) / f"{prefix}_{part}.record"
        write_records(dataclasses.replace(source, entries=entries), output, values, num_shards=values.num_shards, label_map=label_map)
        source = dataclasses.replace(source, notes=())  # said once
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
