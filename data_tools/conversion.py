"""One run of a conversion: records into shards in the order of the plan, with a journal to go on from."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_tools.annotated_image import AnnotatedImage
from data_tools.conversion_plan import ConversionPlan
from data_tools.conversion_summary import SplitSummary, Summary
from data_tools.journal import Journal, check_same, fingerprint
from data_tools.manifest import make_manifest, tool_version
from data_tools.parallel import ordered_map
from data_tools.progress import progress
from data_tools.record_writer import RecordWriter, ShardState
from data_tools.shards import AtomicFiles, find_shards
from data_tools.tf_record import EncodedImage
from data_tools.write_options import WriteOptions
from object_detection_ext.errors import InputError


class Conversion:
    """Knows how far it has come. Call `read_journal` before the output files are opened, `run` when they are."""

    def __init__(self, plan: ConversionPlan, journal: Journal, options: WriteOptions) -> None:
        self.summary = Summary([SplitSummary(name) for name in plan.layout.splits], outputs=plan.targets)
        self.summary.notes.add(plan.notes)
        self._plan = plan
        self._journal = journal
        self._options = options
        self._earlier: Mapping[str, Any] | None = None
        self._num_done = 0  # entries, from the first on
        self._source_ids: set[str] = set()
        self._resume_notes: list[str] = []  # of this run alone: what the summary holds goes into the journal

    def read_journal(self) -> None:
        """Looks for a run to go on with.

        Raises:
            InputError: it had other settings, or the annotations have changed.
        """
        self._earlier = self._journal.read()
        if self._earlier is not None:
            check_same(self._earlier.get("fingerprint"), self._fingerprint)

    def run(self, files: AtomicFiles) -> None:
        """Writes all records, the label map and the manifest, and gives the files their names."""
        writer = RecordWriter(files, len(self._plan.layout.shards))
        if self._options.resumes:
            self._go_on(writer)
        entries = self._plan.entries[self._num_done :] if self._num_done else self._plan.entries
        encoded = ordered_map(self._plan.encoder, entries, num_workers=self._options.num_workers)
        with contextlib.closing(progress(encoded, total=len(entries), label="converting")) as images:
            for image in images:
                self._add(image, writer)
                if self._journal.is_due:
                    self._save(writer)
        if self._options.resumes:
            self._save(writer)  # a kill while files are renamed is gone on from, too
        finish(self._plan, files, self.summary, writer.states(), self._options)
        self.summary.notes.add(self._resume_notes)

    @functools.cached_property
    def _fingerprint(self) -> dict[str, str]:
        dealt = hashlib.sha256(",".join(map(str, self._plan.layout.shard_of)).encode()).hexdigest()[:12]
        settings = (
            {"version": tool_version(), "label map": self._plan.label_map.items} | self._options.settings() | {**self._options.arguments}
        )
        return fingerprint(settings, self._plan.entries, self._options.inputs) | {"shards of the images": dealt}

    def _go_on(self, writer: RecordWriter) -> None:
        """Takes over what an earlier run has finished; what it has not vouched for is cut off."""
        if self._earlier is None:
            writer.clear()
            self._resume_notes.append("--resume: found no unfinished run, so all images are converted")
            return
        if not writer.go_on([ShardState(*state) for state in self._earlier["shards"]]):
            self._resume_notes.append("--resume: the unfinished shards are not what their journal says, so all images are converted anew")
            return
        summary = Summary.from_json(self._earlier["summary"])
        summary.outputs, self.summary = self.summary.outputs, summary
        self._num_done = self._earlier["num_done"]
        read = functools.partial(_source_id, self._plan.encoder.load)
        done = self._plan.entries[: self._num_done]
        source_ids = ordered_map(read, done, num_workers=self._options.num_workers)
        self._source_ids.update(progress(source_ids, total=len(done), label="looking through what is done:"))

    def _add(self, image: EncodedImage, writer: RecordWriter) -> None:
        if image.source_id in self._source_ids:
            raise self._doubled(image)
        self._source_ids.add(image.source_id)
        if self._options.selection.drops_images_without_objects and not image.class_texts:
            self.summary.add_left_out(image)
        else:
            shard = self._plan.layout.shard_of[self._num_done]
            writer.write(shard, image.record)
            self.summary.add(image, self._plan.layout.split_of_shard[shard])
        self._num_done += 1

    def _doubled(self, image: EncodedImage) -> InputError:
        load = self._plan.encoder.load
        first = next(found for found in map(load, self._plan.entries) if found.source_id == image.source_id)
        return InputError(f"{image.where}: image {image.source_id!r} is annotated twice, first by {first.where}")

    def _save(self, writer: RecordWriter) -> None:
        content = {
            "fingerprint": self._fingerprint,
            "num_done": self._num_done,
            "shards": writer.states(),
            "summary": self.summary.to_json(),
        }
        self._journal.write(content)


def finish(plan: ConversionPlan, files: AtomicFiles, summary: Summary, states: Sequence[ShardState], options: WriteOptions) -> None:
    """Writes the label map and the manifest and gives all files their names; the shards are written."""
    if plan.label_map_target:
        plan.label_map.save(files.partial_path(len(states)))
    if plan.manifest_target:
        last = len(plan.targets) - 1
        files.cut(last, 0)
        files.write(last, make_manifest(plan, summary, states, options.arguments))
    files.commit()


def note_other_shards(plan: ConversionPlan, summary: Summary) -> None:
    """Adds a note where shards of another number stand beside the new ones."""
    others = [path for prefix in plan.layout.prefixes for path in find_shards(prefix) if path not in plan.targets]
    if others:
        summary.notes.add(
            [f"{len(others)} shards of an earlier run, such as {others[0]}, stand beside the new ones: mind your glob patterns"]
        )


def _source_id(load: Callable[[Any], AnnotatedImage], entry: object) -> str:
    return load(entry).source_id
