"""COCO into records: the script of the TF Object Detection API with its flags.

`python -m data_tools.create_coco_tf_record --train_image_dir=train2017 --train_annotations_file=instances_train2017.json --output_dir=out`
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from data_tools.annotated_image import ReadOptions, Source
from data_tools.api_script import define_num_workers, existing_path, parse, run_script, write_records
from data_tools.formats.coco import CocoEntry, read_coco
from data_tools.formats.coco_file import unpack
from data_tools.formats.coco_keypoint_file import add_keypoints
from data_tools.selection import Selection
from object_detection_ext.flag_parsing import usage_error

USAGE = """Writes coco_train.record (100 shards), coco_val.record (50) and coco_testdev.record (50), those whose image folder and
annotation file are given, each with a label map of its categories beside it.

The annotation file of the test set may be without annotations, as image_info_test-dev2017.json is."""

_PERSON = "person"


class Part(NamedTuple):
    """One set, and the flags that it is given by."""

    name: str
    images: str
    num_shards: int

    @property
    def annotations(self) -> str:
        """Flag of the annotation file."""
        return f"{self.name}_annotations_file"

    @property
    def keypoints(self) -> str:
        """Flag of the keypoint file; the test set has none."""
        return f"{self.name}_keypoint_annotations_file"


_TRAIN, _VAL, _TEST = Part("train", "train_image_dir", 100), Part("val", "val_image_dir", 50), Part("testdev", "test_image_dir", 50)
_PARTS = (_TRAIN, _VAL, _TEST)  # keypoints and the choice of persons are for the first two only


def define_flags() -> flags.FlagValues:
    """The API's flags with its defaults, then our own."""
    values = flags.FlagValues()
    flags.DEFINE_boolean("include_masks", False, "Write masks.", flag_values=values)
    for part in _PARTS:
        flags.DEFINE_string(part.images, "", f"Images of the {part.name} set.", flag_values=values)
        flags.DEFINE_string(part.annotations, "", f"Annotations of the {part.name} set, a JSON file.", flag_values=values)
    for part in (_TRAIN, _VAL):
        flags.DEFINE_string(part.keypoints, "", f"Keypoints of the {part.name} set, a JSON file.", flag_values=values)
        flags.DEFINE_string(f"{part.name}_densepose_annotations_file", "", "Not supported.", flag_values=values)
    flags.DEFINE_string("output_dir", "/tmp/", "Folder for the records.", flag_values=values)
    flags.DEFINE_boolean("remove_non_person_annotations", False, "Leave out all objects but persons.", flag_values=values)
    flags.DEFINE_boolean("remove_non_person_images", False, "Leave out images without a person.", flag_values=values)
    define_num_workers(values)
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    values = define_flags()
    parse(values, argv, USAGE, required=["output_dir"])
    for part in list(_chosen_parts(values)):
        output = Path(values.output_dir) / f"coco_{part.name}.record"
        only_persons = values.remove_non_person_annotations and part is not _TEST
        selection = Selection(classes=(_PERSON,)) if only_persons else Selection()
        write_records(_read(part, values), output, values, num_shards=part.num_shards, label_map=None, selection=selection)
    return 0


def _chosen_parts(values: flags.FlagValues) -> Iterator[Part]:
    for part in (_TRAIN, _VAL):
        if values[f"{part.name}_densepose_annotations_file"].value:
            usage_error(f"--{part.name}_densepose_annotations_file: DensePose is not supported")
    for part in _PARTS:
        given = [flag for flag in (part.images, part.annotations) if values[flag].value]
        if len(given) == 1:
            usage_error(f"--{part.images} and --{part.annotations} belong together, got --{given[0]} only")
        if given:
            yield part
        elif part.keypoints in values and values[part.keypoints].value:
            usage_error(f"--{part.keypoints} needs --{part.images} and --{part.annotations}")
    if not any(values[part.images].value for part in _PARTS):
        usage_error(f"required: --{_TRAIN.images} and --{_TRAIN.annotations}, or those of another set")


def _read(part: Part, values: flags.FlagValues) -> Source:
    images, annotations = existing_path(values, part.images), existing_path(values, part.annotations)
    options = ReadOptions(images, annotations, include_masks=values.include_masks)
    source = read_coco(options, needs_annotations=part is not _TEST)
    if values.remove_non_person_images and part is not _TEST:
        person = (source.class_ids or {}).get(_PERSON)
        entries = [entry for entry in source.entries if _shows(entry, person)]
        source = dataclasses.replace(source, entries=entries)
    if part.keypoints in values and values[part.keypoints].value:
        source = add_keypoints(source, annotations, ReadOptions(images, existing_path(values, part.keypoints)))
    return source


def _shows(entry: CocoEntry, category_id: int | None) -> bool:
    """Whether the image has an object of the category with a box that will be written."""
    height, width = entry.image.size or (float("inf"), float("inf"))
    return any(
        item.category_id == category_id
        and item.width > 0
        and item.height > 0
        and item.x >= 0
        and item.y >= 0
        and item.x + item.width <= width
        and item.y + item.height <= height
        for item in unpack(entry.annotations)
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
