"""Finding and reading records by number, and what is said about files that are not whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.data.record_index import expand_paths, index_records
from object_detection_ext.errors import InputError
from tests.object_detection_ext.data.records import write


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write(tmp_path / "train.record-00000-of-00003", [b"a", b"", b"ccc"])
    write(tmp_path / "train.record-00001-of-00003", [])
    write(tmp_path / "train.record-00002-of-00003", [b"d" * 300_000])
    return tmp_path


def test_reads_every_record_by_number(shards: Path) -> None:
    index = index_records([f"{shards}/train.record-?????-of-00003"])
    assert [index.read(record) for record in range(len(index))] == [b"a", b"", b"ccc", b"d" * 300_000]
    np.testing.assert_array_equal(index.numbers, [0, 1, 2, 0])
    assert index.describe(3) == f"record 0 (from 0) of {shards}/train.record-00002-of-00003"


def test_every_nth(shards: Path) -> None:
    index = index_records([f"{shards}/train.record-*"]).every(3)
    assert [index.read(record) for record in range(len(index))] == [b"a", b"d" * 300_000]


def test_paths_lists_and_patterns(shards: Path) -> None:
    first, second, third = (f"{shards}/train.record-0000{shard}-of-00003" for shard in range(3))
    assert expand_paths([f"{third}, {first}", f"{shards}/train.record-0000[01]-of-00003"]) == (third, first, first, second)


def test_a_path_with_a_comma_is_a_path(tmp_path: Path) -> None:
    path = write(tmp_path / "a,b.record", [b"x"])
    assert expand_paths([path]) == (path,)


def test_relative_paths_start_at_the_current_directory(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shards)
    assert len(index_records(["train.record-00000-of-00003"])) == 3


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "train_input_reader.input_path: no path given"),
        (["{dir}/nothing-*.record"], r"train_input_reader.input_path: '{dir}/nothing-\*.record' matches no file"),
        (["{dir}"], "train_input_reader.input_path: '{dir}' matches no file"),
        (["{dir}/train.record-?????-of-00005"], "matches no file"),
        (["{dir}/train.record-00001-of-00003"], "no records in {dir}/train.record-00001-of-00003; the data set is empty"),
    ],
    ids=["no-path", "glob-without-match", "folder", "other-shard-count", "empty"],
)
def test_refuses_paths(shards: Path, paths: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("{dir}", str(shards))):
        index_records([path.replace("{dir}", str(shards)) for path in paths], where="train_input_reader.input_path")


def test_names_missing_shards(shards: Path) -> None:
    (shards / "train.record-00001-of-00003").unlink()
    with pytest.raises(InputError, match="finds 2 of 3 shards; missing: 00001"):
        index_records([f"{shards}/train.record-?????-of-00003"])
    assert len(index_records([f"{shards}/train.record-0000?-of-00003"])) == 4  # a pattern for some shards is meant that way


@pytest.mark.parametrize(("keep", "record", "offset"), [(17 + 17, 2, 34), (17 + 10, 1, 17), (10, 0, 0)], ids=["data", "checksum", "header"])
def test_says_where_a_file_is_cut(tmp_path: Path, keep: int, record: int, offset: int) -> None:
    path = Path(write(tmp_path / "a.record", [b"x", b"y", b"zzz"]))  # 17 bytes of frame and data for each of the first two
    path.write_bytes(path.read_bytes()[: keep + (5 if record == 2 else 0)])
    with pytest.raises(InputError, match=f"{path} is cut short: record {record} .from 0. at byte {offset} needs"):
        index_records([str(path)])


def test_other_files_are_not_records(tmp_path: Path) -> None:
    text, zipped = tmp_path / "notes.txt", tmp_path / "a.record.gz"
    text.write_text("this is not a record file, but long enough")
    zipped.write_bytes(gzip.compress(Path(write(tmp_path / "a.record", [b"x" * 99])).read_bytes()))
    with pytest.raises(InputError, match=r"notes.txt is not a TFRecord file"):
        index_records([str(text)])
    with pytest.raises(InputError, match=r"a.record.gz is gzip-compressed"):
        index_records([str(zipped)])


def test_damage_is_found_where_it_is(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.record", [b"x", b"yyyy", b"z"]))
    content = bytearray(path.read_bytes())
    content[17 + 12] ^= 1  # a bit of the second record's data
    path.write_bytes(content)
    index = index_records([str(path)])
    assert index.read(0) == b"x"
    with pytest.raises(InputError, match=r"record 1 .from 0. of .*: the data do not match their checksum"):
        index.read(1)
    content[17] ^= 1  # and of its length
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"the header of record 1 .from 0. at byte 17 does not match its checksum"):
        index_records([str(path)])


def test_a_file_that_shrinks_later_is_named(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.record", [b"x" * 50]))
    index = index_records([str(path)])
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(InputError, match="the file has become shorter"):
        index.read(0)


def test_agrees_with_tensorflow(test_data: Path) -> None:
    path = str(test_data / "odapi" / "pets_examples.record")
    index = index_records([path])
    assert [index.read(record) for record in range(len(index))] == list(tf.data.TFRecordDataset(path).as_numpy_iterator())
