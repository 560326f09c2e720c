"""The metadata's bytes, read back by hand with the numbers of the schema, and by our own reader."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile

import flatbuffers.table
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as tflite_schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import number_types

from export.flat_tables import BrokenTableError, Table, TableReader, pack_table
from export.input_metadata import InputMetadata, KeepAspectRatio, read_input_metadata
from export.metadata import DetectorMetadata, RawDecoding, detector_metadata, metadata_bytes, with_metadata
from export.model import TrainedModel
from export.tail import pack
from object_detection_ext.data.resize import KeepAspectRatioResizer
from object_detection_ext.errors import InputError
from object_detection_ext.models.normalization import PixelScaling
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder

PLAIN = DetectorMetadata(
    name="a detector", labels=("cat", "dôg"), input_shape=(96, 128, 3), mean=(127.5,) * 3, std=(127.5,) * 3, score_threshold=0.25
)
CHANNELS = dataclasses.replace(PLAIN, mean=(123.68, 116.779, 103.939), std=(1.0, 1.0, 1.0))
FITTING = KeepAspectRatio(300, 320, (0.0, 0.5, 0.0))


class ByHand:
    """A table read with nothing but the FlatBuffers runtime; field numbers as in metadata_schema.fbs."""

    def __init__(self, buffer: bytes, position: int) -> None:
        self.table = flatbuffers.table.Table(buffer, position)

    @staticmethod
    def root(buffer: bytes, identifier: bytes) -> ByHand:
        assert buffer[4:8] == identifier
        return ByHand(buffer, int.from_bytes(buffer[:4], "little"))

    def place(self, field: int) -> int:
        offset = self.table.Offset(4 + 2 * field)
        assert offset, f"field {field} is not set"
        return self.table.Pos + offset

    def text(self, field: int) -> str:
        return self.table.String(self.place(field)).decode()

    def child(self, field: int) -> ByHand:
        return ByHand(self.table.Bytes, self.table.Indirect(self.place(field)))

    def children(self, field: int) -> list[ByHand]:
        offset = self.table.Offset(4 + 2 * field)
        start = self.table.Vector(offset)
        return [ByHand(self.table.Bytes, self.table.Indirect(start + 4 * i)) for i in range(self.table.VectorLen(offset))]

    def texts(self, field: int) -> list[str]:
        offset = self.table.Offset(4 + 2 * field)
        return [self.table.String(self.table.Vector(offset) + 4 * i).decode() for i in range(self.table.VectorLen(offset))]

    def vector(self, field: int, flags: type) -> list[float]:
        return self.table.GetVectorAsNumpy(flags, self.table.Offset(4 + 2 * field)).tolist()

    def number(self, field: int, flags: type) -> float:
        offset = self.table.Offset(4 + 2 * field)
        return self.table.Get(flags, self.table.Pos + offset) if offset else 0

    def is_set(self, field: int) -> bool:
        return self.table.Offset(4 + 2 * field) != 0


FLOAT, UINT, INT, BYTE = number_types.Float32Flags, number_types.Uint32Flags, number_types.Int32Flags, number_types.Int8Flags
BOOL, UBYTE = number_types.BoolFlags, number_types.Uint8Flags


def graph_of(metadata: DetectorMetadata) -> ByHand:
    (graph,) = ByHand.root(metadata_bytes(metadata), b"M001").children(3)
    return graph


def test_the_model() -> None:
    root = ByHand.root(metadata_bytes(PLAIN), b"M001")
    assert root.text(0) == "a detector"
    assert root.text(7) == "1.2.0"  # tensor groups came with it; older parsers may still refuse what they do not need
    assert ByHand.root(metadata_bytes(dataclasses.replace(PLAIN, fitting=FITTING)), b"M001").text(7) == "1.5.0"


def test_the_input() -> None:
    (image,) = graph_of(PLAIN).children(2)
    assert image.text(0) == "image"
    content = image.child(3)
    assert content.number(0, UBYTE) == 2  # ImageProperties
    assert content.child(1).number(0, BYTE) == 1  # RGB
    assert [content.child(1).child(1).number(field, UINT) for field in (0, 1)] == [128, 96]  # width, height
    (unit,) = image.children(4)
    assert unit.number(0, UBYTE) == 1  # NormalizationOptions
    assert (unit.child(1).vector(0, FLOAT), unit.child(1).vector(1, FLOAT)) == ([127.5], [127.5])


def test_channels_have_means_of_their_own() -> None:
    (unit,) = graph_of(CHANNELS).children(2)[0].children(4)
    assert unit.child(1).vector(0, FLOAT) == pytest.approx([123.68, 116.779, 103.939])
    assert unit.child(1).vector(1, FLOAT) == [1.0, 1.0, 1.0]  # as many as means


def test_a_gray_input() -> None:
    metadata = dataclasses.replace(PLAIN, input_shape=(64, 64, 1), mean=(127.5,), std=(127.5,))
    assert graph_of(metadata).children(2)[0].child(3).child(1).number(0, BYTE) == 2  # GRAYSCALE


def test_the_outputs_with_suppression() -> None:
    graph = graph_of(PLAIN)
    boxes, classes, scores, count = graph.children(3)
    assert [output.text(0) for output in (boxes, classes, scores, count)] == ["location", "category", "score", "number of detections"]
    assert [output.child(3).number(0, UBYTE) for output in (boxes, classes, scores, count)] == [3, 1, 1, 1]
    properties = boxes.child(3).child(1)
    assert properties.vector(0, UINT) == [1, 0, 3, 2]  # left is the second of y_min, x_min, y_max, x_max
    assert (properties.number(1, BYTE), properties.number(2, BYTE)) == (1, 0)  # boundaries, as shares
    assert [boxes.child(3).child(2).number(field, INT) for field in (0, 1)] == [2, 2]
    (file,) = classes.children(6)
    assert (file.text(0), file.number(2, BYTE)) == ("labels.txt", 3)  # TENSOR_VALUE_LABELS
    (unit,) = scores.children(4)
    assert (unit.number(0, UBYTE), unit.child(1).number(0, FLOAT)) == (3, 0.25)
    (group,) = graph.children(8)
    assert (group.text(0), group.texts(1)) == ("detection_result", ["location", "category", "score"])
    assert not graph.is_set(9)


@pytest.mark.parametrize("flavour", ["raw", "decoded"])
def test_the_outputs_without_suppression(flavour: str) -> None:
    graph = graph_of(dataclasses.replace(PLAIN, flavour=flavour))
    boxes, scores = graph.children(3)
    assert (boxes.text(0), scores.text(0)) == ("location", "score")
    (file,) = scores.children(6)
    assert (file.text(0), file.number(2, BYTE)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
    assert not graph.is_set(8)


def test_anchors_for_mediapipe() -> None:
    anchors = np.array([[0.25, 0.5, 0.125, 0.75], [0.5, 0.5, 1, 1]], np.float32)
    metadata = dataclasses.replace(PLAIN, flavour="raw", decoding=RawDecoding(anchors, FasterRcnnBoxCoder(10, 9, 5, 4), 2))
    (note,) = graph_of(metadata).children(9)
    assert note.text(0) == "DETECTOR_METADATA"
    assert note.table.Vector(note.table.Offset(4 + 2 * 1)) % 16 == 0  # force_align: 16
    options = ByHand.root(bytes(note.vector(1, UBYTE)), b"V001")
    assert options.text(0) == "1.0.0"
    first, second = options.child(1).child(0).children(0)
    assert [first.number(field, FLOAT) for field in range(4)] == [0.5, 0.25, 0.75, 0.125]  # x, y, width, height
    assert [second.number(field, FLOAT) for field in range(4)] == [0.5, 0.5, 1.0, 1.0]
    decoding = options.child(2)
    assert [decoding.number(field, INT) for field in (0, 1, 2, 5)] == [2, 2, 4, 2]  # classes, boxes, coordinates
    assert [decoding.number(field, FLOAT) for field in (6, 7, 8, 9)] == [9, 10, 4, 5]  # x, y, w, h
    assert [bool(decoding.number(field, BOOL)) for field in (10, 11)] == [True, False]  # exponential, sigmoid


def test_padding_is_a_note_of_ours() -> None:
    (note,) = graph_of(dataclasses.replace(PLAIN, fitting=FITTING)).children(9)
    assert note.text(0) == "IMAGE_RESIZER"
    assert json.loads(bytes(note.vector(1, UBYTE))) == {
        "keep_aspect_ratio_resizer": {
            "min_dimension": 300,
            "max_dimension": 320,
            "pad_to_max_dimension": True,
            "per_channel_pad_value": [0.0, 0.5, 0.0],
            "resize_method": "BILINEAR",
        }
    }


@pytest.fixture(scope="module")
def tiny() -> bytes:
    """A `.tflite` that doubles its input."""
    double = tf.function(lambda x: x * 2.0, input_signature=[tf.TensorSpec([1, 4], tf.float32)])
    return tf.lite.TFLiteConverter.from_concrete_functions([double.get_concrete_function()]).convert()


def test_a_file_holds_table_and_labels_and_still_runs(tiny: bytes) -> None:
    content = with_metadata(tiny, PLAIN)
    model = tflite_schema.Model.GetRootAs(content, 0)
    entries = {model.Metadata(i).Name(): model.Metadata(i).Buffer() for i in range(model.MetadataLength())}
    assert b"min_runtime_version" in entries  # what the converter wrote is kept
    assert model.Buffers(entries[b"TFLITE_METADATA"]).DataAsNumpy().tobytes() == metadata_bytes(PLAIN)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (info,) = archive.infolist()
        assert (info.filename, info.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert archive.read("labels.txt").decode() == "cat\ndôg\n"
        assert archive.testzip() is None
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.float32([[1, 2, 3, 4]]))
    interpreter.invoke()
    assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist() == [[2, 4, 6, 8]]
    assert with_metadata(tiny, PLAIN) == content


@pytest.mark.parametrize("metadata", [PLAIN, CHANNELS, dataclasses.replace(PLAIN, fitting=FITTING)], ids=["plain", "channels", "padded"])
def test_read_back(tiny: bytes, metadata: DetectorMetadata) -> None:
    assert read_input_metadata(tiny, "here") is None
    found = read_input_metadata(with_metadata(tiny, metadata), "here")
    assert found is not None
    mean, std = (metadata.mean, metadata.std) if metadata is CHANNELS else ((127.5,), (127.5,))
    assert found == InputMetadata(pytest.approx(mean), std, metadata.fitting, "labels.txt")


def test_of_a_detector(model: TrainedModel) -> None:
    metadata = detector_metadata(model.detector, ("cat", "class_2", "bird"), name="ssd")
    assert metadata.input_shape == (96, 128, 3)
    assert (metadata.mean, metadata.std) == (pytest.approx((127.5,) * 3), pytest.approx((127.5,) * 3))
    assert metadata.score_threshold == pytest.approx(1e-8)
    assert (metadata.fitting, metadata.decoding) == (None, None)
    # EfficientNet: (x / 255 - mean) / std of ImageNet.
    scaling = PixelScaling((1 / 255 / 0.229, 1 / 255 / 0.224, 1 / 255 / 0.225), (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225))
    resizer = KeepAspectRatioResizer(300, 320, pad_to_max_dimension=True, per_channel_pad_value=(0.0, 0.5, 0.0))
    other = dataclasses.replace(model.detector, normalize=scaling, image_resizer=resizer)
    metadata = detector_metadata(other, ("cat", "class_2", "bird"), name="ssd", flavour="raw")
    assert metadata.mean == pytest.approx((255 * 0.485, 255 * 0.456, 255 * 0.406))
    assert metadata.std == pytest.approx((255 * 0.229, 255 * 0.224, 255 * 0.225))
    assert metadata.fitting == FITTING
    assert metadata.decoding is not None
    top, left, bottom, right = model.detector.anchors[5]
    assert metadata.decoding.anchors[5] == pytest.approx([(top + bottom) / 2, (left + right) / 2, bottom - top, right - left], abs=1e-6)


@pytest.mark.parametrize("size", [(3, 6), (6, 3), (50, 51), (640, 480), (1, 900), (333, 500)])
def test_padding_without_tensorflow_is_the_resizer_of_training(size: tuple[int, int]) -> None:
    image = np.random.default_rng(size[0]).integers(0, 256, (*size, 3), np.uint8)
    fitting = KeepAspectRatio(28, 33)
    resizer = KeepAspectRatioResizer(28, 33, pad_to_max_dimension=True, per_channel_pad_value=(5.0, 6.0, 7.0))
    if min(size) == 1:
        found, share = fitting(image, np.float32([5, 6, 7]))
        assert share == (1 / 33, 1.0)  # no side becomes 0
        assert np.all(found[1:] == [5, 6, 7])
        return
    expected, true_shape = resizer(tf.constant(image))
    found, share = fitting(image, np.float32([5, 6, 7]))
    assert share == tuple((true_shape / 33).numpy().tolist())
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


BROKEN_NOTES = {
    "not json": b"{",
    "another resizer": b'{"fixed_shape_resizer": {}}',
    "a list": b"[]",
    "a text": b'{"keep_aspect_ratio_resizer": "x"}',
    "too large": FITTING.to_json().replace("320", "1000000000").encode(),
    "not a number": FITTING.to_json().replace("0.5", "NaN").encode(),
    "deep": b"[" * 100_000,
    "not text": b"\xff\xfe\xff",
}


@pytest.mark.parametrize("name", BROKEN_NOTES)
def test_a_broken_note_is_one_line(tiny: bytes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeepAspectRatio, "to_json", lambda self: BROKEN_NOTES[name].decode("latin-1"))
    content = with_metadata(tiny, dataclasses.replace(PLAIN, fitting=FITTING))
    with pytest.raises(InputError, match=r"^model\.tflite: its metadata \(TFLITE_METADATA\) cannot be read: ") as error:
        read_input_metadata(content, "model.tflite")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("mean", "std"), [((1.0, 2.0), (1.0, 2.0)), ((np.nan,) * 3, (1.0,) * 3), ((1.0,), (0.0,))], ids=["two", "nan", "zero"]
)
def test_a_broken_normalisation_is_one_line(tiny: bytes, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"^here: .*normalisation"):
        read_input_metadata(with_metadata(tiny, dataclasses.replace(PLAIN, mean=mean, std=std)), "here")


def test_damaged_bytes_are_refused_or_read(tiny: bytes) -> None:
    content = bytearray(with_metadata(tiny, dataclasses.replace(PLAIN, fitting=FITTING)))
    generator = np.random.default_rng(0)
    num_refused = 0
    for _ in range(600):
        damaged = content.copy()
        for place in generator.integers(0, len(content), 6):
            damaged[place] = generator.integers(256)
        cut = bytes(damaged[: generator.integers(8, len(content))])
        for candidate in (bytes(damaged), cut):
            try:
                read_input_metadata(candidate, "here")
            except InputError:
                num_refused += 1
    assert num_refused > 300


def test_a_table_reads_back_what_was_packed() -> None:
    content = pack_table(Table({0: "ä", 2: np.int8(3), 3: [Table({0: "b"}), Table({})], 5: np.array([1, 2], np.float32), 6: []}), b"TEST")
    root = TableReader.of_root(content, b"TEST")
    assert (root.text(0), root.text(1), root.byte(2), root.byte(9)) == ("ä", "", 3, 0)
    assert [table.text(0) for table in root.tables(3)] == ["b", ""]
    assert root.numbers(5, np.float32).tolist() == [1, 2]
    assert (root.tables(6), root.table(7), root.numbers(4, np.uint8).size) == ([], None, 0)
    with pytest.raises(BrokenTableError, match="identifier"):
        TableReader.of_root(content, b"ELSE")


def test_packing_a_finished_file_again_loses_its_labels(tiny: bytes) -> None:
    """Why `with_metadata` comes last."""
    content = pack(tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAs(with_metadata(tiny, PLAIN), 0)))
    assert not zipfile.is_zipfile(io.BytesIO(content))
    assert read_input_metadata(content, "here") is not None
