"""Open Images into records: the script of the TF Object Detection API with its flags.

`python -m data_tools.create_oid_tf_record --input_box_annotations_csv=boxes.csv --input_images_directory=images --input_label_map=oid.pbtxt
--output_tf_record_path_prefix=records/oid`
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from data_tools.annotated_image import AnnotatedObject, ReadOptions
from data_tools.api_script import FilteringReader, define_num_workers, existing_path, parse, run_script, write_records
from data_tools.formats.open_images import read_open_images
from object_detection_ext.data.label_map import load_label_map

USAGE = """Writes every image of a folder with its boxes and image-level labels of Open Images.

Classes that the label map does not name are left out. The rows of images that are not in the folder are left out, and counted."""


@dataclass(frozen=True)
class HasClass:
    """Whether an object is of one of the classes."""

    class_texts: Collection[str]

    def __call__(self, item: AnnotatedObject) -> bool:
        return item.class_text in self.class_texts


def define_flags() -> flags.FlagValues:
    """The API's flags with its defaults, then our own."""
    values = flags.FlagValues()
    flags.DEFINE_string("input_box_annotations_csv", None, "CSV of boxes.", flag_values=values)
    flags.DEFINE_string("input_images_directory", None, "Folder of images.", flag_values=values)
    flags.DEFINE_string("input_image_label_annotations_csv", None, "CSV of image-level labels.", flag_values=values)
    flags.DEFINE_string("input_label_map", None, "Label map; its names are Open Images' codes.", flag_values=values)
    flags.DEFINE_string("output_tf_record_path_prefix", None, "Start of the shards' names.", flag_values=values)
    flags.DEFINE_integer("num_shards", 100, "Shards.", lower_bound=1, flag_values=values)
    define_num_workers(values)
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    values = define_flags()
    required = ["input_box_annotations_csv", "input_images_directory", "input_label_map", "output_tf_record_path_prefix"]
    parse(values, argv, USAGE, required=required)
    label_map = existing_path(values, "input_label_map")
    labels = existing_path(values, "input_image_label_annotations_csv") if values.input_image_label_annotations_csv else None
    images, boxes = existing_path(values, "input_images_directory"), existing_path(values, "input_box_annotations_csv")
    source = read_open_images(ReadOptions(images, boxes, image_labels=labels))
    class_texts = frozenset(item.name for item in load_label_map(label_map).items)
    reader = FilteringReader(source.load, keeps=HasClass(class_texts), label_texts=class_texts)
    output = Path(values.output_tf_record_path_prefix)
    write_records(dataclasses.replace(source, load=reader), output, values, num_shards=values.num_shards, label_map=label_map)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
