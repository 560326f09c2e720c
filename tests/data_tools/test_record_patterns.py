from __future__ import annotations

from pathlib import Path

import pytest

from data_tools.record_patterns import find_record_files, is_record_name
from object_detection_ext.errors import InputError

SHARDS = [f"train.record-0000{index}-of-00003" for index in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*SHARDS, "val.record", "test.tfrecord", "train_label_map.pbtxt", ".train.record-00000-of-00003.partial"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        pytest.param(["val.record"], ["val.record"], id="file"),
        pytest.param(["train.record"], SHARDS, id="prefix"),
        pytest.param(["train.record-*"], SHARDS, id="glob"),
        pytest.param(["train.record-?????-of-00003"], SHARDS, id="question marks"),
        pytest.param(["."], ["test.tfrecord", *SHARDS, "val.record"], id="folder"),
        pytest.param(["val.record", "train.record", "val.record", SHARDS[1]], ["val.record", *SHARDS], id="each once"),
    ],
)
def test_what_patterns_mean(folder, patterns, names):
    assert find_record_files([folder / pattern for pattern in patterns]) == [folder / name for name in names]


def test_nothing_and_missing_shards(folder):
    for pattern in ("eval.record", "eval*", "nothing/x.record"):
        with pytest.raises(
            InputError, match=r"no record file matches .*; give a file, a prefix of shards, a pattern in quotes, or a folder"
        ):
            find_record_files([folder / pattern])
    with pytest.raises(InputError, match=r"train\.record-00000-of-00003 is missing; 1 of 3 shards are there"):
        find_record_files([folder / SHARDS[1]])
    (folder / "train.record-00000-of-00001").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"train\.record has sets of 1 and of 3 shards, of several runs; remove one, or choose with a pattern"
    ):
        find_record_files([folder / "train.record"])
    (folder / "train.record-00000-of-00001").unlink()
    (folder / SHARDS[2]).unlink()
    with pytest.raises(InputError, match=r"train\.record-00002-of-00003 is missing; 2 of 3 shards are there"):
        find_record_files([folder])


def test_names_of_record_files():
    assert all(map(is_record_name, ["a.record", "a.tfrecord", "a.tfrecords", "a-00000-of-00001"]))
    assert not any(map(is_record_name, ["a.recordx", ".a.record", "a.record.partial", "label_map.pbtxt"]))
