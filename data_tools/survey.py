"""One look at all annotations before anything is written: which classes there are, and where."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from data_tools.annotated_image import AnnotatedImage, Source
from data_tools.parallel import ordered_map
from data_tools.progress import progress
from data_tools.selection import Subset


class ImageFacts(NamedTuple):
    """What is kept of an image: small, as there may be millions."""

    filename: str
    num_bytes: int  # of the image file
    objects: tuple[tuple[int, int], ...]  # (class, number of objects), by class; a class is its place in `Survey.class_texts`


class Survey(NamedTuple):
    """The facts of all images, in the order of the entries."""

    class_texts: tuple[str, ...]  # of all objects and image-level labels, in alphabetical order
    images: Sequence[ImageFacts]

    def select(self, new_name: Callable[[str], str | None]) -> Survey:
        """The facts under the new names of the classes, without the objects of those whose new name is None."""
        names = [new_name(text) for text in self.class_texts]
        class_texts = tuple(sorted({name for name in names if name is not None}))
        places = {number: class_texts.index(name) for number, name in enumerate(names) if name is not None}
        selected: dict[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]] = {}
        for image in self.images:
            if image.objects not in selected:
                counts = Counter[int]()
                for number, count in image.objects:
                    if number in places:
                        counts[places[number]] += count
                selected[image.objects] = tuple(sorted(counts.items()))
        return Survey(class_texts, [image._replace(objects=selected[image.objects]) for image in self.images])


def survey(source: Source, *, num_workers: int) -> Survey:
    """Reads every annotation once; images are not opened."""
    found = ordered_map(functools.partial(_look_at, source.load), source.entries, num_workers=num_workers)
    numbers: dict[str, int] = {}  # of the classes, as they come
    shared: dict[tuple[tuple[str, int], ...], tuple[tuple[int, int], ...]] = {}  # many images have the same objects
    images = []
    for filename, num_bytes, objects, labels in progress(found, total=len(source.entries), label="reading annotations"):
        if objects not in shared:
            shared[objects] = tuple((numbers.setdefault(name, len(numbers)), count) for name, count in objects)
        for name in labels:
            numbers.setdefault(name, len(numbers))
        images.append(ImageFacts(filename, num_bytes, shared[objects]))
    class_texts = tuple(sorted(numbers))
    places = {numbers[name]: place for place, name in enumerate(class_texts)}
    in_order = {objects: tuple(sorted((places[number], count) for number, count in objects)) for objects in shared.values()}
    return Survey(class_texts, [image._replace(objects=in_order[image.objects]) for image in images])


def same_images(source: Source, facts: Sequence[ImageFacts], indices: Iterable[int], *, num_workers: int) -> dict[int, bytes]:
    """The SHA-256 of those images among `indices` that have the size in bytes of another one: equal digests are equal images."""
    chosen = list(indices)
    sizes = Counter(facts[index].num_bytes for index in chosen)
    candidates = [index for index in chosen if sizes[facts[index].num_bytes] > 1]
    digests = ordered_map(functools.partial(_digest, source.load), Subset(source.entries, candidates), num_workers=num_workers)
    return dict(zip(candidates, progress(digests, total=len(candidates), label="comparing images of one size"), strict=True))


def _look_at(load: Callable[[Any], AnnotatedImage], entry: object) -> tuple[str, int, tuple[tuple[str, int], ...], tuple[str, ...]]:
    image = load(entry)
    num_bytes = image.path.stat().st_size if image.encoded is None else len(image.encoded)
    objects = tuple(sorted(Counter([item.class_text for item in image.objects]).items()))
    return image.filename, num_bytes, objects, image.image_labels


def _digest(load: Callable[[Any], AnnotatedImage], entry: object) -> bytes:
    image = load(entry)
    return hashlib.sha256(image.path.read_bytes() if image.encoded is None else image.encoded).digest()
