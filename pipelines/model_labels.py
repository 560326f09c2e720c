"""Which class names belong to a model: given, inside the file, beside it, or named by its pipeline.config. No TensorFlow."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from export.input_metadata import read_input_metadata
from object_detection_ext.errors import InputError

_FILES = ("label_map.pbtxt", "labels.txt", "labelmap.txt")
_MAX_LABELS_SIZE = 1 << 20  # of a file inside a model, unpacked


def find_names(model: Path, *, config: Path | None = None, label_map: Path | None = None) -> Mapping[int, str]:
    """Label id to name; empty where nothing is found.

    Looked for in this order: `label_map`; the labels inside a `.tflite`; `label_map.pbtxt`, `labels.txt` or `labelmap.txt` beside the
    model or in its folder; the label map that the pipeline.config names.

    Raises:
        InputError: `label_map` does not exist, or a file found is not a label map.
    """
    if label_map is not None:
        if not label_map.is_file():
            raise InputError(f"label map {label_map} does not exist")
        return read_names(label_map)
    if model.is_file() and zipfile.is_zipfile(model):
        names = _names_inside(model)
        if names:
            return names
    folders = [model, model.parent] if model.is_dir() else [model.parent]
    for path in (folder / name for folder in folders for name in _FILES):
        if path.is_file():
            return read_names(path)
    path = _label_map_of(config) if config is not None else None
    return read_names(path) if path is not None else {}


def read_names(path: Path) -> Mapping[int, str]:
    """The names of a label map (text format), or of a `.txt` with one name a line, the first for id 1."""
    if path.suffix == ".txt":
        return _names_of_lines(path.read_text(encoding="utf-8").splitlines())
    from object_detection_ext.data.label_map import load_label_map

    labels = load_label_map(path, use_display_name=True)
    return {item.id: labels.name_of(item.id) for item in labels.items}


def _names_inside(model: Path) -> Mapping[int, str]:
    """The names in the file that the metadata calls the labels, else in the first text file of the appended zip."""
    metadata = read_input_metadata(model.read_bytes(), model)
    named = metadata.labels_file if metadata is not None else ""
    try:
        with zipfile.ZipFile(model) as archive:
            files = sorted(name for name in archive.namelist() if name == named or name.endswith(".txt"))
            if not files:
                return {}
            file = named if named in files else files[0]
            with archive.open(file) as stream:
                content = stream.read(_MAX_LABELS_SIZE + 1)
        if len(content) > _MAX_LABELS_SIZE:
            raise InputError(f"{model}: its labels ({file!r}) are more than {_MAX_LABELS_SIZE >> 20} MiB")
        return _names_of_lines(content.decode("utf-8").splitlines())
    except (zipfile.BadZipFile, zlib.error, UnicodeDecodeError, NotImplementedError, EOFError, RuntimeError) as error:
        raise InputError(f"{model}: the labels in it cannot be read: {error}") from error


def _names_of_lines(lines: Iterable[str]) -> Mapping[int, str]:
    """`???` marks an id without a class; old files (labelmap.txt of 2018) have it in the first line, for the background."""
    names = [line.strip() for line in lines]
    if names and names[0] == "???":
        del names[0]
    return {class_id: name for class_id, name in enumerate(names, start=1) if name and name != "???"}


def _label_map_of(config_path: Path) -> Path | None:
    """The label map of the evaluation or training reader, relative to the working directory or to the config."""
    from object_detection_ext.config import load_config

    proto = load_config(config_path).proto
    readers = [*proto.eval_input_reader, proto.train_input_reader]
    for name in (reader.label_map_path for reader in readers if reader.label_map_path):
        for path in (Path(name), config_path.parent / name):
            if path.is_file():
                return path
    return None
