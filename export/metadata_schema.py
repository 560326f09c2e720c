"""Field numbers of the tables that the metadata of a detector needs.

Sources: tensorflow_lite_support/metadata/metadata_schema.fbs 1.5.0 (the same file is in mediapipe/tasks/metadata) and
mediapipe/tasks/metadata/object_detector_metadata_schema.fbs 1.0.0. A field's number is its place in the table; a union takes two of them,
its kind first.
"""

from __future__ import annotations

from enum import IntEnum

METADATA_NAME = "TFLITE_METADATA"  # of the entry in the model's own list
METADATA_IDENTIFIER = b"M001"
DETECTOR_METADATA_NAME = "DETECTOR_METADATA"  # mediapipe/tasks/cc/components/processors/detection_postprocessing_graph.cc
DETECTOR_METADATA_IDENTIFIER = b"V001"
RESIZER_NOTE_NAME = "IMAGE_RESIZER"  # ours: see `input_metadata.KeepAspectRatio`


class Model(IntEnum):
    """tensorflow/compiler/mlir/lite/schema/schema.fbs."""

    BUFFERS = 4
    METADATA = 6


class ModelMetadataEntry(IntEnum):
    """`Metadata` of the same file."""

    NAME = 0
    BUFFER = 1


class Buffer(IntEnum):
    DATA = 0


class AssociatedFile(IntEnum):
    NAME = 0
    DESCRIPTION = 1
    TYPE = 2


class AssociatedFileType(IntEnum):
    TENSOR_AXIS_LABELS = 2
    TENSOR_VALUE_LABELS = 3


class ImageSize(IntEnum):
    WIDTH = 0
    HEIGHT = 1


class ImageProperties(IntEnum):
    COLOR_SPACE = 0
    DEFAULT_SIZE = 1


class ColorSpace(IntEnum):
    RGB = 1
    GRAYSCALE = 2


class BoundingBoxProperties(IntEnum):
    INDEX = 0
    TYPE = 1
    COORDINATE_TYPE = 2


class BoundingBoxType(IntEnum):
    BOUNDARIES = 1  # coordinate type 0 is a share of the image


class ContentProperties(IntEnum):
    """The kinds of the union."""

    FEATURE = 1
    IMAGE = 2
    BOUNDING_BOX = 3


class ValueRange(IntEnum):
    MIN = 0
    MAX = 1


class Content(IntEnum):
    PROPERTIES_TYPE = 0
    PROPERTIES = 1
    RANGE = 2


class NormalizationOptions(IntEnum):
    MEAN = 0
    STD = 1


class ScoreThresholdingOptions(IntEnum):
    GLOBAL_SCORE_THRESHOLD = 0


class ProcessUnitOptions(IntEnum):
    """The kinds of the union."""

    NORMALIZATION = 1
    SCORE_THRESHOLDING = 3


class ProcessUnit(IntEnum):
    OPTIONS_TYPE = 0
    OPTIONS = 1


class TensorGroup(IntEnum):
    NAME = 0
    TENSOR_NAMES = 1


class TensorMetadata(IntEnum):
    NAME = 0
    DESCRIPTION = 1
    CONTENT = 3
    PROCESS_UNITS = 4
    ASSOCIATED_FILES = 6


class CustomMetadata(IntEnum):
    NAME = 0
    DATA = 1


class SubGraphMetadata(IntEnum):
    INPUT_TENSOR_METADATA = 2
    OUTPUT_TENSOR_METADATA = 3
    OUTPUT_TENSOR_GROUPS = 8
    CUSTOM_METADATA = 9


class ModelMetadata(IntEnum):
    NAME = 0
    DESCRIPTION = 1
    SUBGRAPH_METADATA = 3
    MIN_PARSER_VERSION = 7


class FixedAnchor(IntEnum):
    X_CENTER = 0
    Y_CENTER = 1
    WIDTH = 2
    HEIGHT = 3


class FixedAnchorsSchema(IntEnum):
    ANCHORS = 0


class SsdAnchorsOptions(IntEnum):
    FIXED_ANCHORS_SCHEMA = 0


class TensorsDecodingOptions(IntEnum):
    NUM_CLASSES = 0
    NUM_BOXES = 1
    NUM_COORDS = 2
    NUM_VALUES_PER_KEYPOINT = 5
    X_SCALE = 6
    Y_SCALE = 7
    W_SCALE = 8
    H_SCALE = 9
    APPLY_EXPONENTIAL_ON_BOX_SIZE = 10
    SIGMOID_SCORE = 11


class ObjectDetectorOptions(IntEnum):
    MIN_PARSER_VERSION = 0
    SSD_ANCHORS_OPTIONS = 1
    TENSORS_DECODING_OPTIONS = 2
