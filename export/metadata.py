"""TFLite Model Metadata: what an app must know to run a file, inside the file. MediaPipe Tasks and the TFLite Task Library read it.

A table in a buffer of the model says what the input and outputs are; a zip, appended to the file and not compressed, holds the labels.
The classes of a `.tflite` count from 0: line i of `labels.txt` is class i.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated

from export import metadata_schema as schema
from export.flat_tables import Table, Value, pack_table
from export.flavours import Flavour
from export.input_metadata import KeepAspectRatio
from export.tail import pack, unpack
from object_detection_ext import boxes as box_ops
from object_detection_ext.data.resize import KeepAspectRatioResizer
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.targets.box_coder import FasterRcnnBoxCoder

LABELS_FILE = "labels.txt"
LOCATION, CATEGORY, SCORE, COUNT = "location", "category", "score", "number of detections"  # MediaPipe finds the outputs by these names


@dataclass(frozen=True)
class RawDecoding:
    """How MediaPipe turns box encodings into boxes (`DETECTOR_METADATA`).

    Attributes:
        anchors: [A, 4] float32, centre form (y, x, height, width), normalised.
        num_classes: columns of the class scores.
    """

    anchors: np.ndarray
    box_coder: FasterRcnnBoxCoder
    num_classes: int


@dataclass(frozen=True)
class DetectorMetadata:
    """What a file says about itself.

    Attributes:
        name: of the model.
        labels: the classes' names, by class index.
        input_shape: height, width and channels.
        mean: per channel; the network's input is (pixel - mean) / std.
        std: per channel.
        score_threshold: below which nothing is given out.
        fitting: None where the image is stretched to the input.
        flavour: what its outputs are.
        decoding: for `raw` with anchors that MediaPipe can use.
    """

    name: str
    labels: Sequence[str]
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    score_threshold: float
    fitting: KeepAspectRatio | None = None
    flavour: Flavour = "nms"
    decoding: RawDecoding | None = None


def detector_metadata(detector: SsdDetector, labels: Sequence[str], *, name: str, flavour: Flavour = "nms") -> DetectorMetadata:
    """The metadata of a detector's files."""
    channels = detector.input_shape[2]
    scale, offset = (
        np.broadcast_to(value, (channels,)).astype(np.float64) for value in (detector.normalize.scale, detector.normalize.offset)
    )
    resizer, coder, decoding = detector.image_resizer, detector.box_coder, None
    fitting = None
    if isinstance(resizer, KeepAspectRatioResizer) and resizer.pads:
        fitting = KeepAspectRatio(resizer.min_dimension, resizer.max_dimension, tuple(resizer.per_channel_pad_value), resizer.method)
    if flavour == "raw" and isinstance(coder, FasterRcnnBoxCoder):
        anchors = np.asarray(box_ops.corners_to_centers(tf.constant(detector.anchors)))
        decoding = RawDecoding(anchors, coder, detector.num_classes)
    return DetectorMetadata(
        name=name,
        labels=labels,
        input_shape=detector.input_shape,
        mean=tuple((-offset / scale).tolist()),
        std=tuple((1.0 / scale).tolist()),
        score_threshold=detector.postprocessing.score_threshold,
        fitting=fitting,
        flavour=flavour,
        decoding=decoding,
    )


def with_metadata(content: bytes, metadata: DetectorMetadata) -> bytes:
    """A finished `.tflite` with its metadata; what packs the model again afterwards loses the labels."""
    model = unpack(content)
    entry = schema_py_generated.MetadataT()
    entry.name, entry.buffer = schema.METADATA_NAME.encode(), len(model.buffers)
    buffer = schema_py_generated.BufferT()
    buffer.data = np.frombuffer(metadata_bytes(metadata), np.uint8)
    model.buffers.append(buffer)
    model.metadata = [*(other for other in model.metadata or [] if other.name != entry.name), entry]
    return _with_file(pack(model), LABELS_FILE, "".join(f"{label}\n" for label in metadata.labels))


