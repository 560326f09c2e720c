"""What a check of a data set, a config or a model finds, in one form for every check, report and exit code."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Severity(enum.IntEnum):
    """How bad a finding is; an ERROR means that training should not start."""

    INFO = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True)
class RecordPlace:
    """One record of a TFRecord file."""

    path: str
    index: int  # from 0, as tf.data would number the records of this file

    def __str__(self) -> str:
        return f"{self.path}: record {self.index}"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd, in words for the person who can mend it."""

    check: str  # stable name of the check, lower_snake_case: "inverted_box"
    severity: Severity
    where: str  # file, "file:line" or str(RecordPlace)
    message: str  # what was found, with numbers, one line
    advice: str  # what to do, one line
    image: str = ""  # filename or source id of the image
    record: RecordPlace | None = None  # where a picture can be fetched and a fix applied
    object_index: int | None = None  # of the box in its record, from 0

    def __str__(self) -> str:
        image = f" ({self.image})" if self.image else ""
        return f"{self.severity.name} {self.where}{image}: {self.message}. {self.advice}"
