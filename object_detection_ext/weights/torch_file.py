"""PyTorch's `.pth` files without PyTorch: a dict of tensors, and nothing else.

A `.pth` is a pickle, and a pickle can call anything. This reader lets it make ordered dicts, tensors and parameters; whatever else it
asks for is refused by name. Both layouts are read: the zip of PyTorch 1.6 and later, and the row of pickles before it, in which
torchvision first published its MobileNetV2.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from object_detection_ext.errors import InputError
from object_detection_ext.weights.source import WeightSource

# torch/serialization.py
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "<b1",
}
# Under these names a checkpoint of training keeps its network.
_NETWORKS = ("state_dict", "model_state_dict", "model")
# What zipfile and pickle raise on bytes that are none of theirs.
_DAMAGED = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, ArithmeticError, AttributeError, LookupError),
    *(MemoryError, RuntimeError, TypeError, ValueError),
)


class _Refused(Exception):
    """The file is sound, but not what this reader reads. The message goes behind the file's name."""


class _Storage(NamedTuple):
    """A row of numbers in the file."""

    key: str
    dtype: str
    size: int


class _Tensor(NamedTuple):
    """A view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def open_torch_file(path: str | Path) -> WeightSource:
    """Opens a state dict, or a checkpoint of training that has one under `state_dict`, `model_state_dict` or `model`.

    Names lose the `module.` of `DataParallel`; scalars (`num_batches_tracked`) are left out.

    Raises:
        InputError: no such file, it is damaged, or it is more than tensors: a whole pickled model, TorchScript, quantised weights.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"PyTorch weights {path} do not exist")
    try:
        with path.open("rb") as file:
            values = dict(_read_zip(file) if zipfile.is_zipfile(file) else _read_row_of_pickles(file))
    except _Refused as error:
        raise InputError(f"{path} {error}") from error
    except _DAMAGED as error:
        raise InputError(f"{path} is not a file of PyTorch weights, or damaged ({type(error).__name__}: {error})") from error
    weights = {name.removeprefix("module."): value for name, value in values.items() if value.ndim}
    if not weights:
        raise InputError(f"{path} holds no tensors by name; save the state dict: torch.save(model.state_dict(), 'weights.pth')")
    return WeightSource(
        path=str(path),
        kind="PyTorch weights",
        scheme="torchvision",
        shapes={name: value.shape for name, value in weights.items()},
        read=weights.__getitem__,
    )


def _read_zip(file: BinaryIO) -> Iterator[tuple[str, np.ndarray]]:
    """Layout of PyTorch 1.6 and later: `<folder>/data.pkl`, and a file `<folder>/data/<key>` for each storage, all uncompressed."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise _Refused("is a zip without PyTorch weights: it has no data.pkl")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise _Refused("is a compressed zip; PyTorch writes uncompressed ones")
        folder = pickles[0].removesuffix("data.pkl")
        if any(name.startswith(f"{folder}code/") for name in names):
            raise _Refused("is a TorchScript program; save the state dict: torch.save(model.state_dict(), 'weights.pth')")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise _Refused("was written on a big-endian machine")
        tensors = _tensors(_Unpickler(io.BytesIO(archive.read(pickles[0]))).load())
        yield from _arrays(tensors, lambda storage: archive.read(f"{folder}data/{storage.key}"))


def _read_row_of_pickles(file: BinaryIO) -> Iterator[tuple[str, np.ndarray]]:
    """Layout before 1.6: magic number, protocol, system, object and keys of the storages, each a pickle; then length and bytes of each."""
    file.seek(0)
    if _Unpickler(file).load() != _MAGIC or _Unpickler(file).load() != _PROTOCOL:
        raise _Refused("is a pickle, but not one of PyTorch")
    if not _Unpickler(file).load().get("little_endian", True):
        raise _Refused("was written on a big-endian machine")
    unpickler = _Unpickler(file)
    tensors = _tensors(unpickler.load())
    stored = {}
    for key in _Unpickler(file).load():
        storage = unpickler.storages[key]
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise _Refused(f"is damaged: storage {key} should have {storage.size} elements")
        stored[key] = file.read(storage.size * np.dtype(storage.dtype).itemsize)
    yield from _arrays(tensors, lambda storage: stored[storage.key])


class _Unpickler(pickle.Unpickler):
    """Makes dicts, tensors and parameters."""

    def __init__(self, file: BinaryIO | io.BytesIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module_name == "torch" and global_name in _STORAGES:
            return _STORAGES[global_name]
        if module_name == "torch._utils" and global_name in _REBUILD:
            return _REBUILD[global_name]
        raise _Refused(
            f"holds more than tensors ({module_name}.{global_name}), which is not loaded for safety; save the state dict alone: "
            "torch.save(model.state_dict(), 'weights.pth')"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size, *view = pid
        if kind != "storage" or dtype not in _STORAGES.values() or not isinstance(key, str) or not isinstance(size, int):
            raise _Refused(f"is damaged: {pid!r} is not a storage of numbers")
        if any(part is not None for part in view):
            raise _Refused("shares parts of storages, in a way that PyTorch gave up in 2017; save it anew")
        return self.storages.setdefault(key, _Storage(key, dtype, size))


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: _Tensor, *_: Any) -> _Tensor:
    return data


_REBUILD = {"_rebuild_tensor": _rebuild_tensor, "_rebuild_tensor_v2": _rebuild_tensor, "_rebuild_parameter": _rebuild_parameter}


def _tensors(content: Any) -> dict[str, _Tensor]:
    """The named tensors of a state dict, or of the checkpoint around it."""
    if not isinstance(content, Mapping):
        return {}
    network = next((content[key] for key in _NETWORKS if isinstance(content.get(key), Mapping)), content)
    return {name: value for name, value in network.items() if isinstance(name, str) and isinstance(value, _Tensor)}


def _arrays(tensors: Mapping[str, _Tensor], read: Callable[[_Storage], bytes]) -> Iterator[tuple[str, np.ndarray]]:
    flat: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage.key not in flat:
            flat[storage.key] = np.frombuffer(read(storage), storage.dtype)
        yield name, _view(flat[storage.key], tensor, name)


def _view(flat: np.ndarray, tensor: _Tensor, name: str) -> np.ndarray:
    """A copy of the elements of a tensor, after making sure that all lie in its storage."""
    _, offset, shape, strides = tensor
    size = math.prod(shape)
    whole = all(isinstance(number, int) and number >= 0 for number in (offset, *shape, *strides)) and len(shape) == len(strides)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True)) if whole and size else 0
    if not whole or size > flat.size or (size and last >= flat.size):
        raise _Refused(f"is damaged: {name} of shape {shape} does not lie in its {flat.size} stored numbers")
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, [stride * flat.itemsize for stride in strides]).copy()
