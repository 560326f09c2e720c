"""Saying in words what is wrong with a record: before training, and for those that the pipeline had to leave out."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import tensorflow as tf

from object_detection_ext.data.decode import ExampleDecoder, source_id_of
from object_detection_ext.data.record_index import RecordIndex
from object_detection_ext.errors import InputError

_LOG = logging.getLogger(__name__)


@dataclass
class RecordMonitor:
    """Names the records that the pipeline left out, counts them, and stops the run when there are too many.

    The graph only knows that a record failed; this reads it again in Python to say why. Wrong ground truth (a class outside the label map,
    a box upside down) stops the run at once, a broken image only past `max_broken` of them.
    """

    index: RecordIndex
    decode: ExampleDecoder
    max_broken: int | None = None  # None: 10 or 1 % of the records, whichever is more
    broken: dict[int, str] = field(default_factory=dict)  # record -> what is wrong with it
    error: InputError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def check(self) -> None:
        """Raises the error that ended the data set; call it when iterating fails with a `tf.errors.OpError`."""
        if self.error is not None:
            raise self.error

    def report(self, records: np.ndarray) -> None:
        """Takes note of records that failed.

        Raises:
            InputError: wrong ground truth, or too many broken images. It is kept for `check`.
        """
        with self._lock:  # batches are made in parallel
            self.check()
            for record in records.tolist():
                if record not in self.broken:
                    self._note(record)

    def fail(self, message: str) -> NoReturn:
        """Ends the data set."""
        self.error = InputError(message)
        raise self.error

    def _note(self, record: int) -> None:
        try:
            data = self.index.read(record)
        except InputError as error:
            self.broken[record] = str(error)
        else:
            problem = self.decode.find_problem(data)
            if problem:
                self.fail(f"{_name(self.index, record, data)}: {problem}")
            self.broken[record] = f"{_name(self.index, record, data)}: {_decoding_error(self.decode, data)}"
        _LOG.warning("left out %s", self.broken[record])
        limit = max(10, len(self.index) // 100) if self.max_broken is None else self.max_broken
        if len(self.broken) > limit:
            count = f"{len(self.broken)} of {len(self.index)} images"
            self.fail(f"{count} cannot be read, more than the {limit} allowed; the last: {self.broken[record]}")


def check_records(index: RecordIndex, decode: ExampleDecoder, *, max_records: int = 10_000) -> None:
    """Reads up to `max_records` records, evenly spread, and refuses wrong ground truth before any time is spent on training.

    About 0.1 ms a record. What it does not see is caught when the pipeline meets it.

    Raises:
        InputError: names file, record, source id and object.
    """
    step = -(-len(index) // max_records)
    for record in range(0, len(index), step):
        try:
            data = index.read(record)
        except InputError:
            continue  # a damaged record is left out and counted by the pipeline
        problem = decode.find_problem(data)
        if problem:
            raise InputError(f"{_name(index, record, data)}: {problem}")


def _name(index: RecordIndex, record: int, data: bytes) -> str:
    source_id = source_id_of(data)
    return index.describe(record) + (f" (source id {source_id!r})" if source_id else "")


def _decoding_error(decode: ExampleDecoder, data: bytes) -> str:
    try:
        decode(tf.constant(data))
    except tf.errors.OpError as error:
        reason = re.sub(r"\{\{.*?\}\} |\.? \[Op:.*", "", error.message)  # which kernel on which device says nothing about the image
        return f"the image cannot be decoded ({reason})"
    return "it failed in the pipeline but decodes now; the file may have changed"
