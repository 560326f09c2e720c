"""Which pictures of one set are near copies of pictures of another, or of the same set, without comparing each with each.

Multi-index hashing (Norouzi, Punjani, Fleet 2012, "Fast Search in Hamming Space with Multi-Index Hashing"): bits that differ in at most
7 of 64 places agree, but for at most one place, in one of four pieces of 16. So each piece is looked up 17 times in a sorted list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data_tools.checks.fingerprint import THUMBNAIL_SIZE, Fingerprint

MAX_DISTANCE = 7  # differing bits
MIN_CORRELATION = 0.95  # of the thumbnails: a photo cut by 2 % keeps 0.96, different photos that share a scene come to 0.75
_PIECES, _PIECE_BITS = 4, 16
_FEW, _TRIES = 8, 200  # pictures with the same bits, and pictures with near bits, that one is compared with
_CHUNK, _COMPARED = 1 << 20, 1 << 16  # pairs whose bits, and whose thumbnails, are compared at a time


class FingerprintTable(NamedTuple):
    """The fingerprints of F pictures of a set."""

    images: np.ndarray  # [F] int64, index of the image in the set
    bits: np.ndarray  # [F] uint64
    thumbnails: np.ndarray  # [F, THUMBNAIL_SIZE] uint8


def fingerprint_table(fingerprints: Sequence[Fingerprint | None]) -> FingerprintTable:
    """The table of a set's fingerprints in the order of its images; those without are left out."""
    kept = [(image, each) for image, each in enumerate(fingerprints) if each is not None]
    thumbnails = np.frombuffer(b"".join(each.thumbnail for _, each in kept), np.uint8).reshape(len(kept), THUMBNAIL_SIZE)
    bits = np.array([each.bits for _, each in kept], np.uint64)
    return FingerprintTable(np.array([image for image, _ in kept], np.int64), bits, thumbnails)


def find_near_copies(queries: FingerprintTable, others: FingerprintTable) -> dict[int, int]:
    """An image of `others` that each image of `queries` is a near copy of; images without one are left out."""
    return _find(queries, others, is_one_set=False)


def find_near_repeats(pictures: FingerprintTable) -> dict[int, int]:
    """An earlier image of the set that each image is a near copy of; images without one are left out."""
    return _find(pictures, pictures, is_one_set=True)


def _find(queries: FingerprintTable, others: FingerprintTable, *, is_one_set: bool) -> dict[int, int]:
    found = np.full(len(queries.bits), -1, np.int64)  # row of others
    tries = np.zeros(len(queries.bits), np.int64)
    kept = _few_of_each(others.bits)
    own, theirs = _normalized(queries.thumbnails), _normalized(others.thumbnails)
    for left, right in _matching(queries.bits, others.bits[kept], found):
        right = kept[right]
        if is_one_set:
            left, right = left[right < left], right[right < left]
        near = (found[left] < 0) & (_popcount(queries.bits[left] ^ others.bits[right]) <= MAX_DISTANCE)
        left, right = left[near], right[near]
        few = _ranks(left) + tries[left] < _TRIES
        left, right = left[few], right[few]
        tries += np.bincount(left, minlength=len(tries))
        for start in range(0, len(left), _COMPARED):
            rows, other_rows = left[start : start + _COMPARED], right[start : start + _COMPARED]
            alike = np.einsum("pt,pt->p", own[rows], theirs[other_rows]) >= MIN_CORRELATION
            found[rows[alike]] = other_rows[alike]
    rows = np.flatnonzero(found >= 0)
    return dict(zip(queries.images[rows].tolist(), others.images[found[rows]].tolist(), strict=True))


def _few_of_each(bits: np.ndarray) -> np.ndarray:
    """Rows, [R] int64: of rows with equal bits, as pictures of one static scene have by thousands, only the first few."""
    order = np.argsort(bits, kind="stable")
    return order[_ranks(bits[order]) < _FEW]


def _ranks(values: np.ndarray) -> np.ndarray:
    """[R] int64: how many equal values stand before each of `values`, in which equal ones stand together."""
    is_first = np.ones(len(values), bool)
    is_first[1:] = values[1:] != values[:-1]
    starts = np.flatnonzero(is_first)
    return np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))


def _matching(queries: np.ndarray, others: np.ndarray, found: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pairs of rows, both [P] int64, whose bits agree in one piece but for at most one place; each pair once.

    Queries for which `found`, [F] int64, is no longer negative are looked up no more.
    """
    for piece in range(_PIECES):
        own, keys = _piece(queries, piece), _piece(others, piece)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        for mask in (0, *(1 << bit for bit in range(_PIECE_BITS))):
            rows = np.flatnonzero(found < 0)
            wanted = own[rows] ^ np.uint64(mask)
            starts, ends = (np.searchsorted(ordered, wanted, side) for side in ("left", "right"))
            for left, places in _expand(starts, ends):
                left, right = rows[left], order[places]
                is_new = np.ones(len(left), bool)
                for earlier in range(piece):
                    is_new &= _popcount(_piece(queries[left] ^ others[right], earlier)) > 1
                yield left[is_new], right[is_new]


def _piece(bits: np.ndarray, piece: int) -> np.ndarray:
    return (bits >> np.uint64(piece * _PIECE_BITS)) & np.uint64((1 << _PIECE_BITS) - 1)


def _expand(starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the pairs (query, place) for each place from starts[query] to ends[query], both [P] int64, about _CHUNK at a time."""
    counts = ends - starts
    totals = np.cumsum(counts)
    first = 0
    while first < len(counts):
        base = totals[first - 1] if first else 0
        last = max(int(np.searchsorted(totals, base + _CHUNK, "right")), first + 1)
        own = counts[first:last]
        if total := int(own.sum()):
            places = np.arange(total) - np.repeat(np.cumsum(own) - own, own) + np.repeat(starts[first:last], own)
            yield np.repeat(np.arange(first, first + len(own)), own), places
        first = last


def _normalized(thumbnails: np.ndarray) -> np.ndarray:
    """[F, THUMBNAIL_SIZE] float32 of mean 0 and length 1: the product of two is their correlation, whatever brightness and contrast."""
    rows = thumbnails.astype(np.float32)
    rows -= rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _popcount(values: np.ndarray) -> np.ndarray:
    """[P] int: the ones of each uint64 (np.bitwise_count needs numpy 2)."""
    return np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1).sum(1)
