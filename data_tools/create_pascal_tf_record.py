"""Pascal VOC into one record file: the script of the TF Object Detection API with its flags.

`python -m data_tools.create_pascal_tf_record --data_dir=VOCdevkit --year=VOC2012 --set=train --output_path=pascal_train.record`
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, ReadOptions, Source
from data_tools.api_script import FilteringReader, define_num_workers, existing_path, parse, run_script, write_records
from data_tools.formats.voc import read_voc
from object_detection_ext.errors import InputError

USAGE = """Writes a set of Pascal VOC into one record file.

The images of DATA_DIR/YEAR/ImageSets/Main/aeroplane_SET.txt are taken or, where there is no such file, those of SET.txt; they lie in
DATA_DIR/YEAR/JPEGImages, whatever the XML files call their folder."""

_SETS = ["train", "val", "trainval", "test"]
_YEARS = {"VOC2007": ["VOC2007"], "VOC2012": ["VOC2012"], "merged": ["VOC2007", "VOC2012"]}


@dataclass(frozen=True)
class YearsReader:
    """The readers of several years; an entry is the place of its reader, and the entry of that."""

    readers: tuple[Callable[[Path], AnnotatedImage], ...]

    def __call__(self, entry: tuple[int, Path]) -> AnnotatedImage:
        year, path = entry
        return self.readers[year](path)


def define_flags() -> flags.FlagValues:
    """The API's flags with its defaults, then our own."""
    values = flags.FlagValues()
    flags.DEFINE_string("data_dir", "", "Folder of the years, VOCdevkit.", flag_values=values)
    flags.DEFINE_enum("set", "train", _SETS, "Which set to convert.", flag_values=values)
    flags.DEFINE_string("annotations_dir", "Annotations", "Folder of XML files, below that of the year.", flag_values=values)
    flags.DEFINE_enum("year", "VOC2007", list(_YEARS), "Which year; merged takes both.", flag_values=values)
    flags.DEFINE_string("output_path", "", "The record file.", flag_values=values)
    flags.DEFINE_string("label_map_path", "data/pascal_label_map.pbtxt", "Label map.", flag_values=values)
    flags.DEFINE_boolean("ignore_difficult_instances", False, "Leave out objects marked as difficult.", flag_values=values)
    define_num_workers(values)
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    values = define_flags()
    parse(values, argv, USAGE, required=["data_dir", "output_path"])
    data_dir, label_map = existing_path(values, "data_dir"), existing_path(values, "label_map_path")
    sources = [_read_year(data_dir / year, values["set"].value, values.annotations_dir) for year in _YEARS[values.year]]
    source = sources[0] if len(sources) == 1 else _join(sources)
    if values.ignore_difficult_instances:
        source = dataclasses.replace(source, load=FilteringReader(source.load, keeps=_is_easy))
    write_records(source, Path(values.output_path), values, label_map=label_map)
    return 0


def _read_year(folder: Path, set_name: str, annotations: str) -> Source:
    lists = folder / "ImageSets" / "Main"
    candidates = [lists / f"aeroplane_{set_name}.txt", lists / f"{set_name}.txt"]
    split_file = next((path for path in candidates if path.is_file()), None)
    if split_file is None:
        raise InputError(f"neither {candidates[0].name} nor {candidates[1].name} in {lists}")
    return read_voc(ReadOptions(folder / "JPEGImages", folder / annotations, split_file))


def _join(sources: Sequence[Source]) -> Source:
    entries = [(year, entry) for year, source in enumerate(sources) for entry in source.entries]
    return dataclasses.replace(sources[0], entries=entries, load=YearsReader(tuple(source.load for source in sources)))


def _is_easy(item: AnnotatedObject) -> bool:
    return not item.is_difficult


if __name__ == "__main__":
    sys.exit(run_script(main))
