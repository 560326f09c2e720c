"""What one image of a data set is seen to be: small enough to be sent from a worker process, a million times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from data_tools.checks.classes import NamedClass
from data_tools.checks.fingerprint import Fingerprint
from object_detection_ext.findings import Finding, RecordPlace

NO_BOXES = np.zeros((0, 4), np.float32)
NONE = np.zeros(0, bool)


class Observation(NamedTuple):
    """One image with its N objects, and what its own checks found."""

    place: RecordPlace
    offset: int = 0  # byte of the file at which the record's frame starts
    name: str = ""  # source id, or file name without one
    source_id: str = ""
    size: tuple[int, int] = (0, 0)  # height, width in pixels as stored; 0 where unknown
    boxes: np.ndarray = NO_BOXES  # [N, 4] float32, ymin, xmin, ymax, xmax
    classes: tuple[NamedClass, ...] = ()  # N
    object_places: tuple[str, ...] = ()  # N places in an annotation file; empty for a record
    is_crowd: np.ndarray = NONE  # [N] bool
    is_sound: np.ndarray = NONE  # [N] bool
    digest: bytes = b""  # SHA-256 of the encoded image; empty where images are not read
    fingerprint: Fingerprint | None = None
    is_readable: bool = True  # False where the record or its lists are damaged
    findings: tuple[Finding, ...] = ()


class Failure(NamedTuple):
    """An entry of a source folder whose annotation or image file cannot be read at all."""

    finding: Finding
