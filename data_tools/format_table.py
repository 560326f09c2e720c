"""The annotation formats that the commands offer, by the name given to `--format`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from data_tools.annotated_image import Format

# What --annotations is for each format.
ANNOTATIONS_HELP = {
    "coco": "instances JSON",
    "csv": "CSV file",
    "cvat": "annotations.xml (CVAT for images 1.1)",
    "kitti": "folder of label files (label_2)",
    "labelme": "folder of JSON files",
    "open_images": "CSV of boxes",
    "pets": "folder with xmls and trimaps",
    "tfrecord": "label map of the records that --images names; without it their class texts and labels count",
    "voc": "folder of XML files",
    "yolo": "data.yaml, obj.data, or a file of class names",
}

# Modules in data_tools.formats whose `FORMAT` it is, where they are not called as the format is.
_MODULES = {"csv": "csv_table"}


class _Formats(Mapping[str, Format]):
    """Loads a format's reader, with the libraries that it needs, when it is asked for: `--help` and most runs need none or one."""

    def __getitem__(self, name: str) -> Format:
        if name not in ANNOTATIONS_HELP:
            raise KeyError(name)
        return importlib.import_module(f"data_tools.formats.{_MODULES.get(name, name)}").FORMAT

    def __iter__(self) -> Iterator[str]:
        return iter(ANNOTATIONS_HELP)

    def __len__(self) -> int:
        return len(ANNOTATIONS_HELP)


FORMATS: Mapping[str, Format] = _Formats()
