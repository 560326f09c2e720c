from __future__ import annotations

from pathlib import Path

import pytest

from data_tools.annotated_image import ReadOptions
from data_tools.formats.options import refuse_unused, require_file
from object_detection_ext.errors import InputError

IMAGES, ANNOTATIONS = Path("images"), Path("annotations")


def test_used_options_pass():
    refuse_unused(ReadOptions(IMAGES, ANNOTATIONS), "voc")
    refuse_unused(ReadOptions(IMAGES, ANNOTATIONS, split_file=Path("x"), include_masks=True), "voc", "split_file", "include_masks")


def test_files_that_are_needed(tmp_path):
    require_file(Path(__file__), "coco", "an instances JSON")
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match=f"^{path} is not a file; the coco format needs an instances JSON$"):
            require_file(path, "coco", "an instances JSON")


@pytest.mark.parametrize(
    ("option", "used", "message"),
    [
        ({"split_file": Path("x")}, (), "the voc format has no use for --split_file; it has no options of its own"),
        ({"include_masks": True}, ("split_file",), "the voc format has no use for --include_masks; it takes --split_file"),
        ({"hierarchy": Path("x")}, ("a", "b"), "the voc format has no use for --hierarchy; it takes --a, --b"),
    ],
)
def test_others_are_refused(option, used, message):
    with pytest.raises(InputError) as raised:
        refuse_unused(ReadOptions(IMAGES, ANNOTATIONS, **option), "voc", *used)
    assert str(raised.value) == message
