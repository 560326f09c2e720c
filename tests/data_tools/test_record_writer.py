from __future__ import annotations

from pathlib import Path

import google_crc32c
import pytest

from data_tools.record_writer import RecordWriter, ShardState
from data_tools.shards import AtomicFiles, shard_paths


def state(num_records: int, content: bytes) -> ShardState:
    return ShardState(num_records, len(content), google_crc32c.value(content))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "a.record"


def test_counts_and_hashes_are_those_of_the_files(prefix):
    with AtomicFiles(prefix, shard_paths(prefix, 2)) as files:
        writer = RecordWriter(files, 2)
        for shard, record in ((0, b"one"), (1, b"two"), (0, b"three")):
            writer.write(shard, record)
        assert writer.states() == [state(2, b"onethree"), state(1, b"two")]
        assert files.partial_path(0).read_bytes() == b"onethree"  # handed to the system


def unfinished(prefix: Path, *contents: bytes) -> None:
    with AtomicFiles(prefix, shard_paths(prefix, len(contents)), keeps_unfinished=True) as files:
        for shard, content in enumerate(contents):
            files.write(shard, content)


def test_going_on_cuts_off_what_the_journal_does_not_know(prefix):
    unfinished(prefix, b"one|half of", b"two")
    with AtomicFiles(prefix, shard_paths(prefix, 2), keeps_unfinished=True) as files:
        writer = RecordWriter(files, 2)
        assert writer.go_on([state(1, b"one|"), state(0, b"")])
        writer.write(0, b"three")
        writer.write(1, b"four")
        assert writer.states() == [state(2, b"one|three"), state(1, b"four")]
        files.commit()
    assert [path.read_bytes() for path in shard_paths(prefix, 2)] == [b"one|three", b"four"]


@pytest.mark.parametrize("content", [b"", b"tw", b"TWO", b"xtwo"])
def test_shards_that_have_changed_are_begun_anew(prefix, content):
    unfinished(prefix, b"one", content)
    with AtomicFiles(prefix, shard_paths(prefix, 2), keeps_unfinished=True) as files:
        writer = RecordWriter(files, 2)
        assert not writer.go_on([state(1, b"one"), state(1, b"two")])
        assert writer.states() == [state(0, b""), state(0, b"")]
        assert [files.partial_path(shard).stat().st_size for shard in range(2)] == [0, 0]
