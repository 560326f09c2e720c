"""Which record goes into which shard of which split."""

from __future__ import annotations

import heapq
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from data_tools.shards import shard_paths, split_prefix
from data_tools.write_options import WriteOptions
from object_detection_ext.errors import InputError

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ShardLayout:
    """The shards of all splits, split by split, and where each image goes."""

    splits: tuple[str | None, ...]  # names; one None where the data set is not split
    prefixes: tuple[Path, ...]  # of the shards of each split
    shards: tuple[Path, ...]
    split_of_shard: Sequence[int]  # places in `splits`
    shard_of: Sequence[int]  # for each image, a place in `shards`


def lay_out_shards(output: Path, split_of: Sequence[int], options: WriteOptions, *, sizes: Sequence[int] | None = None) -> ShardLayout:
    """Deals the images of every split out to its shards: in turn, or with `shard_megabytes` each to the one that is smallest so far.

    Args:
        output: the prefix of the shards.
        split_of: for each image its split, a place in `options.splits.names`, else 0.
        options: how many shards, or how large ones.
        sizes: of the images, in bytes; needed for `options.shard_megabytes`.

    Raises:
        InputError: a split has fewer images than shards.
    """
    splits = options.splits
    names, shares = (splits.names, splits.shares) if splits else ((None,), (1.0,))
    num_images = Counter(split_of)
    if sizes is None:
        numbers = [max(1, round(options.num_shards * share)) for share in shares]
        for split, number in enumerate(numbers):
            if number > num_images[split] and not options.allows_empty_shards:
                of_split = f" of {names[split]}" if splits else ""
                raise InputError(f"--num_shards must be at most the number of images{of_split}, {num_images[split]:,}, got {number:,}")
    else:
        totals = [0] * len(names)
        for split, size in zip(split_of, sizes, strict=True):
            totals[split] += size
        wanted = (options.shard_megabytes or 1) * _MEGABYTE
        numbers = [max(1, min(math.ceil(total / wanted), num_images[split])) for split, total in enumerate(totals)]
    prefixes = tuple(output if name is None else split_prefix(output, name) for name in names)
    by_split = [shard_paths(prefix, number) if options.is_numbered else [prefix] for prefix, number in zip(prefixes, numbers, strict=True)]
    return ShardLayout(
        names,
        prefixes,
        tuple(path for paths in by_split for path in paths),
        [split for split, number in enumerate(numbers) for _ in range(number)],
        array("L", _deal_in_turn(split_of, numbers) if sizes is None else _deal_to_smallest(split_of, numbers, sizes)),
    )


def _deal_in_turn(split_of: Iterable[int], numbers: Sequence[int]) -> Iterable[int]:
    firsts, dealt = list(accumulate(numbers, initial=0)), [0] * len(numbers)
    for split in split_of:
        yield firsts[split] + dealt[split] % numbers[split]
        dealt[split] += 1


def _deal_to_smallest(split_of: Iterable[int], numbers: Sequence[int], sizes: Iterable[int]) -> Iterable[int]:
    firsts = list(accumulate(numbers, initial=0))
    heaps = [[(0, shard) for shard in range(first, first + number)] for first, number in zip(firsts, numbers, strict=False)]
    for split, size in zip(split_of, sizes, strict=True):
        filled, shard = heaps[split][0]
        heapq.heapreplace(heaps[split], (filled + size, shard))
        yield shard
