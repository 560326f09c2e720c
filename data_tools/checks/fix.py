"""Record files -> mended ones of the same names in another folder, with a list of what was changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from data_tools.checks.mend import MendedRecord, Mender, MendItem
from data_tools.checks.record_scan import RecordItem, list_records
from data_tools.checks.scan import TRAIN, RecordSet, Scan
from data_tools.checks.scanned_set import ScannedSet
from data_tools.checks.sets import repeated_images
from data_tools.parallel import ordered_map
from data_tools.progress import progress
from data_tools.shards import AtomicFiles
from object_detection_ext.errors import InputError, one_line

CHANGES = "changes.txt"


@dataclass
class FixSummary:
    """What `fix_records` has done."""

    paths: tuple[Path, ...]  # the files written, the list of changes last
    num_records: int = 0  # written
    num_dropped: int = 0
    num_changed: int = 0  # written with changes


def fix_records(record_sets: Sequence[RecordSet], scan: Scan, folder: Path, *, num_workers: int = 1) -> FixSummary:
    """Writes mended copies of all record files of the sets; the originals are not touched.

    A file keeps its name; where two sets have files of one name, that of the set stands before it. `changes.txt` has a line for each
    change. A file that is trained on and evaluated on is written once.

    Args:
        record_sets: what was scanned.
        scan: what the pass over them has seen: which images are there twice, or in training and evaluation.
        folder: is made where it is not there.
        num_workers: processes.

    Raises:
        InputError: a file would be written over one that is read, or cannot be written; nothing was written then.
    """
    targets = _targets(record_sets, folder)
    summary = FixSummary((*targets.values(), folder / CHANGES))
    places = {path: index for index, path in enumerate(targets)}
    with AtomicFiles(folder / "fixed", summary.paths) as files:
        written = set[str]()
        for record_set in record_sets:
            items, lines = _items(record_set, scan, written)
            written.update(record_set.paths)
            for line in lines:
                files.write(len(targets), f"{one_line(line)}\n".encode())
            mended = ordered_map(Mender(record_set.label_map), items, num_workers=num_workers)
            for item, result in zip(items, progress(mended, total=len(items), label="mending"), strict=True):
                _count(summary, result)
                if result.frame is not None:
                    files.write(places[item.record.path], result.frame)
                for change in result.changes:
                    files.write(len(targets), f"{one_line(_line(item.record, result, change))}\n".encode())
        files.commit()
    return summary


def _targets(record_sets: Sequence[RecordSet], folder: Path) -> dict[str, Path]:
    """Where the file of each path is written."""
    paths = {path: record_set.name for record_set in record_sets for path in record_set.paths}
    counts = Counter(Path(path).name for path in paths)
    names = {path: Path(path).name if counts[Path(path).name] == 1 else f"{name}_{Path(path).name}" for path, name in paths.items()}
    doubled = [name for name, count in Counter(names.values()).items() if count > 1 or name == CHANGES]
    if doubled:
        raise InputError(f"--fix cannot write {len(paths)} files into one folder: several would be called {doubled[0]}")
    sources = {Path(path).resolve() for path in paths}
    for path, name in names.items():
        if (folder / name).resolve() in sources:
            raise InputError(f"--fix {folder} would write over {path}; name a folder that holds none of the records")
    return {path: folder / name for path, name in names.items()}


def _items(record_set: RecordSet, scan: Scan, written: Set[str]) -> tuple[list[MendItem], list[str]]:
    """The records of a set with the reasons to leave some out, and a line for each damaged file; without files already `written`."""
    scanned = next(each for each in scan.sets if each.summary.name == record_set.name)
    drops = dict(_drops(scanned, scan))
    items, lines = list[MendItem](), list[str]()
    for path in [path for path in dict.fromkeys(record_set.paths) if path not in written]:
        records, damage = list_records(path)
        items += [MendItem(record, drops.get((path, record.position.number), "")) for record in records]
        lines += [f"{finding.where}: left out, with all that follows in the file: {finding.message}" for finding in damage]
    return items, lines


def _drops(scanned: ScannedSet, scan: Scan) -> Iterator[tuple[tuple[str, int], str]]:
    """Yields the place of each record that has to go for another's sake, and why."""
    shared = scan.shared if scanned.summary.name == TRAIN else None
    reasons = {image: f"its image is that of {scanned.image_name(first)}" for image, first in repeated_images(scanned).items()}
    if shared is not None:
        evaluation = next(each for each in scan.sets if each.summary.name != TRAIN)
        for copies, word in ((shared.near, "nearly"), (shared.exact, "also")):
            for image, other in copies.items():
                if scanned.summary.place(image).path not in evaluation.summary.paths:
                    reasons[image] = f"its image is {word} evaluation's {evaluation.image_name(other)}"
    for image, reason in reasons.items():
        place = scanned.summary.place(image)
        yield (place.path, place.index), reason


def _count(summary: FixSummary, result: MendedRecord) -> None:
    summary.num_records += result.frame is not None
    summary.num_dropped += result.frame is None
    summary.num_changed += result.frame is not None and bool(result.changes)


def _line(record: RecordItem, result: MendedRecord, change: str) -> str:
    name = f" ({result.name})" if result.name else ""
    return f"{record.path}: record {record.position.number}{name}: {change}"
