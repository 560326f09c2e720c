"""PyTorch's files, assembled opcode by opcode as PyTorch writes them; no PyTorch."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from object_detection_ext.errors import InputError
from object_detection_ext.weights.torch_file import open_torch_file

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Tensor(NamedTuple):
    data: np.ndarray  # the storage, flat
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    key: str = ""


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _int(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _tuple(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_int, numbers)) + b"t"


def _tensor(tensor: Tensor, tail: bytes) -> bytes:
    storage = f"ctorch\n{STORAGES[tensor.data.dtype.name]}\n".encode()
    persistent = b"(" + _text("storage") + storage + _text(tensor.key) + _text("cpu") + _int(tensor.data.size) + tail + b"tQ"
    arguments = (
        persistent + _int(tensor.offset) + _tuple(tensor.shape) + _tuple(tensor.strides) + b"\x89" + b"ccollections\nOrderedDict\n)R"
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def _state_dict(tensors: Mapping[str, Tensor], tail: bytes = b"") -> bytes:
    items = b"".join(_text(name) + _tensor(tensor, tail) for name, tensor in tensors.items())
    metadata = b"}" + _text("_metadata") + b"ccollections\nOrderedDict\n)Rsb"  # BUILD, as for the versions of modules
    return b"ccollections\nOrderedDict\n)R(" + items + b"u" + metadata


def _with_keys(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor._replace(key=tensor.key or str(index)) for index, (name, tensor) in enumerate(tensors.items())}


def _write_zip(path: Path, content: bytes, tensors: Mapping[str, Tensor] = {}, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + content + b".")
        for tensor in tensors.values():
            archive.writestr(f"archive/data/{tensor.key}", tensor.data.tobytes())
        for name, data in files.items():
            archive.writestr(f"archive/{name}", data)
    return path


def _write_row_of_pickles(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    magic = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
    system = b"\x80\x02}" + _text("little_endian") + b"\x88s."
    content = b"\x80\x02" + _state_dict(tensors, tail=b"N") + b"."
    keys = b"\x80\x02](" + b"".join(_text(tensor.key) for tensor in tensors.values()) + b"e."
    data = b"".join(struct.pack("<q", tensor.data.size) + tensor.data.tobytes() for tensor in tensors.values())
    path.write_bytes(magic + b"\x80\x02" + _int(PROTOCOL) + b"." + system + content + keys + data)
    return path


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return _with_keys(
        {
            "features.0.0.weight": Tensor(np.arange(24, dtype=np.float32), (2, 3, 2, 2), (12, 4, 2, 1)),
            "transposed": Tensor(np.arange(6, dtype=np.float32), (3, 2), (1, 3)),
            "part": Tensor(np.arange(10, dtype=np.float16), (2, 2), (4, 1), offset=3),
            "features.0.1.num_batches_tracked": Tensor(np.array([5], np.int64), (), ()),
        }
    )


EXPECTED = {
    "features.0.0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "transposed": np.float32([[0, 3], [1, 4], [2, 5]]),
    "part": np.float16([[3, 4], [7, 8]]),
}


class TestLayouts:
    @pytest.mark.parametrize("layout", ["zip", "row_of_pickles"])
    def test_contiguous_strided_and_scalar(self, tensors: dict[str, Tensor], layout: str, tmp_path: Path):
        path = tmp_path / "weights.pth"
        if layout == "zip":
            _write_zip(path, _state_dict(tensors), tensors, byteorder=b"little")
        else:
            _write_row_of_pickles(path, tensors)
        source = open_torch_file(path)
        assert source.shapes == {name: value.shape for name, value in EXPECTED.items()}
        assert (source.scheme, source.kind) == ("torchvision", "PyTorch weights")
        for name, value in EXPECTED.items():
            np.testing.assert_array_equal(source.read(name), value)
            assert source.read(name).dtype == value.dtype

    def test_checkpoint_of_training_on_several_devices(self, tmp_path: Path):
        tensors = _with_keys({"module.conv.weight": Tensor(np.ones(4, np.float32), (4,), (1,))})
        content = b"}(" + _text("epoch") + _int(3) + _text("state_dict") + _state_dict(tensors) + b"u"
        assert open_torch_file(_write_zip(tmp_path / "checkpoint.pth", content, tensors)).shapes == {"conv.weight": (4,)}


class TestRefused:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"cos\nsystem\n(X\x04\x00\x00\x00truetR", r"holds more than tensors \(os\.system\)"),
            (b"cbuiltins\neval\n(X\x01\x00\x00\x001tR", r"holds more than tensors \(builtins\.eval\)"),
            (b"ctorchvision.models.mobilenetv2\nMobileNetV2\n)\x81", "torchvision.models.mobilenetv2.MobileNetV2"),
            (b"ctorch._utils\n_rebuild_qtensor\n", "torch._utils._rebuild_qtensor"),
            (b"]", "holds no tensors by name"),
            (b"t", "or damaged"),
            (b"}Q", "or damaged"),
            (b"(X\x01\x00\x00\x00aX\x01\x00\x00\x00bX\x01\x00\x00\x00cX\x01\x00\x00\x00dK\x01tQ", "is not a storage of numbers"),
        ],
        ids=["os.system", "eval", "whole_model", "quantised", "list", "broken_pickle", "broken_storage", "strange_storage"],
    )
    def test_other_pickles(self, content: bytes, message: str, tmp_path: Path):
        with pytest.raises(InputError, match=message):
            open_torch_file(_write_zip(tmp_path / "weights.pth", content))

    @pytest.mark.parametrize(
        ("shape", "strides", "offset"),
        [((5,), (1,), 0), ((2, 2), (3, 1), 1), ((2,), (-1,), 3), ((1 << 30,), (0,), 0), ((2, 2), (1,), 0), ((2,), (1,), -1)],
        ids=["too_long", "beyond_the_end", "backwards", "one_number_many_times", "ranks_differ", "before_the_start"],
    )
    def test_views_outside_of_their_storage(self, shape: tuple, strides: tuple, offset: int, tmp_path: Path):
        tensors = _with_keys({"weight": Tensor(np.ones(4, np.float32), shape, strides, offset)})
        with pytest.raises(InputError, match=r"weight of shape .* does not lie in its 4 stored numbers"):
            open_torch_file(_write_zip(tmp_path / "weights.pth", _state_dict(tensors), tensors))

    def test_a_storage_is_missing(self, tensors: dict[str, Tensor], tmp_path: Path):
        with pytest.raises(InputError, match="or damaged"):
            open_torch_file(_write_zip(tmp_path / "weights.pth", _state_dict(tensors)))

    def test_cut_short(self, tensors: dict[str, Tensor], tmp_path: Path):
        path = _write_row_of_pickles(tmp_path / "weights.pth", tensors)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(InputError, match="damaged"):
            open_torch_file(path)

    @pytest.mark.parametrize(
        ("files", "message"),
        [({"byteorder": b"big"}, "big-endian"), ({"code/__torch__.py": b""}, "TorchScript")],
        ids=["big_endian", "torch_script"],
    )
    def test_other_kinds_of_zip(self, files: dict[str, bytes], message: str, tmp_path: Path):
        with pytest.raises(InputError, match=message):
            open_torch_file(_write_zip(tmp_path / "weights.pth", b"}", **files))

    def test_compressed(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "weights.pth", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02}.")
        with pytest.raises(InputError, match="compressed zip"):
            open_torch_file(tmp_path / "weights.pth")

    def test_a_zip_of_something_else(self, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "weights.pth", "w") as archive:
            archive.writestr("readme.txt", "hello")
        with pytest.raises(InputError, match=r"has no data\.pkl"):
            open_torch_file(tmp_path / "weights.pth")

    @pytest.mark.parametrize("data", [b"", b"plain text\n", b"\x80\x02K\x01."], ids=["empty", "text", "other_pickle"])
    def test_other_files(self, data: bytes, tmp_path: Path):
        (tmp_path / "weights.pth").write_bytes(data)
        with pytest.raises(InputError, match=r"weights\.pth is (not a file of PyTorch weights|a pickle, but not one of PyTorch)"):
            open_torch_file(tmp_path / "weights.pth")

    def test_absent(self, tmp_path: Path):
        with pytest.raises(InputError, match="do not exist"):
            open_torch_file(tmp_path / "weights.pth")
