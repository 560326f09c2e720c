from __future__ import annotations

from pathlib import Path

import pytest

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox
from data_tools.selection import SelectingReader, Selection, Subset
from object_detection_ext.errors import InputError

CLASSES = ("car", "cat", "dog", "truck")


def names(selection: Selection) -> list[str | None]:
    return [selection(name) for name in CLASSES]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), ["car", "cat", "dog", "truck"]),
        (Selection(classes=("dog", "car")), ["car", None, "dog", None]),
        (Selection(excluded_classes=("dog", "car")), [None, "cat", None, "truck"]),
        (Selection(renamed_classes={"dog": "hound"}), ["car", "cat", "hound", "truck"]),
        (Selection(renamed_classes={"dog": "cat", "cat": "dog"}), ["car", "dog", "cat", "truck"]),
        (Selection(renamed_classes={"car": "vehicle", "truck": "vehicle"}, classes=("vehicle",)), ["vehicle", None, None, "vehicle"]),
        (Selection(renamed_classes={"truck": "car"}, excluded_classes=("car",)), [None, "cat", "dog", None]),
    ],
    ids=["all", "only", "without", "renamed", "swapped", "merged and chosen by the new name", "merged into one that goes"],
)
def test_new_names(selection, expected):
    assert names(selection) == expected
    selection.check(CLASSES)
    assert selection.changes_classes == (expected != list(CLASSES))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(classes=("dgo",)), '--classes: class "dgo" is not in the data set (did you mean "dog"?)'),
        (Selection(excluded_classes=("zebra",)), '--exclude_classes: class "zebra" is not in the data set; it has car, cat, dog, truck'),
        (Selection(renamed_classes={"Truck": "van"}), '--rename_classes: class "Truck" is not in the data set (did you mean "truck"?)'),
        (Selection(renamed_classes={"truck": "van"}, classes=("truck",)), '--classes: class "truck" is not in the data set'),
    ],
)
def test_a_class_that_is_not_there(selection, message):
    with pytest.raises(InputError) as raised:
        selection.check(CLASSES)
    assert str(raised.value).startswith(message)


def test_wrong_settings():
    with pytest.raises(ValueError, match="not both"):
        Selection(classes=("a",), excluded_classes=("b",))
    for sample in (0, -1, 0.0, 1.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="a sample is a share between 0 and 1 or a whole number from 1, got"):
            Selection(sample=sample)


def test_merged_classes():
    assert Selection(renamed_classes={"car": "vehicle", "truck": "vehicle", "cat": "dog"}).merged_classes(CLASSES) == {"vehicle", "dog"}
    assert Selection(renamed_classes={"car": "vehicle"}).merged_classes(CLASSES) == frozenset()


def test_the_reader_changes_objects_and_image_labels():
    """`cat` and `dog` become one: seen as a cat, it is there, whatever is said of the dog. No van does not mean no vehicle."""
    objects = tuple(AnnotatedObject(name, PixelBox(0, 0, 1, 1), name) for name in ("car", "dog", "cat", "bird"))
    labels = {"dog": 0.0, "cat": 1.0, "van": 0.0, "bird": 1.0, "tree": 0.0}
    image = AnnotatedImage(Path("a.jpg"), "a.jpg", "a", None, objects, "a.xml", tuple(labels), tuple(labels.values()))
    selection = Selection(renamed_classes={"cat": "pet", "dog": "pet", "van": "vehicle", "car": "vehicle"}, excluded_classes=("bird",))
    merged = selection.merged_classes(("bird", "car", "cat", "dog", "tree", "van"))
    read = SelectingReader(lambda entry: image, selection, merged)("entry")
    assert [(item.class_text, item.where) for item in read.objects] == [("vehicle", "car"), ("pet", "dog"), ("pet", "cat")]
    assert dict(zip(read.image_labels, read.image_label_confidences, strict=True)) == {"pet": 1.0, "tree": 0.0}
    assert read._replace(objects=(), image_labels=(), image_label_confidences=()) == image._replace(
        objects=(), image_labels=(), image_label_confidences=()
    )


def test_samples():
    assert Selection().draw(range(5)) == range(5)
    drawn = Selection(sample=3, seed=1).draw([10, 11, 12, 13, 14])
    assert len(drawn) == 3 and list(drawn) == sorted(drawn) and set(drawn) <= {10, 11, 12, 13, 14}
    assert Selection(sample=3, seed=1).draw([10, 11, 12, 13, 14]) == drawn
    assert any(Selection(sample=3, seed=seed).draw([10, 11, 12, 13, 14]) != drawn for seed in range(2, 6))
    assert len(Selection(sample=0.25).draw(range(10))) == 2  # 2.5, rounded to even
    assert len(Selection(sample=0.01).draw(range(10))) == 1
    assert list(Selection(sample=5).draw(range(5))) == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="--sample 6: there are only 5 images to draw from"):
        Selection(sample=6).draw(range(5))


def test_a_subset_fetches_what_is_asked_for():
    subset = Subset("abcdef", [1, 3, 5])
    assert (len(subset), subset[0], subset[-1], subset[1:], list(subset)) == (3, "b", "f", ["d", "f"], ["b", "d", "f"])
