from __future__ import annotations

import functools
import json
from pathlib import Path

import google_crc32c
import pytest

from data_tools import create_tf_record, verify_manifest
from data_tools.manifest import tool_version
from object_detection_ext.command_line import run


@pytest.fixture
def manifest(voc_set, tmp_path) -> Path:
    """Of six images in two splits."""
    for index in range(6):
        voc_set.add(str(index), *[("cat", 0, 0, 9, 9)] * index, ("dog", 5, 5, 5, 9))
    output = tmp_path / "out" / "mine.record"
    flags = [*voc_set.flags(output), "--split=train=0.5,val=0.5", "--num_shards=4", "--num_workers=1"]
    assert create_tf_record.main(flags) == 0
    return tmp_path / "out" / "mine_manifest.json"


@pytest.fixture
def verify(capsys, manifest):
    """Exit code, the lines on stderr, and the one on stdout."""

    def call(path: Path = manifest) -> tuple[int, list[str], str]:
        capsys.readouterr()
        code = run(functools.partial(verify_manifest.main, [str(path)]))
        printed = capsys.readouterr()
        return code, printed.err.splitlines(), printed.out.strip()

    return call


def test_what_it_says(manifest, voc_set):
    content = json.loads(manifest.read_text())
    assert content.keys() == {"manifest_version", "tool", "arguments", "label_map", "splits"}
    assert content["tool"] == {"name": "object-detection-ext", "version": tool_version()}
    assert content["arguments"] == {
        "format": "voc",
        "images": str(voc_set.images),
        "annotations": str(voc_set.annotations),
        "split": {"train": 0.5, "val": 0.5},
        "num_shards": 4,
        "broken_boxes": "drop",
        "exif_boxes": "auto",
    }
    assert content["label_map"] == {"file": "mine_label_map.pbtxt", "classes": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
    train, val = content["splits"]
    assert (train["name"], val["name"]) == ("train", "val")
    for split in (train, val):
        assert (split["images"], split["broken_boxes"], split["turned_upright"], split["stored_as_png"]) == (3, 3, 0, {})
        assert len(split["shards"]) == 2
        assert [shard["records"] for shard in split["shards"]] == [2, 1]
    assert train["images_without_objects"] + val["images_without_objects"] == 1
    assert train["objects"].keys() == val["objects"].keys() == {"cat"}
    assert train["objects"]["cat"] + val["objects"]["cat"] == 0 + 1 + 2 + 3 + 4 + 5
    for shard in [*train["shards"], *val["shards"]]:
        data = (manifest.parent / shard["file"]).read_bytes()
        assert (shard["bytes"], shard["crc32c"]) == (len(data), f"{google_crc32c.value(data):08x}")


def test_all_is_as_it_was_written(verify):
    assert verify() == (0, [], "5 of 5 files are as they were written")


def test_what_has_changed_is_named(manifest, verify):
    folder = manifest.parent
    first, second = sorted(folder.glob("mine_train.record-*"))
    size = first.stat().st_size
    first.write_bytes(first.read_bytes()[:-1])
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    second.write_bytes(data)
    (folder / "mine_val.record-00001-of-00002").unlink()
    label_map = folder / "mine_label_map.pbtxt"
    label_map.write_text(label_map.read_text().replace("dog", "dogs"))
    assert verify() == (
        1,
        [
            f"error: {first} has {size - 1:,} bytes, not the {size:,} that were written",
            f"error: {second} has other content than was written (CRC-32C)",
            f"error: {folder / 'mine_val.record-00001-of-00002'} is missing",
            f"error: {label_map} has other classes or ids than the records were written with",
        ],
        "1 of 5 files are as they were written",
    )


def test_a_label_map_that_cannot_be_read_and_one_with_more_words(manifest, verify):
    label_map = manifest.parent / "mine_label_map.pbtxt"
    label_map.write_text(label_map.read_text().replace('name: "cat"', 'name: "cat" display_name: "Cat"'))
    assert verify()[0] == 0
    label_map.write_text("item {")
    assert verify()[1][0].startswith(f"error: {label_map} cannot be read: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a manifest of records: JSONDecodeError: "),
        ("[]", "not a manifest of records: TypeError: "),
        ("{}", "not a manifest of records: it has no 'label_map'"),
        ("[" * 100_000, "not a manifest of records: RecursionError: "),
        ('{"label_map": {"file": null, "classes": []}, "splits": []}', "not a manifest of records: it must have a label_map"),
        (
            '{"label_map": {"file": null, "classes": []}, "splits": [{"shards": [{"file": 1, "bytes": 2, "crc32c": "a"}]}]}',
            "not a manifest",
        ),
        (
            '{"label_map": {"file": null, "classes": []}, "splits": [{"shards": [{"file": "a", "bytes": "2", "crc32c": "a"}]}]}',
            "not a manifest",
        ),
        (
            '{"label_map": {"file": null, "classes": []}, "splits": [{"shards": [{"file": "../x", "bytes": 2, "crc32c": "a"}]}]}',
            "'../x' leads out of the folder ",
        ),
    ],
)
def test_what_is_no_manifest(manifest, verify, content, message):
    manifest.write_text(content)
    code, (line,), out = verify()
    assert (code, out) == (1, "")
    assert line.startswith(f"error: {manifest}: {message}")


def test_no_file(verify, tmp_path):
    assert verify(tmp_path / "none.json")[1] == [f"error: No such file or directory: {tmp_path / 'none.json'}"]
