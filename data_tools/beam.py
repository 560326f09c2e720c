"""`create_tf_record` on Apache Beam: the same files, each shard written by one worker.

Every worker must see images, annotations and output under the same paths, on one machine or on a file system that all of them mount, and
have this package installed. Through Beam go only the names of shards: images go from file to shard, annotations and counts through files.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import pickle
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_tools.annotated_image import Source
from data_tools.conversion import finish, note_other_shards
from data_tools.conversion_plan import ConversionPlan, plan_conversion
from data_tools.conversion_summary import Summary
from data_tools.progress import progress
from data_tools.shard_work import load_report, merge_reports, save_report, split_work, write_shard
from data_tools.shards import AtomicFiles
from data_tools.write_options import DEFAULT_OPTIONS, WriteOptions
from object_detection_ext.errors import InputError

IN_PROCESS = "--runner=FnApiRunner"  # what Beam's DirectRunner falls back to after it has tried to download another runner
_POLL_SECONDS = 0.5


class Task(NamedTuple):
    """One shard, as it goes through Beam."""

    folder: str  # absolute; all workers see it
    shard: int
    digest: str  # SHA-256 of the file that says what to do: nothing is unpickled that this run has not written


def create_tf_record_on_beam(
    source: Source, output: Path, options: WriteOptions = DEFAULT_OPTIONS, *, beam_flags: Sequence[str] = (IN_PROCESS,)
) -> Summary:
    """Writes what `create_tf_record` writes, with a Beam pipeline; as many workers as shards can be busy.

    Args:
        source: what a format's reader returned for absolute paths.
        output: the prefix of the shards.
        options: how to write; `num_workers` processes of this machine read the annotations beforehand where that is needed.
        beam_flags: of Beam and its runner, such as `--runner=FlinkRunner`.

    Raises:
        InputError: as `create_tf_record`; Beam is not installed, or its pipeline failed.
    """
    beam = _import_beam()
    if options.resumes:
        raise InputError("--resume is not for Beam: leave it out")
    plan = plan_conversion(source, output, options)
    with AtomicFiles(output, plan.targets) as files, _scratch_folder(output) as folder:
        tasks = _prepare(plan, options, folder)
        _run(beam, list(beam_flags), tasks, plan)
        reports = [load_report(_report_path(folder, task.shard)) for task in tasks]
        summary = merge_reports(plan, reports)
        for task in tasks:
            _shard_path(folder, task.shard).replace(files.partial_path(task.shard))
        finish(plan, files, summary, [report.state for report in reports], options)
    note_other_shards(plan, summary)
    return summary


def _import_beam() -> Any:
    try:
        import apache_beam
    except ImportError as error:
        raise InputError(f"Apache Beam cannot be imported ({error}); install it with: pip install 'object-detection-ext[beam]'") from None
    return apache_beam


@contextlib.contextmanager
def _scratch_folder(output: Path) -> Iterator[Path]:
    """A hidden folder beside the output, as an absolute path; gone afterwards, or with the next run where this one is killed."""
    folder = output.absolute().with_name(f".{output.name}.beam")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(plan: ConversionPlan, options: WriteOptions, folder: Path) -> list[Task]:
    """Writes the file that says what is to be done for every shard."""
    tasks = []
    for shard, work in enumerate(split_work(plan, drops_images_without_objects=options.selection.drops_images_without_objects)):
        content = pickle.dumps(work)
        _work_path(folder, shard).write_bytes(content)
        tasks.append(Task(str(folder), shard, hashlib.sha256(content).hexdigest()))
    return tasks


def _run(beam: Any, beam_flags: list[str], tasks: Sequence[Task], plan: ConversionPlan) -> None:
    """Runs the pipeline to its end and shows how far it is."""
    is_over = threading.Event()
    watch = threading.Thread(target=_watch, args=(tasks, Counter(plan.layout.shard_of), is_over), daemon=True)
    watch.start()
    try:
        pipeline = beam.Pipeline(argv=beam_flags)
        _ = pipeline | "shards" >> beam.Create(tasks) | "write" >> beam.Map(do_task)
        pipeline.run().wait_until_finish()
    except Exception as error:  # whatever a runner raises: its flags, its machines, or what a worker met
        last_line = str(error).strip().rpartition("\n")[2]
        raise InputError(f"the Beam pipeline failed: {type(error).__name__}: {last_line}") from error
    finally:
        is_over.set()
        watch.join()


def do_task(task: Task) -> int:
    """What a worker does; once more, or twice at a time, leaves the same files. Returns the shard."""
    folder = Path(task.folder)
    content = _work_path(folder, task.shard).read_bytes()
    if hashlib.sha256(content).hexdigest() != task.digest:
        raise InputError(f"{_work_path(folder, task.shard)} is not what this run has written")
    draft = folder / uuid.uuid4().hex
    report = write_shard(pickle.loads(content), draft)
    draft.replace(_shard_path(folder, task.shard))
    save_report(report, _report_path(folder, task.shard))
    return task.shard


def _watch(tasks: Sequence[Task], num_images: Counter[int], is_over: threading.Event) -> None:
    for _ in progress(_images_done(tasks, num_images, is_over), total=num_images.total(), label="converting"):
        pass


def _images_done(tasks: Sequence[Task], num_images: Counter[int], is_over: threading.Event) -> Iterator[None]:
    waiting, is_last_look = list(tasks), False
    while waiting and not is_last_look:
        is_last_look = is_over.wait(_POLL_SECONDS)
        done = [task for task in waiting if _report_path(Path(task.folder), task.shard).exists()]
        for task in done:
            waiting.remove(task)
            yield from itertools.repeat(None, num_images[task.shard])


def _work_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.work"


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.record"


def _report_path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.json"
