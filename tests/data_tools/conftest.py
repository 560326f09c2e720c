"""Small annotated sets on disk, and a reader of records that is not ours."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from PIL import Image

VOC_OBJECT = """<object><name>{0}</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<bndbox><xmin>{1}</xmin><ymin>{2}</ymin><xmax>{3}</xmax><ymax>{4}</ymax></bndbox></object>
"""


def save_image(path: Path, *, size: tuple[int, int] = (64, 48), color: int = 0) -> None:
    """An image of (width, height), in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (color % 256, color // 256, 128)).save(path)


def voc_xml(filename: str, objects: str = "", *, size: str = "<size><width>64</width><height>48</height><depth>3</depth></size>") -> str:
    return f"<annotation>\n<filename>{filename}</filename>\n{size}\n{objects}</annotation>\n"


class VocSet:
    """A VOC folder with `images` and `annotations`, 64x48 images."""

    def __init__(self, root: Path) -> None:
        self.images, self.annotations = root / "JPEGImages", root / "Annotations"
        self.images.mkdir(parents=True)
        self.annotations.mkdir()

    def add(self, stem: str, *objects: tuple[str, object, object, object, object], suffix: str = ".jpg") -> Path:
        """An image and its XML file with objects (name, xmin, ymin, xmax, ymax); the path of the XML file."""
        save_image(self.images / f"{stem}{suffix}", color=len(list(self.images.iterdir())))
        return self.write(stem, voc_xml(f"{stem}{suffix}", "".join(VOC_OBJECT.format(*item) for item in objects)))

    def write(self, stem: str, text: str) -> Path:
        path = self.annotations / f"{stem}.xml"
        path.write_text(text)
        return path

    def flags(self, output: Path) -> list[str]:
        return ["--format=voc", f"--images={self.images}", f"--annotations={self.annotations}", f"--output={output}"]


class CocoSet:
    """A COCO folder: `content` is what `write` puts into the instances file."""

    def __init__(self, root: Path) -> None:
        self.images, self.annotations = root / "images", root / "instances.json"
        save_image(self.images / "a.jpg")
        save_image(self.images / "b.jpg", color=1)
        self.content: dict[str, Any] = {
            "images": [
                {"id": 7, "file_name": "a.jpg", "height": 48, "width": 64},
                {"id": 3, "file_name": "b.jpg", "height": 48, "width": 64},
            ],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 7,
                    "category_id": 90,
                    "bbox": [16.0, 12.0, 32.0, 12.0],
                    "area": 300.5,
                    "iscrowd": 0,
                    "segmentation": [],
                },
                {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 64, 48], "area": 3072, "iscrowd": 1},
            ],
            "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}],
        }

    def write(self) -> Path:
        self.annotations.write_text(json.dumps(self.content))
        return self.annotations

    def flags(self, output: Path) -> list[str]:
        return ["--format=coco", f"--images={self.images}", f"--annotations={self.annotations}", f"--output={output}"]


@pytest.fixture
def write_image() -> Callable[..., None]:
    return save_image


@pytest.fixture
def voc_set(tmp_path: Path) -> VocSet:
    return VocSet(tmp_path / "voc")


@pytest.fixture
def coco_set(tmp_path: Path) -> CocoSet:
    coco = CocoSet(tmp_path / "coco")
    coco.write()
    return coco


def _make_example_type() -> type[Message]:
    """tf.Example (tensorflow/core/example/example.proto, feature.proto) without TensorFlow, whose import takes longer than the tests."""
    field, file = descriptor_pb2.FieldDescriptorProto, descriptor_pb2.FileDescriptorProto(name="example", package="tests", syntax="proto3")
    for kind, number_type in (("Bytes", field.TYPE_BYTES), ("Float", field.TYPE_FLOAT), ("Int64", field.TYPE_INT64)):
        file.message_type.add(name=f"{kind}List").field.add(name="value", number=1, type=number_type, label=field.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, kind in enumerate(("bytes", "float", "int64"), start=1):
        type_name = f".tests.{kind.capitalize()}List"
        feature.field.add(name=f"{kind}_list", number=number, type=field.TYPE_MESSAGE, type_name=type_name, oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
    entry.field.add(name="key", number=1, type=field.TYPE_STRING)
    entry.field.add(name="value", number=2, type=field.TYPE_MESSAGE, type_name=".tests.Feature")
    entry_type = ".tests.Features.FeatureEntry"
    features.field.add(name="feature", number=1, type=field.TYPE_MESSAGE, type_name=entry_type, label=field.LABEL_REPEATED)
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type=field.TYPE_MESSAGE, type_name=".tests.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tests.Example"))


def _read_payloads(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file (tensorflow/core/lib/io/record_writer.h); test_tf_example.py compares their checksums."""
    data, position = path.read_bytes(), 0
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        yield data[position + 12 : position + 12 + length]
        position += 16 + length
    assert position == len(data)


@pytest.fixture(scope="session")
def read_examples() -> Callable[[Sequence[Path]], list[dict[str, list[Any]]]]:
    """Parses records with protobuf: each a dict of key to list of values, texts decoded but for images and masks."""
    example_type: Any = _make_example_type()

    def read(paths: Sequence[Path]) -> list[dict[str, list[Any]]]:
        return [to_lists(example_type.FromString(payload)) for path in paths for payload in _read_payloads(path)]

    def to_lists(example: Any) -> dict[str, list[Any]]:
        features = {}
        for key, feature in example.features.feature.items():
            values = list(getattr(feature, feature.WhichOneof("kind")).value)
            is_text = key not in ("image/encoded", "image/object/mask") and feature.HasField("bytes_list")
            features[key] = [value.decode() for value in values] if is_text else values
        return features

    return read
