"""What kind of stored weights a path means, from its name and the files there. No TensorFlow: a wrong path is told at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from object_detection_ext.errors import InputError

Kind = Literal["checkpoint", "saved_model", "frozen_graph", "keras", "torch", "imagenet"]

IMAGENET = "imagenet"
ACCEPTED = (
    "a checkpoint's prefix such as model_dir/ckpt-1200, a folder of checkpoints, a SavedModel folder, the output folder of an exporter, "
    "a frozen graph (.pb), Keras weights (.h5), torchvision weights (.pth, .pt) or imagenet"
)

_STATE = "checkpoint"  # the file in which TensorFlow notes the newest checkpoint of a folder; in exported models, a folder of one
_PIECE = re.compile(r"\.(?:index|meta|data-\d{5}-of-\d{5})$")
_NEWEST = re.compile(r'^model_checkpoint_path: "(.*)"$', re.MULTILINE)
_HDF5 = b"\x89HDF\r\n\x1a\n"  # an HDF5 file's first bytes
_SUFFIXES: dict[str, Kind] = {
    ".pb": "frozen_graph",
    ".h5": "keras",
    ".hdf5": "keras",
    ".keras": "keras",
    ".pth": "torch",
    ".pt": "torch",
}


class Location(NamedTuple):
    """Weights that were found: of a checkpoint the prefix, of a SavedModel the folder."""

    kind: Kind
    path: str


def locate_weights(path: str | Path) -> Location:
    """Finds the weights that `path` means.

    Raises:
        InputError: there is no such path, or nothing there that can be read; says what was found and what is accepted.
    """
    text = str(path)
    if text == IMAGENET:
        return Location("imagenet", IMAGENET)
    path = Path(text)
    if path.is_dir():
        return _in_folder(path)
    prefix = checkpoint_prefix(text)
    if _is_checkpoint(prefix):
        return Location("checkpoint", prefix)
    if not path.is_file():
        raise InputError(f"no checkpoint at {text}, there is no such file or folder; expected {ACCEPTED}")
    if path.name == "saved_model.pb":
        return Location("saved_model", str(path.parent))
    if path.name == _STATE:
        return _in_folder(path.parent)
    if path.suffix in _SUFFIXES:
        return Location(_SUFFIXES[path.suffix], text)
    if ".ckpt" in path.name:  # the single file of TF 1's first format
        return Location("checkpoint", text)
    with path.open("rb") as file:
        if file.read(len(_HDF5)) == _HDF5:  # Keras took any suffix
            return Location("keras", text)
    raise InputError(f"{text} is of no kind that can be read; expected {ACCEPTED}")


def checkpoint_prefix(path: str | Path) -> str:
    """The prefix of a checkpoint from one of its files: without `.index`, `.meta` or `.data-00000-of-00001`."""
    return _PIECE.sub("", str(path))


def newest_checkpoint(folder: Path) -> str | None:
    """Prefix of the newest checkpoint of a folder (`.../ckpt-1200`), as the file `checkpoint` in it says.

    Raises:
        InputError: the checkpoint that it names is not there.
    """
    state = folder / _STATE
    if not state.is_file():
        return None
    match = _NEWEST.search(state.read_text(encoding="utf-8", errors="replace"))
    if match is None:
        return None
    named = folder / match[1]  # an absolute path stays what it is
    beside = folder / named.name  # where the folder was moved since
    prefix = next((str(prefix) for prefix in (named, beside) if _is_checkpoint(str(prefix))), None)
    if prefix is None:
        raise InputError(f"{state} names {named}, which does not exist")
    return prefix


def _in_folder(folder: Path) -> Location:
    newest = newest_checkpoint(folder)
    if newest is not None:
        return Location("checkpoint", newest)
    if (folder / "saved_model.pb").is_file():
        return Location("saved_model", str(folder))
    prefixes = [str(index.with_suffix("")) for index in sorted(folder.glob("*.index"))]
    if len(prefixes) == 1:
        return Location("checkpoint", prefixes[0])
    if prefixes:
        raise InputError(
            f"folder {folder} holds {len(prefixes)} checkpoints and does not say which is the newest; give one of {_few(prefixes)}"
        )
    if (folder / _STATE).is_dir():
        return _in_folder(folder / _STATE)
    if (folder / "saved_model" / "saved_model.pb").is_file():
        return Location("saved_model", str(folder / "saved_model"))
    files = [file for file in sorted(folder.iterdir()) if file.suffix in _SUFFIXES]
    if len(files) == 1:
        return Location(_SUFFIXES[files[0].suffix], str(files[0]))
    found = _few([entry.name + ("/" if entry.is_dir() else "") for entry in sorted(folder.iterdir())])
    raise InputError(f"no checkpoint in {folder}, it holds {found or 'nothing'}; expected {ACCEPTED}")


def _is_checkpoint(prefix: str) -> bool:
    return Path(f"{prefix}.index").is_file()


def _few(names: list[str], limit: int = 6) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
