from __future__ import annotations

import hashlib
from pathlib import Path

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, Source
from data_tools.survey import ImageFacts, Survey, same_images, survey


def load(entry: tuple[str, bytes, str]) -> AnnotatedImage:
    """Name, content and objects of an image that lies in no file of its own."""
    name, encoded, objects = entry
    items = tuple(AnnotatedObject(text, PixelBox(0, 0, 1, 1), text) for text in objects.split())
    return AnnotatedImage(Path("a.record"), name, name, None, items, name, encoded=encoded)


SOURCE = Source([("a", b"12", "dog cat dog"), ("b", b"123", ""), ("c", b"xyz", "cat"), ("d", b"123", "dog dog cat")], load, ())
FACTS = Survey(
    ("cat", "dog"),
    [ImageFacts("a", 2, ((0, 1), (1, 2))), ImageFacts("b", 3, ()), ImageFacts("c", 3, ((0, 1),)), ImageFacts("d", 3, ((0, 1), (1, 2)))],
)


def test_facts_in_order_classes_in_alphabetical_order():
    found = survey(SOURCE, num_workers=1)
    assert found == FACTS
    assert found.images[0].objects is found.images[3].objects  # kept once


def test_image_level_labels_are_classes_too():
    image = load(("a", b"1", "dog"))._replace(image_labels=("zebra", "ant"), image_label_confidences=(1.0, 0.0))
    assert survey(Source([0], lambda entry: image, ()), num_workers=1) == Survey(("ant", "dog", "zebra"), [ImageFacts("a", 1, ((1, 1),))])


def test_images_that_are_files(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    source = Source([path], lambda path: AnnotatedImage(path, "a.jpg", "a", None, (), "here"), ())
    assert survey(source, num_workers=1).images == [ImageFacts("a.jpg", 5, ())]
    assert same_images(source, [ImageFacts("a.jpg", 5, ())], [0], num_workers=1) == {}


def test_only_images_of_one_size_are_compared():
    digests = {number: hashlib.sha256(content).digest() for number, content in ((1, b"123"), (2, b"xyz"), (3, b"123"))}
    assert same_images(SOURCE, FACTS.images, range(4), num_workers=1) == digests
    assert same_images(SOURCE, FACTS.images, [0, 1], num_workers=1) == {}


def test_classes_renamed_merged_and_left_out():
    assert FACTS.select({"cat": "pet", "dog": "pet"}.get) == Survey(
        ("pet",),
        [ImageFacts("a", 2, ((0, 3),)), ImageFacts("b", 3, ()), ImageFacts("c", 3, ((0, 1),)), ImageFacts("d", 3, ((0, 3),))],
    )
    assert [image.objects for image in FACTS.select({"cat": "zebra", "dog": "cow"}.get).images] == [
        ((0, 2), (1, 1)),
        (),
        ((1, 1),),
        ((0, 2), (1, 1)),
    ]
    assert FACTS.select({"cat": None, "dog": "dog"}.get).images[2].objects == ()
