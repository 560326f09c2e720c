"""The files that input readers name: patterns that match nothing, shards that are missing. No TensorFlow."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from object_detection_ext.config import UNCONFIGURED, Config
from object_detection_ext.data.record_index import expand_paths
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Check, Finding, Severity
from object_detection_ext.protos import input_reader_pb2

NO_RECORD_FILES = Check(
    "no_record_files",
    Severity.ERROR,
    "an input_path that matches no file, or fewer shards than its name says",
    "correct the path; relative paths count from the folder in which the command runs",
)
NO_READER = Check(
    "no_input_reader",
    Severity.ERROR,
    "a config without train_input_reader, or a reader without tf_record_input_reader",
    "add train_input_reader { tf_record_input_reader { input_path: '...' } label_map_path: '...' }",
)
CHECKS = (NO_RECORD_FILES, NO_READER)

_MOST_NAMES = 5


class ReaderFiles(NamedTuple):
    """What an input reader names."""

    name: str  # "train" or "eval"
    field: str  # its path in the config
    paths: tuple[str, ...]  # record files; empty where they cannot be found
    label_map_path: str  # "" without one, or where it is still to be filled in


def reader_files(config: Config, *, trains: bool = True, evaluates: bool = True) -> Iterator[ReaderFiles | Finding]:
    """Yields the readers that training and evaluation use, and what is wrong with their files."""
    proto = config.proto
    if trains and proto.HasField("train_input_reader"):
        yield from _files("train", "train_input_reader", proto.train_input_reader, config)
    elif trains:
        yield NO_READER(config.path, "train_input_reader is not set")
    if evaluates and proto.eval_input_reader:
        yield from _files("eval", "eval_input_reader[0]", proto.eval_input_reader[0], config)


def nearest_files(pattern: str) -> str:
    """In words, the files that come nearest to a path or pattern that matches nothing."""
    path = Path(pattern)
    folder = path.parent
    while not folder.is_dir():
        path, folder = folder, folder.parent
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir() if not entry.name.startswith("."))
    if not names:
        return f"the folder {folder} is empty"
    near = difflib.get_close_matches(path.name, names, n=_MOST_NAMES, cutoff=0.5)
    if not near:
        return f"{folder} holds {', '.join(names[:_MOST_NAMES])}" + (", ..." if len(names) > _MOST_NAMES else "")
    return f"the nearest in {folder}: {', '.join(near)}"


def _files(name: str, field: str, reader: input_reader_pb2.InputReader, config: Config) -> Iterator[ReaderFiles | Finding]:
    path_field = f"{field}.tf_record_input_reader.input_path"
    label_map_path = reader.label_map_path if UNCONFIGURED not in reader.label_map_path else ""
    paths: tuple[str, ...] = ()
    if reader.WhichOneof("input_reader") != "tf_record_input_reader":
        yield NO_READER(config.where(field), f"{field} has no tf_record_input_reader")
    elif not any(UNCONFIGURED in text for text in reader.tf_record_input_reader.input_path):
        try:
            paths = expand_paths(reader.tf_record_input_reader.input_path, where=path_field)
        except InputError as error:
            yield NO_RECORD_FILES(config.where(f"{path_field}[0]"), str(error), advice=_advice(reader.tf_record_input_reader.input_path))
    yield ReaderFiles(name, field, paths, label_map_path)


def _advice(patterns: Sequence[str]) -> str:
    pattern = next((pattern for pattern in patterns if not glob.glob(pattern)), patterns[0] if patterns else "")
    return f"{NO_RECORD_FILES.advice}; {nearest_files(pattern)}" if pattern else NO_RECORD_FILES.advice
