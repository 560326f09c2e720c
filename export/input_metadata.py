"""What a `.tflite` says about its input: how pixels are normalised and the image fitted, and where the labels are. No TensorFlow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from export import metadata_schema as schema
from export.flat_tables import BrokenTableError, TableReader
from object_detection_ext.data.bilinear import resize_bilinear
from object_detection_ext.errors import InputError

_RESIZER = "keep_aspect_ratio_resizer"  # the message of the config that it stands for
_MAX_SIDE = 1 << 14


@dataclass(frozen=True)
class KeepAspectRatio:
    """An image scaled with its aspect ratio kept, then padded at the bottom and the right to a square.

    The schema of TFLite's metadata has no field for it: an image tensor is taken to be the stretched image. So a file says it in a
    custom entry, `IMAGE_RESIZER`, as JSON in the config's words, and in the description of its input.

    Attributes:
        min_dimension: length of the shorter side, unless the longer one would exceed `max_dimension`.
        max_dimension: side of the square.
        pad_value: of the padding, one per channel, in the network's input (after normalisation).
        method: of the resize, as the config calls it.
    """

    min_dimension: int
    max_dimension: int
    pad_value: tuple[float, ...] = (0.0, 0.0, 0.0)
    method: str = "bilinear"

    def __post_init__(self) -> None:
        if not 1 <= self.min_dimension <= self.max_dimension <= _MAX_SIDE:
            raise ValueError(f"expected 1 <= min_dimension <= max_dimension <= {_MAX_SIDE}, got {self.min_dimension}, {self.max_dimension}")
        if len(self.pad_value) != 3 or not all(math.isfinite(value) for value in self.pad_value):
            raise ValueError(f"per_channel_pad_value must be 3 numbers, got {list(self.pad_value)}")

    def __call__(self, image: np.ndarray, pad_pixel: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
        """Fits an image; always bilinear.

        Args:
            image: [H, W, 3], any real dtype.
            pad_pixel: [3] float, the padding before normalisation.

        Returns:
            [max_dimension, max_dimension, 3] float32, and the share of its height and width that the image takes.
        """
        size = np.array(image.shape[:2], np.float32)
        shorter_first = image.shape[0] < image.shape[1]
        limits = (self.min_dimension, self.max_dimension) if shorter_first else (self.max_dimension, self.min_dimension)
        scale = (np.array(limits, np.float32) / size).min()  # in float32 and rounded to even, as TensorFlow does
        height, width = (max(1, int(side)) for side in np.round(scale * size))
        padded = np.broadcast_to(pad_pixel.astype(np.float32), (self.max_dimension, self.max_dimension, 3)).copy()
        padded[:height, :width] = resize_bilinear(image, (height, width))
        return padded, (height / self.max_dimension, width / self.max_dimension)

    def to_json(self) -> str:
        """The custom entry."""
        fields = {"min_dimension": self.min_dimension, "max_dimension": self.max_dimension, "pad_to_max_dimension": True}
        fields |= {"per_channel_pad_value": list(self.pad_value), "resize_method": self.method.upper()}
        return json.dumps({_RESIZER: fields})

    @staticmethod
    def from_json(text: str | bytes) -> KeepAspectRatio:
        """The inverse of `to_json`.

        Raises:
            ValueError: It is something else.
        """
        try:
            fields: Mapping[str, Any] = json.loads(text)[_RESIZER]
            sides = [fields["min_dimension"], fields["max_dimension"]]
            if not all(isinstance(side, int) for side in sides) or fields["pad_to_max_dimension"] is not True:
                raise ValueError(f"a {_RESIZER} with whole numbers that pads is expected")
            padding = tuple(float(value) for value in fields["per_channel_pad_value"])
            return KeepAspectRatio(sides[0], sides[1], padding, str(fields["resize_method"]).lower())
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a {_RESIZER}: {error!r}") from error


class InputMetadata(NamedTuple):
    """What a file says about its input."""

    mean: tuple[float, ...] = ()  # one for all channels or one each; the input is (pixel - mean) / std; empty where it says nothing
    std: tuple[float, ...] = ()
    fitting: KeepAspectRatio | None = None  # None: the image is stretched
    labels_file: str = ""  # in the appended zip


def read_input_metadata(content: bytes, where: object) -> InputMetadata | None:
    """The metadata of a `.tflite`, None where it has none.

    Args:
        content: The whole file.
        where: Named in errors.

    Raises:
        InputError: The metadata is broken.
    """
    try:
        buffer = _metadata_buffer(content)
        return None if buffer is None else _read(TableReader.of_root(buffer, schema.METADATA_IDENTIFIER))
    except ValueError as error:
        raise InputError(f"{where}: its metadata ({schema.METADATA_NAME}) cannot be read: {error}") from error


def _metadata_buffer(content: bytes) -> bytes | None:
    model = TableReader.of_root(content)
    for entry in model.tables(schema.Model.METADATA):
        if entry.text(schema.ModelMetadataEntry.NAME) == schema.METADATA_NAME:
            buffers, index = model.tables(schema.Model.BUFFERS), entry.integer(schema.ModelMetadataEntry.BUFFER)
            if index >= len(buffers):
                raise BrokenTableError(f"it names buffer {index} of {len(buffers)}")
            return buffers[index].numbers(schema.Buffer.DATA, np.uint8).tobytes()
    return None


def _read(metadata: TableReader) -> InputMetadata:
    graphs = metadata.tables(schema.ModelMetadata.SUBGRAPH_METADATA)
    if not graphs:
        return InputMetadata()
    graph = graphs[0]
    mean, std = _normalization(graph.tables(schema.SubGraphMetadata.INPUT_TENSOR_METADATA))
    notes = (entry for entry in graph.tables(schema.SubGraphMetadata.CUSTOM_METADATA))
    notes = [note for note in notes if note.text(schema.CustomMetadata.NAME) == schema.RESIZER_NOTE_NAME]
    fitting = KeepAspectRatio.from_json(notes[0].numbers(schema.CustomMetadata.DATA, np.uint8).tobytes()) if notes else None
    return InputMetadata(mean, std, fitting, _labels_file(graph.tables(schema.SubGraphMetadata.OUTPUT_TENSOR_METADATA)))


def _normalization(inputs: list[TableReader]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    units = inputs[0].tables(schema.TensorMetadata.PROCESS_UNITS) if inputs else []
    for unit in units:
        options = unit.table(schema.ProcessUnit.OPTIONS)
        if unit.byte(schema.ProcessUnit.OPTIONS_TYPE) == schema.ProcessUnitOptions.NORMALIZATION and options is not None:
            mean, std = (tuple(options.numbers(field, np.float32).tolist()) for field in schema.NormalizationOptions)
            if len(mean) != len(std) or len(mean) not in (1, 3):
                raise BrokenTableError(f"its normalisation has {len(mean)} means and {len(std)} deviations; 1 or 3 of each are expected")
            if not all(map(math.isfinite, mean + std)) or 0.0 in std:
                raise BrokenTableError(f"its normalisation has mean {list(mean)} and deviation {list(std)}")
            return mean, std
    return (), ()


def _labels_file(outputs: list[TableReader]) -> str:
    for output in outputs:
        for file in output.tables(schema.TensorMetadata.ASSOCIATED_FILES):
            if file.byte(schema.AssociatedFile.TYPE) in tuple(schema.AssociatedFileType):
                return file.text(schema.AssociatedFile.NAME)
    return ""
