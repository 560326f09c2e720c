"""What is fuzzed: every annotation format, and each reader of a single file; all that they may answer is one line."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_tools.annotated_image import AnnotatedImage, AnnotatedObject, PixelBox, Source
from data_tools.checks.fix import fix_records
from data_tools.checks.image_inspection import inspect_image
from data_tools.checks.scan import TRAIN, RecordSet, ScanSettings, scan_records
from data_tools.create_tf_record import create_tf_record
from data_tools.format_table import FORMATS
from data_tools.image_file import read_image
from data_tools.manifest import verify_manifest
from data_tools.pixels import check_pixels, make_storable
from data_tools.record_file import read_records
from data_tools.split_file import read_split_file
from data_tools.tf_example import parse_example
from data_tools.write_options import WriteOptions
from object_detection_ext.data.label_map import LabelMap, load_label_map
from object_detection_ext.errors import InputError, one_line
from tests.data_tools.conftest import save_image
from tests.data_tools.damage import damaged
from tests.data_tools.reading import checked, read_everything
from tests.data_tools.small_sets import SMALL_SETS
from tests.data_tools.watch import nothing_opened_outside, time_limit

Check = Callable[[], object]
Target = Callable[[Path], tuple[Sequence[Path], Check]]  # makes files in a folder: those to damage, and what then reads them

_IMAGES = ("jpg", "png", "bmp", "gif", "webp")
_LABEL_MAP = "item {\n  id: 1\n  name: 'cat'\n  display_name: 'Cat'\n}\nitem { id: 3 name: 'dog' keypoints { id: 1 label: 'nose' } }\n"


def fuzz(target: str, folder: Path, *, num_examples: int, is_random: bool) -> None:
    """Damages the files of a target one after the other and reads them.

    Args:
        target: a key of `TARGETS`.
        folder: empty; everything lies in it.
        num_examples: how many damaged files.
        is_random: false for the same files in every run.
    """
    files, check = TARGETS[target](folder)
    originals = {path: path.read_bytes() for path in files}

    @settings(
        max_examples=num_examples,
        derandomize=not is_random,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=is_random,
    )
    @given(st.one_of([damaged(path).map(lambda content, path=path: (path, content)) for path in files]))
    def run(drawn: tuple[Path, bytes]) -> None:
        path, content = drawn
        path.write_bytes(content)
        try:
            check()
        finally:
            path.write_bytes(originals[path])

    check()
    run()


def _format_target(name: str, folder: Path) -> tuple[Sequence[Path], Check]:
    small = SMALL_SETS[name](folder)
    save_image(folder.parent / "secret.jpg")  # what names with .. lead to
    read = functools.partial(read_everything, FORMATS[name.partition("-")[0]], small.options, root=folder)
    messages = read()
    assert not messages, f"the undamaged set is refused: {messages}"
    recognise = _guarded(folder, lambda: [_refused(functools.partial(format_.recognise, folder)) for format_ in FORMATS.values()])
    return small.files, lambda: (read(), recognise())


def _image_target(suffix: str, folder: Path) -> tuple[Sequence[Path], Check]:
    path = folder / f"image.{suffix}"
    Image.effect_noise((64, 48), 50).convert("P" if suffix == "gif" else "RGB").save(path)

    def decode() -> None:
        encoded, header = read_image(path)
        check_pixels(encoded, header)
        make_storable(encoded, header)

    return [path], _guarded(folder, lambda: (_refused(decode), inspect_image(path.read_bytes())))


def _record_target(folder: Path) -> tuple[Sequence[Path], Check]:
    path = _write_records(folder)
    return [path], _guarded(folder, lambda: _refused(lambda: [parse_example(payload) for payload in read_records(path)]))


def _doctor_target(folder: Path) -> tuple[Sequence[Path], Check]:
    """Damaged records are scanned to the end and mended: what is wrong with them are findings."""
    path = _write_records(folder)
    record_sets = [RecordSet(TRAIN, (str(path),), LabelMap.from_names(["cat"]), "map.pbtxt")]

    def examine() -> None:
        scan = scan_records(record_sets, ScanSettings(num_classes=1))
        for group in scan.findings.groups():
            for finding in group.findings:
                checked(one_line(str(finding)))
        fix_records(record_sets, scan, folder / "fixed")

    return [path], _guarded(folder, examine)


def _manifest_target(folder: Path) -> tuple[Sequence[Path], Check]:
    _write_records(folder)
    path = folder / "train_manifest.json"
    assert [problem for _, problem in verify_manifest(path) if problem] == []
    return [path], _guarded(folder, lambda: _refused(lambda: [checked(f"{name!r} {problem}") for name, problem in verify_manifest(path)]))


def _label_map_target(folder: Path) -> tuple[Sequence[Path], Check]:
    path = folder / "label_map.pbtxt"
    path.write_text(_LABEL_MAP)
    return [path], _guarded(folder, lambda: _refused(lambda: load_label_map(path)))


def _split_file_target(folder: Path) -> tuple[Sequence[Path], Check]:
    path = folder / "split.txt"
    path.write_text("a 1\nb -1\n\nc\n")
    return [path], _guarded(folder, lambda: _refused(lambda: read_split_file(path)))


def _guarded(folder: Path, work: Check) -> Check:
    def check() -> None:
        with nothing_opened_outside(folder), time_limit(20.0), contextlib.redirect_stderr(io.StringIO()), mock.patch("os.fsync"):
            work()

    return check


def _refused(work: Check) -> None:
    """Does it; if it is refused, then in one clear line."""
    try:
        work()
    except InputError as error:
        checked(str(error))


def _write_records(folder: Path) -> Path:
    """Two records of images of 64x48, one of them without objects, with label map and manifest; the record file."""
    images = []
    for index, name in enumerate(("a.jpg", "b.jpg")):
        path = folder / name
        Image.new("RGB", (64, 48), (index, 0, 128)).save(path)
        objects = (AnnotatedObject("cat", PixelBox(1, 2, 30, 40), "here"),) * (1 - index)
        images.append(AnnotatedImage(path, name, name, (48, 64), objects, "here"))
    source = Source(images, _same, ("image/object/class/label", "image/object/area"))
    create_tf_record(source, folder / "train.record", WriteOptions(is_numbered=False))
    return folder / "train.record"


def _same(image: AnnotatedImage) -> AnnotatedImage:
    return image


TARGETS: dict[str, Target] = {
    **{name: functools.partial(_format_target, name) for name in SMALL_SETS},
    **{f"image {suffix}": functools.partial(_image_target, suffix) for suffix in _IMAGES},
    "records": _record_target,
    "records for the doctor": _doctor_target,
    "manifest": _manifest_target,
    "label map": _label_map_target,
    "split file": _split_file_target,
}
