"""Records as TensorFlow writes them, and files that are damaged."""

from __future__ import annotations

import pytest
import tensorflow as tf

from data_tools.record_file import read_record_at, read_records, record_positions
from data_tools.tf_example import frame_record
from object_detection_ext.errors import InputError

PAYLOADS = [b"first", b"", b"x" * 5000]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.record"
    path.write_bytes(b"".join(map(frame_record, PAYLOADS)))
    return path


def test_reads_what_was_written(path):
    assert list(read_records(path)) == PAYLOADS


def test_reads_what_tensorflow_writes(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "tf.record")) as writer:
        for payload in PAYLOADS:
            writer.write(payload)
    assert list(read_records(tmp_path / "tf.record")) == PAYLOADS


def damaged(path, position, byte):
    content = bytearray(path.read_bytes())
    content[position] = byte
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (0, "record 0 at byte 0: the checksum of the length does not fit"),
        (13, "record 0 at byte 0: the checksum of the data does not fit"),
        (40, "record 2 at byte 37: the checksum of the length does not fit"),
        (100, "record 2 at byte 37: the checksum of the data does not fit"),
    ],
)
def test_names_the_damaged_record(path, position, message):
    damaged(path, position, 0x7E)
    with pytest.raises(InputError, match=message):
        list(read_records(path))


@pytest.mark.parametrize(
    ("size", "message"),
    [(45, "record 2 at byte 37: the file ends within the head"), (3000, "record 2 at byte 37: the file ends within this")],
)
def test_names_the_record_where_a_file_was_cut(path, size, message):
    path.write_bytes(path.read_bytes()[:size])
    records = read_records(path)
    assert [next(records), next(records)] == PAYLOADS[:2]
    with pytest.raises(InputError, match=message):
        next(records)


def test_says_when_a_file_is_compressed_or_missing(tmp_path):
    (tmp_path / "z.record").write_bytes(b"\x1f\x8b\x08\x00" + b"\x00" * 40)
    with pytest.raises(InputError, match=r"compressed \(gzip\); unpack it first"):
        list(read_records(tmp_path / "z.record"))
    with pytest.raises(InputError, match=r"cannot read .*missing\.record: No such file"):
        list(read_records(tmp_path / "missing.record"))


def test_positions_come_from_the_heads_alone_and_lead_to_the_payloads(path):
    damaged(path, 13, 0x7E)  # in the payload of record 0
    positions = list(record_positions(path))
    assert positions == [(0, 0, 5), (1, 21, 0), (2, 37, 5000)]  # 12 bytes before each payload, 4 after
    assert [read_record_at(path, position) for position in positions[1:]] == PAYLOADS[1:]
    with pytest.raises(InputError, match="record 0 at byte 0: the checksum of the data does not fit"):
        read_record_at(path, positions[0])


def test_positions_stop_where_the_file_was_cut(path):
    path.write_bytes(path.read_bytes()[:3000])
    positions = record_positions(path)
    assert [next(positions).number, next(positions).number] == [0, 1]
    with pytest.raises(InputError, match="record 2 at byte 37: the file ends within this record, after 2,951 of 5,004 bytes"):
        next(positions)
