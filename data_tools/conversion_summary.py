"""What a conversion has written and what it had to say."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from data_tools.tf_record import EncodedImage
from object_detection_ext.errors import one_line

_MAX_KEPT = 50  # messages of one kind


@dataclass
class Messages:
    """Counts messages and keeps the first of them."""

    kept: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, messages: Iterable[str]) -> None:
        """Takes messages."""
        for message in messages:
            self.count += 1
            if len(self.kept) < _MAX_KEPT:
                self.kept.append(message)


@dataclass
class SplitSummary:
    """The numbers of one split."""

    name: str | None  # None where the data set was not split
    num_images: int = 0
    num_negatives: int = 0  # images without objects
    num_broken_boxes: int = 0
    num_turned: int = 0  # images stored upright, where their file is not
    converted: Counter[str] = field(default_factory=Counter)  # images stored as PNG, by the format of their file
    objects: Counter[str] = field(default_factory=Counter)  # by class text
    num_box_masks: int = 0  # objects without a mask, whose filled boxes were written as masks

    def add(self, image: EncodedImage) -> None:
        """Counts one image."""
        self.num_images += 1
        self.num_negatives += not image.class_texts
        self.num_broken_boxes += len(image.broken_boxes)
        self.num_turned += image.is_turned
        self.num_box_masks += image.num_box_masks
        if image.converted_from:
            self.converted[image.converted_from] += 1
        self.objects.update(image.class_texts)

    def merge(self, part: SplitSummary) -> None:
        """Adds the numbers of other images of this split."""
        for each in fields(self):
            if each.name != "name":
                setattr(self, each.name, getattr(self, each.name) + getattr(part, each.name))


@dataclass
class Summary:
    """The whole conversion."""

    splits: list[SplitSummary]
    broken_boxes: Messages = field(default_factory=Messages)
    notes: Messages = field(default_factory=Messages)
    num_left_out: int = 0  # images that lost all objects to broken boxes, where such are not wanted
    outputs: list[Path] = field(default_factory=list)

    def add(self, image: EncodedImage, split: int) -> None:
        """Counts one image of a split."""
        self.splits[split].add(image)
        self._add_messages(image)

    def add_left_out(self, image: EncodedImage) -> None:
        """Counts one image that is not written."""
        self.num_left_out += 1
        self._add_messages(image)

    @property
    def num_images(self) -> int:
        """In all splits."""
        return sum(split.num_images for split in self.splits)

    @property
    def num_negatives(self) -> int:
        """Images without objects, in all splits."""
        return sum(split.num_negatives for split in self.splits)

    @property
    def objects(self) -> Counter[str]:
        """By class text, in all splits."""
        return sum((split.objects for split in self.splits), Counter[str]())

    @property
    def num_turned(self) -> int:
        """Images stored upright, in all splits."""
        return sum(split.num_turned for split in self.splits)

    @property
    def num_box_masks(self) -> int:
        """Objects whose filled boxes were written as masks, in all splits."""
        return sum(split.num_box_masks for split in self.splits)

    @property
    def converted(self) -> Counter[str]:
        """Images stored as PNG, by the format of their file, in all splits."""
        return sum((split.converted for split in self.splits), Counter[str]())

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`; `outputs` stay out."""
        return {
            "splits": [vars(split) for split in self.splits],
            "broken_boxes": vars(self.broken_boxes),
            "notes": vars(self.notes),
            "num_left_out": self.num_left_out,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            [
                SplitSummary(**{**split, "objects": Counter(split["objects"]), "converted": Counter(split["converted"])})
                for split in content["splits"]
            ],
            Messages(**content["broken_boxes"]),
            Messages(**content["notes"]),
            content["num_left_out"],
        )

    def _add_messages(self, image: EncodedImage) -> None:
        self.broken_boxes.add(image.broken_boxes)
        self.notes.add(image.notes)


def report(summary: Summary, *, seconds: float) -> None:
    """Prints the messages on stderr and the summary on stdout."""
    for messages in (summary.notes, summary.broken_boxes):
        for message in messages.kept:
            print(one_line(message), file=sys.stderr)
        if messages.count > len(messages.kept):
            print(f"... and {messages.count - len(messages.kept):,} more like this", file=sys.stderr)
    if not summary.objects:
        print("no image has an object: these records teach nothing and measure nothing", file=sys.stderr)
    print(f"{summary.num_images:,} images, {summary.num_negatives:,} of them without objects, in {seconds:.1f} s")
    for split in summary.splits:
        if split.name is not None:
            print(f"  {split.name}: {split.num_images:,} images, {split.num_negatives:,} without objects, {_objects(split.objects)}")
    print(textwrap.fill(_objects(summary.objects), 120, subsequent_indent="  "))
    print(f"{summary.broken_boxes.count:,} broken boxes")
    if summary.num_box_masks:
        print(f"{summary.num_box_masks:,} objects have no mask in the annotations: their filled boxes were written as masks")
    if summary.num_turned:
        print(f"{summary.num_turned:,} images were turned upright")
    if summary.converted:
        formats = ", ".join(f"{name} {count:,}" for name, count in summary.converted.most_common())
        print(f"{summary.converted.total():,} images were stored as PNG: {formats}")
    if summary.num_left_out:
        print(f"{summary.num_left_out:,} images were left out, as all of their boxes are broken")
    for path in summary.outputs:
        print(path)


def _objects(counts: Counter[str]) -> str:
    classes = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    return f"{counts.total():,} objects: {classes or 'none'}"
