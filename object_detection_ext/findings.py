"""What a check of a data set, a config or a model finds, in one form for every check, report and exit code."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from object_detection_ext.errors import one_line


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


@dataclass(frozen=True)
class Check:
    """One question that a check answers, as guides and reports list it; calling it makes a finding."""

    name: str
    severity: Severity
    what: str  # what it looks for, for the table of checks
    advice: str  # what to do, one line

    def __call__(
        self,
        where: object,
        message: str,
        *,
        advice: str = "",
        image: str = "",
        record: RecordPlace | None = None,
        object_index: int | None = None,
    ) -> Finding:
        """A finding of this check; `advice` takes the place of the general one."""
        words = [one_line(str(text)) for text in (where, message, advice or self.advice, image)]
        return Finding(self.name, self.severity, words[0], words[1], words[2], words[3], record, object_index)


@dataclass(frozen=True)
class FindingGroup:
    """All findings of one check, of which the first are kept."""

    check: str
    severity: Severity
    count: int  # of all
    findings: tuple[Finding, ...]  # the first, at least one


class FindingCollector:
    """Counts findings by check and keeps the first of each, so that a million broken boxes cost no memory."""

    def __init__(self, *, kept: int = 1000) -> None:
        self._kept = kept
        self._findings: dict[str, list[Finding]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, findings: Iterable[Finding]) -> None:
        """Takes findings; order within a check is kept."""
        for finding in findings:
            self._counts[finding.check] += 1
            if self._counts[finding.check] <= self._kept:
                self._findings.setdefault(finding.check, []).append(finding)

    def groups(self) -> tuple[FindingGroup, ...]:
        """Worst first, then by name."""
        groups = [FindingGroup(check, items[0].severity, self._counts[check], tuple(items)) for check, items in self._findings.items()]
        return tuple(sorted(groups, key=lambda group: (-group.severity, group.check)))
