"""The encoded image behind a row of a summary, for whoever wants to show it."""

from __future__ import annotations

from pathlib import Path

from data_tools.checks.record_features import read_features
from data_tools.checks.summary import ReaderSummary
from data_tools.record_file import RecordPosition, read_record_at
from object_detection_ext.errors import InputError


def read_encoded_image(reader: ReaderSummary, image: int) -> bytes:
    """The encoded image of record `image` of the set, or the content of the image file in a source folder.

    Raises:
        InputError: the record or the file cannot be read, or has no image.
    """
    place = reader.place(image)
    if not reader.is_record_set:
        try:
            return Path(place.path).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {place.path}: {error.strerror or error}") from error
    position = RecordPosition(place.index, int(reader.offsets[image]), 0)
    encoded = read_features(read_record_at(Path(place.path), position), place)[0].encoded
    if not encoded:
        raise InputError(f"{place}: image/encoded is empty or missing")
    return encoded
