"""Groups of images dealt out to splits so that every class comes close to its share in every split.

After iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011, "On the Stratification of Multi-Label Data", algorithm 1): the class
with the fewest groups left is dealt out first. Where that paper looks at this one class, here a group goes where the squared error over all
of its classes falls most, and single groups are moved afterwards as long as the error falls.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_PRESENCE = 1000.0  # of error for a class that a split lacks: more than all shares together can make
_LEAST_GAIN = 1e-9
_MAX_PASSES = 10


class Group(NamedTuple):
    """Images that stay together."""

    key: str  # of the draw: a name of the group, the same in every run
    num_images: int
    classes: Mapping[int, tuple[int, int]]  # class -> images that show it, objects of it


class _Amount(NamedTuple):
    """How much of a quantity's total one group holds."""

    quantity: int
    share: float


def stratify(groups: Sequence[Group], shares: Sequence[float], *, seed: int) -> list[int]:
    """The split of every group.

    What is balanced are images in all, images without objects, and for each class its images and its objects. A class with at least as many
    groups as there are splits comes into every split if others allow it.

    Args:
        groups: any order; the result does not depend on it.
        shares: of the splits, which add up to 1.
        seed: decides between groups that are alike.
    """
    amounts, num_quantities = _amounts(groups)
    deal = _Deal(amounts, shares, num_quantities)
    order = sorted(range(len(groups)), key=lambda index: (-groups[index].num_images, _draw(seed, groups[index].key)))
    for index in _rarest_first(order, amounts, num_quantities):
        deal.put(index, max(range(len(shares)), key=lambda split: deal.gain(index, split)))
    for _ in range(_MAX_PASSES):
        if not sum([deal.improve(index) for index in order]):
            break
    return deal.split_of


def _draw(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()


def _amounts(groups: Sequence[Group]) -> tuple[list[tuple[_Amount, ...]], int]:
    """Quantity 0 is all images, 1 the images without objects; two follow for each class."""
    totals = Counter[int]()
    for group in groups:
        for quantity, amount in _held(group):
            totals[quantity] += amount
    shared: dict[tuple[tuple[int, int], ...], tuple[_Amount, ...]] = {}  # most groups are one image, and much alike
    amounts = []
    for group in groups:
        held = tuple(_held(group))
        if held not in shared:
            shared[held] = tuple([_Amount(quantity, amount / totals[quantity]) for quantity, amount in held])
        amounts.append(shared[held])
    return amounts, max(totals, default=0) + 1


def _held(group: Group) -> Iterator[tuple[int, int]]:
    yield 0, group.num_images
    if not group.classes:
        yield 1, group.num_images
    for class_, (num_images, num_objects) in sorted(group.classes.items()):
        yield 2 + 2 * class_, num_images
        yield 3 + 2 * class_, num_objects


def _rarest_first(order: Sequence[int], amounts: Sequence[tuple[_Amount, ...]], num_quantities: int) -> list[int]:
    """The groups in the order of dealing: always those of the quantity that the fewest groups left have."""
    holders: list[list[int]] = [[] for _ in range(num_quantities)]
    for index in order:
        for amount in amounts[index]:
            holders[amount.quantity].append(index)
    num_left = [len(each) for each in holders]
    is_dealt = [False] * len(amounts)
    dealt = []
    while len(dealt) < len(amounts):
        rarest = min((number, quantity) for quantity, number in enumerate(num_left) if number)[1]
        for index in holders[rarest]:
            if not is_dealt[index]:
                is_dealt[index] = True
                dealt.append(index)
                for amount in amounts[index]:
                    num_left[amount.quantity] -= 1
    return dealt


@dataclass
class _Deal:
    """Who has what: the error is the sum over quantities and splits of (share wanted - share held) squared, and of what is lacking."""

    amounts: Sequence[tuple[_Amount, ...]]  # of every group
    shares: Sequence[float]
    num_quantities: int

    def __post_init__(self) -> None:
        self.split_of = [-1] * len(self.amounts)
        self._missing = [list(self.shares) for _ in range(self.num_quantities)]  # [quantity][split] share wanted - share held
        self._holders = [[0] * len(self.shares) for _ in range(self.num_quantities)]  # [quantity][split] groups
        numbers = Counter(quantity for amounts in self.amounts for quantity, _ in amounts)
        self._presence = [_PRESENCE if numbers[quantity] >= len(self.shares) else 0.0 for quantity in range(self.num_quantities)]

    def gain(self, index: int, split: int) -> float:
        """By how much the error falls when the group comes into the split."""
        total = 0.0
        for quantity, share in self.amounts[index]:
            total += share * (2 * self._missing[quantity][split] - share)
            if not self._holders[quantity][split]:
                total += self._presence[quantity]
        return total

    def put(self, index: int, split: int) -> None:
        """Deals the group out."""
        self.split_of[index] = split
        self._count(index, split, 1)

    def improve(self, index: int) -> bool:
        """Moves the group to the split where it serves best; False where it stays."""
        here = self.split_of[index]
        self._count(index, here, -1)
        gains = [self.gain(index, split) for split in range(len(self.shares))]
        best = max(range(len(gains)), key=gains.__getitem__)
        moves = gains[best] > gains[here] + _LEAST_GAIN
        self.put(index, best if moves else here)
        return moves

    def _count(self, index: int, split: int, sign: int) -> None:
        for quantity, share in self.amounts[index]:
            self._missing[quantity][split] -= sign * share
            self._holders[quantity][split] += sign
