"""One image of a record: whether it can be decoded, and whether it is what its record says."""

from __future__ import annotations

from collections.abc import Iterator

from data_tools.checks.image_inspection import ImageInspection
from data_tools.checks.record_features import RecordFeatures
from object_detection_ext.findings import Check, Finding, RecordPlace, Severity

MISSING_IMAGE = Check(
    "missing_image",
    Severity.ERROR,
    "a record without an encoded image",
    "write the records again with the images in image/encoded, or let --fix drop the record",
)
CORRUPT_IMAGE = Check(
    "corrupt_image",
    Severity.ERROR,
    "an image that does not decode to its end, or of more than 100 megapixels; the original API ends at the first, without a name",
    "replace the image, or let --fix drop the record",
)
REFUSED_IMAGE = Check(
    "refused_image",
    Severity.ERROR,
    "an image that viewers open but TensorFlow does not: TIFF, AVIF, arithmetic-coded JPEG, a PNG without its end, BMP with a palette",
    "convert it to JPEG or PNG, or let --fix do it",
)
UNPORTABLE_IMAGE = Check(
    "unportable_image",
    Severity.WARNING,
    "a GIF, BMP or WebP image: this project decodes it, the original API and its other readers expect JPEG or PNG",
    "store JPEG or PNG; --fix converts it",
)
CUT_IMAGE = Check(
    "cut_image",
    Severity.WARNING,
    "a JPEG that decodes although its data end early: the lower part is plain grey",
    "replace the image: its objects may lie in the part that is missing",
)
TURNED_IMAGE = Check(
    "turned_image",
    Severity.WARNING,
    "an image that its EXIF orientation turns: viewers and labelling tools show it turned, training reads it as stored",
    "turn the pixels before the records are written; --fix does so where the recorded size is that of the turned image",
)
HUGE_IMAGE = Check(
    "huge_image",
    Severity.WARNING,
    "an image of more than 10 megapixels: decoding it costs more than a training step does",
    "store images of about twice the network's input size",
)
CMYK_IMAGE = Check(
    "cmyk_image",
    Severity.WARNING,
    "a CMYK JPEG: not every decoder makes the same colours of it",
    "convert it to RGB, or let --fix do it",
)
GRAY_IMAGE = Check(
    "gray_image",
    Severity.INFO,
    "a grayscale image, which training reads as three equal channels",
    "nothing, if the phone's images are gray too",
)
WRONG_SIZE = Check(
    "wrong_size",
    Severity.WARNING,
    "image/height or image/width that is not the image's",
    "write the records again: boxes that were divided by a wrong size are wrong too; --fix corrects the two numbers only",
)
WRONG_FORMAT = Check(
    "wrong_format",
    Severity.WARNING,
    "image/format that is not the image's",
    "write the record again, or let --fix correct it",
)
WRONG_DIGEST = Check(
    "wrong_digest",
    Severity.WARNING,
    "image/key/sha256 that is not the image's: the image was exchanged or altered after the record was made",
    "make sure that the boxes belong to this image; --fix corrects the digest",
)
CHECKS = (
    MISSING_IMAGE,
    CORRUPT_IMAGE,
    REFUSED_IMAGE,
    UNPORTABLE_IMAGE,
    CUT_IMAGE,
    TURNED_IMAGE,
    HUGE_IMAGE,
    CMYK_IMAGE,
    GRAY_IMAGE,
    WRONG_SIZE,
    WRONG_FORMAT,
    WRONG_DIGEST,
)

HUGE = 10_000_000  # pixels
GRAY_MODES = ("L", "LA", "1", "I;16", "I")
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width
_SAME_FORMAT = {"jpg": "jpeg"}


def check_image(seen: ImageInspection, *, place: RecordPlace, where: object, image: str) -> Iterator[Finding]:
    """Yields what is wrong with an image whatever its record says."""
    if seen.problem:
        yield CORRUPT_IMAGE(where, f"the image cannot be decoded: {seen.problem}", image=image, record=place)
        return
    size = f"{seen.width}x{seen.height}"
    checks = (
        (REFUSED_IMAGE, bool(seen.refusal), seen.refusal),
        (UNPORTABLE_IMAGE, not seen.is_portable and not seen.refusal, f"a {seen.format.upper()} image"),
        (CUT_IMAGE, seen.ends_early, "the lowest rows of the JPEG are the grey of missing data"),
        (TURNED_IMAGE, seen.orientation != 1, f"the {size} image has EXIF orientation {seen.orientation}"),
        (HUGE_IMAGE, seen.height * seen.width > HUGE, f"the image has {size} pixels"),
        (CMYK_IMAGE, seen.mode == "CMYK", "the image is CMYK"),
        (GRAY_IMAGE, seen.mode in GRAY_MODES, "the image is grayscale"),
    )
    for check, is_found, message in checks:
        if is_found:
            yield check(where, message, image=image, record=place)


def check_record_of_image(record: RecordFeatures, seen: ImageInspection, *, place: RecordPlace) -> Iterator[Finding]:
    """Yields where a record contradicts its image; nothing for an image whose header cannot be read."""
    size = (seen.height, seen.width)
    if not seen.format:
        return
    if (record.height, record.width) != size and not (record.height is None and record.width is None):
        turned = "; they are exchanged" if (record.width, record.height) == size else ""
        message = f"the record says {record.width}x{record.height} pixels, the image has {seen.width}x{seen.height}{turned}"
        yield WRONG_SIZE(place, message, image=record.name, record=place)
    recorded = record.format.lower()
    if recorded and _SAME_FORMAT.get(recorded, recorded) != seen.format:
        message = f"image/format is {record.format!r}, the image is a {seen.format.upper()}"
        yield WRONG_FORMAT(place, message, image=record.name, record=place)
    if record.sha256 and record.sha256.lower() != seen.digest.hex():
        yield WRONG_DIGEST(
            place,
            f"image/key/sha256 begins with {record.sha256[:8]}, the image's with {seen.digest.hex()[:8]}",
            image=record.name,
            record=place,
        )


def is_for_turned(record: RecordFeatures, seen: ImageInspection) -> bool:
    """Whether the record's size says that its boxes are meant for the image as EXIF turns it."""
    return seen.orientation in _TURNED and seen.height != seen.width and (record.width, record.height) == (seen.height, seen.width)
