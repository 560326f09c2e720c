"""Two small sets of records in which every check finds nothing, to be spoilt one fault at a time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_tools.checks.feature_lists import encode_lists
from data_tools.checks.scan import EVAL, TRAIN, RecordSet, Scan, ScanSettings, scan_records
from data_tools.tf_example import frame_record
from object_detection_ext.data import schema
from object_detection_ext.data.label_map import LabelMap, LabelMapItem
from object_detection_ext.findings import FindingGroup

LABEL_MAP = LabelMap((LabelMapItem(1, "cat"), LabelMapItem(2, "dog")))
WIDTH, HEIGHT = 96, 72


def picture(seed: int, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """A picture of (width, height) like no other: 6x5 random colours, smoothly enlarged."""
    colours = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, format_: str = "JPEG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **({"quality": 90} if format_ == "JPEG" else {}) | settings)
    return buffer.getvalue()


def set_image(record: dict[str, list[Any]], encoded: bytes, *, format_: str = "jpeg", size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Puts an image of (width, height) into a record, with all that is recorded of it."""
    record[schema.IMAGE_ENCODED], record[schema.IMAGE_FORMAT] = [encoded], [format_.encode()]
    record[schema.IMAGE_WIDTH], record[schema.IMAGE_HEIGHT] = [size[0]], [size[1]]
    record[schema.IMAGE_KEY_SHA256] = [hashlib.sha256(encoded).hexdigest().encode()]


def make_record(seed: int) -> dict[str, list[Any]]:
    """A cat on the left, a dog on the right."""
    record: dict[str, list[Any]] = {
        schema.IMAGE_FILENAME: [f"{seed}.jpg".encode()],
        schema.IMAGE_SOURCE_ID: [f"id{seed}".encode()],
        schema.OBJECT_YMIN: [0.25, 0.5],
        schema.OBJECT_XMIN: [0.125, 0.5],
        schema.OBJECT_YMAX: [0.75, 1.0],
        schema.OBJECT_XMAX: [0.375, 0.875],
        schema.OBJECT_CLASS_LABEL: [1, 2],
        schema.OBJECT_CLASS_TEXT: [b"cat", b"dog"],
        schema.OBJECT_DIFFICULT: [0, 0],
    }
    set_image(record, encode(picture(seed)))
    return record


class RecordSets:
    """Records to train on and to evaluate on, as dicts of lists; `scan` writes and checks them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train: list[Any] = [make_record(seed) for seed in range(20)]
        self.eval: list[Any] = [make_record(seed) for seed in range(100, 104)]
        self.maps: dict[str, LabelMap | None] = {TRAIN: LABEL_MAP, EVAL: LABEL_MAP}
        self.settings = ScanSettings(num_classes=2, max_boxes=100, max_detections=100)

    @property
    def paths(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.record-00000-of-00001" for name in (TRAIN, EVAL)}

    def write(self) -> None:
        for name, records in ((TRAIN, self.train), (EVAL, self.eval)):
            payloads = [record if isinstance(record, bytes) else encode_lists(record) for record in records]
            self.paths[name].write_bytes(b"".join(map(frame_record, payloads)))

    def record_sets(self) -> tuple[RecordSet, ...]:
        return tuple(RecordSet(name, (str(path),), self.maps[name], "map.pbtxt") for name, path in self.paths.items())

    @staticmethod
    def found(scan: Scan) -> dict[str, FindingGroup]:
        """What a scan has found, worst first, by the name of the check."""
        return {group.check: group for group in scan.findings.groups()}

    def scan(self, *, writes: bool = True, record_sets: Sequence[RecordSet] | None = None) -> Scan:
        if writes:
            self.write()
        return scan_records(record_sets or self.record_sets(), self.settings)


@pytest.fixture
def sets(tmp_path: Path) -> RecordSets:
    return RecordSets(tmp_path)


@pytest.fixture(scope="session")
def make() -> Any:
    """The functions above, for test modules."""

    class Make:
        picture = staticmethod(picture)
        encode = staticmethod(encode)
        set_image = staticmethod(set_image)
        record = staticmethod(make_record)

    return Make