def metadata_bytes(metadata: DetectorMetadata) -> bytes:
    """The table `ModelMetadata`."""
    notes = _notes(metadata)
    groups = [_group("detection_result", (LOCATION, CATEGORY, SCORE))] if metadata.flavour == "nms" else []
    graph = {
        schema.SubGraphMetadata.INPUT_TENSOR_METADATA: [_input(metadata)],
        schema.SubGraphMetadata.OUTPUT_TENSOR_METADATA: _outputs(metadata),
        schema.SubGraphMetadata.OUTPUT_TENSOR_GROUPS: groups,
        schema.SubGraphMetadata.CUSTOM_METADATA: [_note(name, data) for name, data in notes.items()],
    }
    fields = {
        schema.ModelMetadata.NAME: metadata.name,
        schema.ModelMetadata.DESCRIPTION: f"Finds objects of {len(metadata.labels)} classes in an image.",
        schema.ModelMetadata.SUBGRAPH_METADATA: [Table(graph)],
        # The version that brought the newest of the fields used: custom metadata 1.5.0, tensor groups 1.2.0.
        schema.ModelMetadata.MIN_PARSER_VERSION: "1.5.0" if notes else "1.2.0",
    }
    return pack_table(Table(fields), schema.METADATA_IDENTIFIER)


def _input(metadata: DetectorMetadata) -> Table:
    height, width, channels = metadata.input_shape
    size = {schema.ImageSize.WIDTH: np.uint32(width), schema.ImageSize.HEIGHT: np.uint32(height)}
    color_space = schema.ColorSpace.RGB if channels == 3 else schema.ColorSpace.GRAYSCALE
    image = {schema.ImageProperties.COLOR_SPACE: np.int8(color_space), schema.ImageProperties.DEFAULT_SIZE: Table(size)}
    normalization = dict(zip(schema.NormalizationOptions, _per_channel(metadata), strict=True))
    how = "stretched to the input's size"
    if metadata.fitting is not None:
        how = f"scaled with its aspect ratio kept and padded at the bottom and the right, as {metadata.fitting.to_json()}"
    return _tensor(
        "image",
        f"An image, {how}, with bilinear interpolation on TensorFlow 1's grid (no half-pixel centres).",
        _content(schema.ContentProperties.IMAGE, image),
        units=[_unit(schema.ProcessUnitOptions.NORMALIZATION, normalization)],
    )


def _outputs(metadata: DetectorMetadata) -> list[Table]:
    box = {
        schema.BoundingBoxProperties.INDEX: np.array([1, 0, 3, 2], np.uint32),  # left, top, right, bottom in (y, x, y, x)
        schema.BoundingBoxProperties.TYPE: np.int8(schema.BoundingBoxType.BOUNDARIES),
        schema.BoundingBoxProperties.COORDINATE_TYPE: np.int8(0),
    }
    threshold = {schema.ScoreThresholdingOptions.GLOBAL_SCORE_THRESHOLD: np.float32(metadata.score_threshold)}
    units = [_unit(schema.ProcessUnitOptions.SCORE_THRESHOLDING, threshold)]
    each, feature = _range(2), schema.ContentProperties.FEATURE
    if metadata.flavour == "nms":
        labels = _labels(schema.AssociatedFileType.TENSOR_VALUE_LABELS)
        return [
            _tensor(LOCATION, "Boxes: top, left, bottom, right.", _content(schema.ContentProperties.BOUNDING_BOX, box, each)),
            _tensor(CATEGORY, "Classes, from 0.", _content(feature, {}, each), files=[labels]),
            _tensor(SCORE, "Scores, best first.", _content(feature, {}, each), units=units),
            _tensor(COUNT, "How many rows of the others are detections.", _content(feature, {})),
        ]
    labels = _labels(schema.AssociatedFileType.TENSOR_AXIS_LABELS)
    boxes = "Boxes: top, left, bottom, right." if metadata.flavour == "decoded" else "Box encodings: y, x, height, width, one an anchor."
    return [
        # MediaPipe demands boundaries here, whatever the encoding.
        _tensor(LOCATION, boxes, _content(schema.ContentProperties.BOUNDING_BOX, box, each)),
        _tensor(SCORE, "A score for each class, 0 to 1.", _content(feature, {}, each), units=units, files=[labels]),
    ]


def _notes(metadata: DetectorMetadata) -> Mapping[str, bytes]:
    notes = {}
    if metadata.decoding is not None:
        notes[schema.DETECTOR_METADATA_NAME] = _detector_options(metadata.decoding)
    if metadata.fitting is not None:
        notes[schema.RESIZER_NOTE_NAME] = metadata.fitting.to_json().encode()
    return notes


