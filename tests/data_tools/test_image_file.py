from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from data_tools import image_file
from data_tools.image_file import find_inside, read_image
from data_tools.image_header import ImageHeader
from object_detection_ext.errors import InputError


def test_an_image_and_its_header(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(path)
    assert read_image(path) == (path.read_bytes(), ImageHeader("png", 20, 30))


def test_messages_name_the_file(tmp_path: Path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"<html>")
    with pytest.raises(InputError, match=rf"^{path}: not an image \(starts with b'<html>'\)"):
        read_image(path)
    monkeypatch.setattr(image_file, "LARGEST_FILE", 5)
    with pytest.raises(InputError, match=rf"^{path}: the file has 6 bytes; at most 5 are read"):
        read_image(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for path in (folder / "a.jpg", folder / "deep" / "b.jpg", tmp_path / "secret.jpg"):
        path.write_bytes(b"JPEG")
    (tmp_path / "images-other").mkdir()
    (folder / "inner_link.jpg").symlink_to("deep/b.jpg")
    (folder / "outer_link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "outer_folder").symlink_to(tmp_path)
    return folder.resolve()


@pytest.mark.parametrize("name", ["a.jpg", "deep/b.jpg", "./a.jpg", "inner_link.jpg"])
def test_found_inside(folder, name):
    assert find_inside(folder, name) == folder / name


@pytest.mark.parametrize("name", ["c.jpg", "deep", "a.jpg/b.jpg", "no/such/folder.jpg", "C:\\images\\a.jpg", "*"])
def test_not_there(folder, name):
    assert find_inside(folder, name) is None


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "deep/../../secret.jpg", "outer_link.jpg", "outer_folder/secret.jpg", "/etc/passwd", ".."]
)
def test_never_outside(folder, name):
    with pytest.raises(InputError, match="leads out of the folder"):
        find_inside(folder, name)


@pytest.mark.parametrize("name", ["", "a\0.jpg", "a\n.jpg", "\udc80.jpg"])
def test_names_that_cannot_be(folder, name):
    with pytest.raises(InputError, match="not a file name"):
        find_inside(folder, name)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/a.jpg", "a/" * 3000 + "a.jpg", "circle.jpg", "circle.jpg/a.jpg"])
def test_names_that_the_file_system_refuses(folder, name):
    (folder / "circle.jpg").symlink_to("circle.jpg")
    with pytest.raises(InputError, match=r"cannot be looked up in .*: (File name too long|Symlink loop|Too many levels)"):
        find_inside(folder, name)
