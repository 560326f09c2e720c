from __future__ import annotations

from pathlib import Path

import pytest

from data_tools.shard_layout import lay_out_shards
from data_tools.splits import Splits
from data_tools.write_options import WriteOptions
from object_detection_ext.errors import InputError

OUTPUT = Path("out/mine.record")
SPLITS = Splits(("train", "val"), (0.75, 0.25))


def test_in_turn():
    layout = lay_out_shards(OUTPUT, [0] * 5, WriteOptions(num_shards=2))
    assert [path.name for path in layout.shards] == ["mine.record-00000-of-00002", "mine.record-00001-of-00002"]
    assert (layout.splits, layout.prefixes, list(layout.split_of_shard)) == ((None,), (OUTPUT,), [0, 0])
    assert list(layout.shard_of) == [0, 1, 0, 1, 0]


def test_splits_get_their_share_of_the_shards_at_least_one():
    split_of = [0, 0, 1, 0, 0, 0, 1]
    layout = lay_out_shards(OUTPUT, split_of, WriteOptions(num_shards=4, splits=SPLITS))
    assert [path.name for path in layout.shards] == [
        "mine_train.record-00000-of-00003",
        "mine_train.record-00001-of-00003",
        "mine_train.record-00002-of-00003",
        "mine_val.record-00000-of-00001",
    ]
    assert layout.prefixes == (Path("out/mine_train.record"), Path("out/mine_val.record"))
    assert list(layout.split_of_shard) == [0, 0, 0, 1]
    assert list(layout.shard_of) == [0, 1, 3, 2, 0, 1, 3]
    one = lay_out_shards(OUTPUT, split_of, WriteOptions(splits=SPLITS))
    assert [path.name for path in one.shards] == ["mine_train.record-00000-of-00001", "mine_val.record-00000-of-00001"]


def test_by_size_each_goes_to_the_smallest():
    """2.6 MB in shards of a megabyte: three. 0.9 | 0.8 | 0.2, then 0.3 to the third, 0.4 to the third, the first of those that are even."""
    sizes = [900_000, 800_000, 200_000, 300_000, 400_000]
    layout = lay_out_shards(OUTPUT, [0] * 5, WriteOptions(shard_megabytes=1), sizes=sizes)
    assert len(layout.shards) == 3
    assert list(layout.shard_of) == [0, 1, 2, 2, 2]


def test_by_size_no_more_shards_than_images_and_at_least_one():
    assert len(lay_out_shards(OUTPUT, [0, 0], WriteOptions(shard_megabytes=1), sizes=[5_000_000, 5_000_000]).shards) == 2
    assert len(lay_out_shards(OUTPUT, [0, 0], WriteOptions(shard_megabytes=1), sizes=[0, 0]).shards) == 1
    layout = lay_out_shards(OUTPUT, [1, 0, 0, 0], WriteOptions(shard_megabytes=1, splits=SPLITS), sizes=[100, 700_000, 700_000, 200_000])
    assert [path.name for path in layout.shards] == [
        "mine_train.record-00000-of-00002",
        "mine_train.record-00001-of-00002",
        "mine_val.record-00000-of-00001",
    ]
    assert list(layout.shard_of) == [2, 0, 1, 0]


def test_a_file_without_a_number():
    assert lay_out_shards(OUTPUT, [0], WriteOptions(is_numbered=False)).shards == (OUTPUT,)


def test_more_shards_than_images():
    with pytest.raises(InputError, match=r"--num_shards must be at most the number of images, 2, got 3"):
        lay_out_shards(OUTPUT, [0, 0], WriteOptions(num_shards=3))
    with pytest.raises(InputError, match=r"--num_shards must be at most the number of images of val, 1, got 2"):
        lay_out_shards(OUTPUT, [0] * 9 + [1], WriteOptions(num_shards=8, splits=SPLITS))
