from __future__ import annotations

import struct
from pathlib import Path

import pytest
import tensorflow as tf

from data_tools.tf_example import (
    bytes_feature,
    encode_example,
    float_feature,
    frame_record,
    int64_feature,
    large_bytes_feature,
    parse_example,
)
from object_detection_ext.errors import InputError


def to_feature(kind: str, values: list) -> tf.train.Feature:
    lists = {"bytes_list": tf.train.BytesList, "float_list": tf.train.FloatList, "int64_list": tf.train.Int64List}
    return tf.train.Feature(**{kind: lists[kind](value=values)})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        pytest.param("bytes_list", [], id="no bytes"),
        pytest.param("bytes_list", [b""], id="one empty"),
        pytest.param("bytes_list", [b"cat", "Größe".encode(), bytes(range(256)) * 300], id="lengths of one, two and three bytes"),
        pytest.param("float_list", [], id="no floats"),
        pytest.param("float_list", [0.0, -1.5, 0.1, 1e-45, 3.4e38], id="floats with rounding"),
        pytest.param("float_list", [float(i) for i in range(40)], id="floats beyond one length byte"),
        pytest.param("int64_list", [], id="no integers"),
        pytest.param("int64_list", [0, 1, 127, 128, 300, 16383, 16384, 2**63 - 1], id="varint limits"),
        pytest.param("int64_list", [-1, -(2**63)], id="negative: ten bytes"),
    ],
)
def test_features_are_tensorflows_bytes(kind, values):
    encode = {"bytes_list": bytes_feature, "float_list": float_feature, "int64_list": int64_feature}[kind]
    assert encode(values) == to_feature(kind, values).SerializeToString()


def test_example_parses_with_every_feature_and_sorts_its_keys():
    features = {"b": ("int64_list", [1, 2]), "image/encoded": ("bytes_list", [b"x" * 70000]), "a": ("float_list", [])}
    encoders = {"bytes_list": bytes_feature, "float_list": float_feature, "int64_list": int64_feature}
    encoded = encode_example({key: encoders[kind](values) for key, (kind, values) in features.items()})
    parsed = tf.train.Example.FromString(encoded)
    assert dict(parsed.features.feature) == {key: to_feature(*feature) for key, feature in features.items()}
    assert encoded.index(b"\x0a\x01a") < encoded.index(b"\x0a\x01b") < encoded.index(b"image/encoded")
    assert tf.train.Example.FromString(encode_example({})) == tf.train.Example(features=tf.train.Features())


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16384, 70000])
def test_a_large_value_in_two_pieces(size):
    value = bytes(size)
    pieces = large_bytes_feature(value)
    assert pieces[1] is value
    assert b"".join(pieces) == bytes_feature([value]) == to_feature("bytes_list", [value]).SerializeToString()
    features = {"image/encoded": pieces, "a": int64_feature([1]), "z": float_feature([2.0])}
    assert encode_example(features) == encode_example({**features, "image/encoded": b"".join(pieces)})


@pytest.mark.parametrize("payload", [b"", b"a", bytes(range(256)) * 1000])
def test_records_are_what_tensorflow_writes(tmp_path: Path, payload):
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        writer.write(payload)
    assert frame_record(payload) == (tmp_path / "theirs").read_bytes()


def test_known_checksum():
    # CRC-32C of 32 zero bytes is 0x8a9136aa (RFC 3720, B.4); rotated right by 15 and shifted by the mask delta.
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert frame_record(bytes(32))[-4:] == struct.pack("<I", masked)


def test_what_tensorflow_serializes_is_read_back():
    feature = {
        "bytes": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"", b"\xff\x00", "日本".encode()])),
        "floats": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, -3.25])),
        "ints": tf.train.Feature(int64_list=tf.train.Int64List(value=[0, 127, 128, -1, 2**62])),
        "none": tf.train.Feature(),
        "empty": tf.train.Feature(float_list=tf.train.FloatList()),
    }
    payload = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    assert parse_example(payload) == {
        "bytes": [b"", b"\xff\x00", "日本".encode()],
        "floats": [0.5, -3.25],
        "ints": [0, 127, 128, -1, 2**62],
        "none": [],
        "empty": [],
    }


def test_numbers_that_are_not_packed_are_read():
    floats = b"\x12\x05\x0d" + struct.pack("<f", 0.25)  # Feature.float_list { value: 0.25 }, wire type 5
    ints = b"\x1a\x03\x08\x96\x01"  # Feature.int64_list { value: 150 }, wire type 0: the protobuf guide's example
    for value, expected in ((floats, [0.25]), (ints, [150])):
        entry = b"\x0a\x01k\x12" + bytes([len(value)]) + value
        features = b"\x0a" + bytes([len(entry)]) + entry
        assert parse_example(b"\x0a" + bytes([len(features)]) + features) == {"k": expected}


@pytest.mark.parametrize("payload", [b"\x0a\x05abc", b"\x08\x01", b"\xff" * 12, b"plain text"])
def test_other_bytes_are_refused(payload):
    with pytest.raises(InputError, match=r"^not a tf\.Example: "):
        parse_example(payload)


@pytest.mark.parametrize(
    "feature",
    [
        pytest.param(int64_feature([1, 2]) + bytes_feature([b"cat"]), id="two kinds"),
        pytest.param(int64_feature([1, 2]) + bytes_feature([b"cat"]) + int64_feature([3]), id="one of them twice"),
        pytest.param(int64_feature([1, 2]) + int64_feature([3]), id="one kind in two pieces"),
        pytest.param(b"\x1a\x0c\x0a\x0a" + b"\xff" * 9 + b"\x7f", id="a number of 70 bits"),
    ],
)
def test_what_no_writer_writes_is_read_as_protobuf_reads_it(feature):
    theirs = tf.train.Feature.FromString(feature)
    expected = list(getattr(theirs, theirs.WhichOneof("kind")).value)
    assert parse_example(encode_example({"a": feature})) == {"a": expected}
