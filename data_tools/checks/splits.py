"""The training set against the evaluation set: the same images in both, and classes that only one of them has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from data_tools.checks.near_copies import find_near_copies, fingerprint_table
from data_tools.checks.scanned_set import ScannedSet
from object_detection_ext.findings import Check, Finding, Severity

SAME_RECORDS = Check(
    "same_records",
    Severity.WARNING,
    "a record file that is trained on and evaluated on: the metrics say what was learnt by heart",
    "evaluate on images that training never sees",
)
IN_TRAIN_AND_EVAL = Check(
    "image_in_train_and_eval",
    Severity.WARNING,
    "the same encoded image in training and evaluation",
    "take it out of training, or let --fix do it",
)
NEAR_IN_TRAIN_AND_EVAL = Check(
    "near_copy_in_train_and_eval",
    Severity.WARNING,
    "an image to train on that is nearly one of evaluation: re-encoded, resized, a neighbouring frame",
    "split by scene or video instead of by image (data_tools.create_tf_record groups), or let --fix take it out of training",
)
ONLY_IN_TRAIN = Check(
    "class_only_in_train",
    Severity.WARNING,
    "classes to train on that evaluation has no object of: their quality stays unknown",
    "put some of their images into the evaluation set",
)
ONLY_IN_EVAL = Check(
    "class_only_in_eval",
    Severity.WARNING,
    "classes of evaluation that training has no object of: they are never found, and lower mAP",
    "put some of their images into the training set",
)
DIFFERENT_MAPS = Check(
    "different_label_maps",
    Severity.ERROR,
    "an id that the label maps of training and evaluation give different names",
    "give both input readers the same label map",
)
CHECKS = (SAME_RECORDS, IN_TRAIN_AND_EVAL, NEAR_IN_TRAIN_AND_EVAL, ONLY_IN_TRAIN, ONLY_IN_EVAL, DIFFERENT_MAPS)


class SharedImages(NamedTuple):
    """Images to train on that evaluation has too: image of train -> image of eval."""

    exact: dict[int, int]
    near: dict[int, int]  # without the exact ones


def shared_images(train: ScannedSet, evaluation: ScannedSet) -> SharedImages:
    """The images of two sets that are the same, or nearly."""
    by_digest = {digest: image for image, digest in reversed(list(enumerate(evaluation.digests))) if digest}
    exact = {image: by_digest[digest] for image, digest in enumerate(train.digests) if digest in by_digest}
    rest = [None if image in exact else each for image, each in enumerate(train.fingerprints)]
    return SharedImages(exact, find_near_copies(fingerprint_table(rest), fingerprint_table(evaluation.fingerprints)))


def check_splits(train: ScannedSet, evaluation: ScannedSet, shared: SharedImages) -> Iterator[Finding]:
    """Yields what is wrong between the two sets."""
    same_files = sorted(set(train.summary.paths) & set(evaluation.summary.paths))
    for path in same_files:
        yield SAME_RECORDS(path, "train_input_reader and eval_input_reader both read this file")
    for check, copies, words in ((IN_TRAIN_AND_EVAL, shared.exact, "is"), (NEAR_IN_TRAIN_AND_EVAL, shared.near, "is nearly")):
        for image, other in copies.items():
            place, name = train.summary.place(image), train.summary.image_names[image]
            if place.path not in same_files:
                yield check(place, f"the image {words} that of evaluation's {evaluation.image_name(other)}", image=name, record=place)
    yield from _check_classes(train, evaluation)


def _check_classes(train: ScannedSet, evaluation: ScannedSet) -> Iterator[Finding]:
    present = [set(scanned.summary.class_counts) for scanned in (train, evaluation)]
    for check, names, where in (
        (ONLY_IN_TRAIN, present[0] - present[1], evaluation.summary.paths),
        (ONLY_IN_EVAL, present[1] - present[0], train.summary.paths),
    ):
        if names and present[0] and present[1]:
            listed = ", ".join(repr(name) for name in sorted(names)[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            yield check(where[0] if where else "", f"no object here for {listed}")
    own, other = train.summary.class_names, evaluation.summary.class_names
    for class_id, name in own.items():
        if class_id in other and other[class_id] != name:
            yield DIFFERENT_MAPS("label_map_path", f"id {class_id} is {name!r} for training and {other[class_id]!r} for evaluation")
