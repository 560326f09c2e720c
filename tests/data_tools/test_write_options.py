from __future__ import annotations

from pathlib import Path

import pytest

from data_tools.write_options import WriteOptions


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_shards": 0}, "num_shards and num_workers must be at least 1, got 0 and 1"),
        ({"num_workers": 0}, "num_shards and num_workers must be at least 1, got 1 and 0"),
        ({"shard_megabytes": 0.0}, "shard_megabytes must be above 0, got 0.0"),
        ({"shard_megabytes": float("nan")}, "shard_megabytes must be above 0, got nan"),
        ({"num_shards": 2, "is_numbered": False}, "there can be one shard only where shards are not numbered"),
        ({"shard_megabytes": 5.0, "is_numbered": False}, "there can be one shard only where shards are not numbered"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        WriteOptions(**settings)


def test_what_the_records_depend_on():
    """Everything else may differ between a run and the one that goes on with it."""
    first = WriteOptions(num_shards=3)
    second = WriteOptions(num_shards=3, resumes=True, num_workers=8, arguments={"a": 1}, inputs=(Path("a"),))
    assert first.settings() == second.settings()
    assert first.settings() != WriteOptions(num_shards=4).settings()
    assert first.settings()["num_shards"] == 3