def _detector_options(decoding: RawDecoding) -> bytes:
    """`ObjectDetectorOptions` of MediaPipe's schema: anchors, and how to decode box encodings (y, x, height, width) by them."""
    places = (schema.FixedAnchor.Y_CENTER, schema.FixedAnchor.X_CENTER, schema.FixedAnchor.HEIGHT, schema.FixedAnchor.WIDTH)
    anchors = [Table(dict(zip(places, anchor.astype(np.float32), strict=True))) for anchor in decoding.anchors]
    field, coder = schema.TensorsDecodingOptions, decoding.box_coder
    options = {
        field.NUM_CLASSES: np.int32(decoding.num_classes),
        field.NUM_BOXES: np.int32(len(anchors)),
        field.NUM_COORDS: np.int32(4),
        field.NUM_VALUES_PER_KEYPOINT: np.int32(2),  # MediaPipe aborts on others, keypoints or not
        field.X_SCALE: np.float32(coder.x_scale),
        field.Y_SCALE: np.float32(coder.y_scale),
        field.W_SCALE: np.float32(coder.width_scale),
        field.H_SCALE: np.float32(coder.height_scale),
        field.APPLY_EXPONENTIAL_ON_BOX_SIZE: np.bool_(True),
        field.SIGMOID_SCORE: np.bool_(False),
    }
    root = {
        schema.ObjectDetectorOptions.MIN_PARSER_VERSION: "1.0.0",
        schema.ObjectDetectorOptions.SSD_ANCHORS_OPTIONS: Table(
            {schema.SsdAnchorsOptions.FIXED_ANCHORS_SCHEMA: Table({schema.FixedAnchorsSchema.ANCHORS: anchors})}
        ),
        schema.ObjectDetectorOptions.TENSORS_DECODING_OPTIONS: Table(options),
    }
    return pack_table(Table(root), schema.DETECTOR_METADATA_IDENTIFIER)


def _per_channel(metadata: DetectorMetadata) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations; one of each where all channels have the same: MediaPipe takes no others."""
    mean, std = np.array(metadata.mean, np.float32), np.array(metadata.std, np.float32)
    is_one = bool(np.all(mean == mean[0]) and np.all(std == std[0]))
    return (mean[:1], std[:1]) if is_one else (mean, std)


def _tensor(name: str, description: str, content: Table, *, units: Sequence[Table] = (), files: Sequence[Table] = ()) -> Table:
    fields: dict[Any, Value] = {schema.TensorMetadata.NAME: name, schema.TensorMetadata.DESCRIPTION: description}
    fields |= {schema.TensorMetadata.CONTENT: content, schema.TensorMetadata.PROCESS_UNITS: units}
    return Table(fields | {schema.TensorMetadata.ASSOCIATED_FILES: files})


def _content(kind: schema.ContentProperties, properties: Mapping[Any, Value], dimensions: Table | None = None) -> Table:
    fields: dict[Any, Value] = {schema.Content.PROPERTIES_TYPE: np.uint8(kind), schema.Content.PROPERTIES: Table(properties)}
    return Table(fields if dimensions is None else fields | {schema.Content.RANGE: dimensions})


def _range(dimension: int) -> Table:
    return Table({schema.ValueRange.MIN: np.int32(dimension), schema.ValueRange.MAX: np.int32(dimension)})


def _unit(kind: schema.ProcessUnitOptions, options: Mapping[Any, Value]) -> Table:
    return Table({schema.ProcessUnit.OPTIONS_TYPE: np.uint8(kind), schema.ProcessUnit.OPTIONS: Table(options)})


def _labels(kind: schema.AssociatedFileType) -> Table:
    fields: dict[Any, Value] = {schema.AssociatedFile.NAME: LABELS_FILE, schema.AssociatedFile.TYPE: np.int8(kind)}
    return Table(fields | {schema.AssociatedFile.DESCRIPTION: "Names of the classes: line i is class i, from 0."})


def _group(name: str, tensors: Sequence[str]) -> Table:
    return Table({schema.TensorGroup.NAME: name, schema.TensorGroup.TENSOR_NAMES: tensors})


def _note(name: str, data: bytes) -> Table:
    return Table({schema.CustomMetadata.NAME: name, schema.CustomMetadata.DATA: data})


def _with_file(content: bytes, name: str, text: str) -> bytes:
    """Appends a zip of one file, uncompressed and without a time, so that an export gives the same bytes again."""
    stream = io.BytesIO()
    stream.write(content)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(name), text.encode())
    return stream.getvalue()
