"""Which classes and images of a data set are taken: classes filtered, renamed and merged, images sampled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_tools.annotated_image import AnnotatedImage
from object_detection_ext.errors import InputError
from object_detection_ext.text_scan import nearest


@dataclass(frozen=True)
class Selection:
    """What is taken; calling it answers what a class is called afterwards, None where it is left out.

    Classes are renamed first: the other fields mean the new names. Two classes that get one name, a new or an existing one, are merged.
    """

    classes: tuple[str, ...] = ()  # these only; empty: all
    excluded_classes: tuple[str, ...] = ()
    renamed_classes: Mapping[str, str] = field(default_factory=dict)  # old name -> new name
    drops_images_without_objects: bool = False  # else they are kept: they teach what is background
    sample: int | float | None = None  # number of images (int), or share of them (float below 1); drawn after all else
    seed: int = 0  # of the sample

    def __post_init__(self) -> None:
        if self.classes and self.excluded_classes:
            raise ValueError("give the classes to take or those to leave out, not both")
        is_share = isinstance(self.sample, float)
        if self.sample is not None and not (0 < self.sample < 1 if is_share else self.sample >= 1):
            raise ValueError(f"a sample is a share between 0 and 1 or a whole number from 1, got {self.sample}")

    @property
    def changes_classes(self) -> bool:
        """Whether objects can be left out or renamed."""
        return bool(self.classes or self.excluded_classes or self.renamed_classes)

    def __call__(self, class_text: str) -> str | None:
        name = self.renamed_classes.get(class_text, class_text)
        is_taken = name in self.classes if self.classes else name not in self.excluded_classes
        return name if is_taken else None

    def check(self, class_texts: Collection[str]) -> None:
        """Checks that every class named here is one of the data set's.

        Raises:
            InputError: names the class and the nearest.
        """
        new_names = [self.renamed_classes.get(name, name) for name in class_texts]
        for flag, wanted, known in (
            ("--rename_classes", self.renamed_classes, class_texts),
            ("--classes", self.classes, new_names),
            ("--exclude_classes", self.excluded_classes, new_names),
        ):
            for name in wanted:
                if name not in known:
                    near = nearest(name, list(known))
                    hint = f' (did you mean "{near}"?)' if near else f"; it has {', '.join(sorted(set(known))[:20]) or 'no class'}"
                    raise InputError(f'{flag}: class "{name}" is not in the data set{hint}')

    def merged_classes(self, class_texts: Collection[str]) -> frozenset[str]:
        """The names that stand for more than one class afterwards."""
        counts = Counter(self.renamed_classes.get(name, name) for name in set(class_texts))
        return frozenset(name for name, count in counts.items() if count > 1)

    def draw(self, indices: Sequence[int]) -> Sequence[int]:
        """The sample of `indices`, in their order."""
        if self.sample is None:
            return indices
        number = max(1, round(self.sample * len(indices))) if isinstance(self.sample, float) else self.sample
        if number > len(indices):
            raise InputError(f"--sample {number}: there are only {len(indices)} images to draw from")
        chosen = sorted(random.Random(self.seed).sample(range(len(indices)), number))
        return [indices[position] for position in chosen]


@dataclass(frozen=True)
class SelectingReader:
    """A format's reader whose images show only what was selected, under the new names."""

    load: Callable[[Any], AnnotatedImage]
    selection: Selection
    merged_classes: frozenset[str]

    def __call__(self, entry: object) -> AnnotatedImage:
        image = self.load(entry)
        objects = [(self.selection(item.class_text), item) for item in image.objects]
        kept = tuple([item if name == item.class_text else item._replace(class_text=name) for name, item in objects if name is not None])
        labels = self._labels(image)
        return image._replace(objects=kept, image_labels=tuple(labels), image_label_confidences=tuple(labels.values()))

    def _labels(self, image: AnnotatedImage) -> dict[str, float]:
        """A merged class is there where one of its parts is; that a part is not there does not say that the class is not."""
        labels: dict[str, float] = {}
        for label, confidence in zip(image.image_labels, image.image_label_confidences, strict=True):
            name = self.selection(label)
            if name is not None and (confidence > 0 or name not in self.merged_classes):
                labels[name] = max(confidence, labels.get(name, 0.0))
        return labels


@dataclass(frozen=True)
class Subset(Sequence[Any]):
    """Some of the entries of a data set, fetched when asked for."""

    entries: Sequence[Any]
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self.entries[each] for each in self.indices[index]]
        return self.entries[self.indices[index]]
