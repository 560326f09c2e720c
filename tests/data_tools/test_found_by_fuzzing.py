"""Files that once brought a reader down, or made it say something unclear, as fuzzing found them (tests/data_tools/fuzz.py)."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from data_tools.format_table import FORMATS
from data_tools.tf_example import frame_record
from object_detection_ext.data import schema
from tests.data_tools.reading import read_everything
from tests.data_tools.small_sets import SMALL_SETS


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    """Replaces the first occurrence."""

    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return change


def without_keypoint_y(content: bytes) -> bytes:
    """Renames the feature and mends the checksums."""
    payloads, position = [], 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        payloads.append(content[position + 12 : position + 12 + length])
        position += length + 16
    key = schema.OBJECT_KEYPOINT_Y.encode()
    assert key in payloads[0]
    return b"".join(frame_record(payload.replace(key, key[:-1] + b"z")) for payload in payloads)


HUGE = "9" * 400  # more than a float64 holds
LONGEST = "9" * 4300  # digits: Python makes a number of no more, nor prints them


@pytest.mark.parametrize(
    ("name", "number", "change", "message"),
    [
        pytest.param("voc", 2, replaced("a", "9" * 300), "cannot be looked up", id="an image id longer than a file name can be"),
        pytest.param("coco", 0, replaced('"width": 64', f'"width": {HUGE}'), "no image has so many", id="a width beyond float64"),
        pytest.param("coco-masks", 0, replaced('"size": [48, 64]', '"size": -1'), "must have size", id="a mask's size that is no list"),
        pytest.param("coco-masks", 0, replaced('"height": 48', f'"height": {HUGE}'), "a mask of 64x999", id="gigabytes beyond float64"),
        pytest.param(
            "coco-masks", 0, replaced("[1000, 72, 2000]", f"[{LONGEST}, {LONGEST}]"), "a run that is negative", id="a sum too long to print"
        ),
        pytest.param("tfrecord", 0, without_keypoint_y, "keypoint/y has 0 values for", id="keypoints without y"),
        pytest.param("pets", 2, lambda content: b"\0" + content[1:], "cannot identify image file", id="a trimap without signature"),
    ],
)
def test_refused_in_one_line(name, number, change, message, tmp_path: Path):
    small = SMALL_SETS[name](tmp_path)
    path = small.files[number]
    path.write_bytes(change(path.read_bytes()))
    messages = read_everything(FORMATS[name.partition("-")[0]], small.options, root=tmp_path)
    assert messages and message in messages[0]
    json.dumps(messages)  # no lone surrogates
