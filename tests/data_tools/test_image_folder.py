from __future__ import annotations

import os

import pytest

from data_tools.image_folder import images_by_stem, list_images, other_place
from object_detection_ext.errors import InputError


def test_all_images_below_a_folder(write_image, tmp_path):
    for name in ("b/2.PNG", "b/1.jpg", "a.jpeg", "b/c/x.jpg"):
        write_image(tmp_path / name)
    (tmp_path / "b/1.txt").write_text("")
    (tmp_path / ".trash").mkdir()
    write_image(tmp_path / ".trash/old.jpg")
    write_image(tmp_path / "._a.jpg")
    (tmp_path / "same").symlink_to(tmp_path / "b")  # its images are listed already
    assert list_images(tmp_path) == ["a.jpeg", "b/1.jpg", "b/2.PNG", "b/c/x.jpg"]


def test_a_linked_folder_is_not_left_out_without_a_word(write_image, tmp_path):
    write_image(tmp_path / "elsewhere/1.jpg")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"images/train is a link that leads out of the folder .*; give the folder that it leads to"):
        list_images(tmp_path / "images")


def test_where_else_an_image_may_lie(write_image, tmp_path):
    images = tmp_path / "images"
    write_image(images / "train/1.jpg")
    write_image(images / "2.jpg")
    write_image(tmp_path / "outside.jpg")
    assert other_place(images, "1.jpg") == other_place(images, "C:\\x\\1.jpg") == f"; there is one in {images / 'train'}"
    assert other_place(images, "images/2.jpg") == f"; names seem to count from the folder above: --images {tmp_path}"
    os.mkfifo(images / "pipe.jpg")
    assert [other_place(images, name) for name in ("3.jpg", "pipe.jpg", "outside.jpg", "images/../../outside.jpg", "", "images/")] == [
        ""
    ] * 6


def test_images_by_their_stems(write_image, tmp_path):
    for name in ("b.jpg", "a.PNG", "a 1.jpeg", ".hidden.jpg", "below/c.jpg"):
        write_image(tmp_path / name)
    (tmp_path / "d.txt").write_text("")
    assert list(images_by_stem(tmp_path).items()) == [("a", "a.PNG"), ("a 1", "a 1.jpeg"), ("b", "b.jpg")]


def test_wrong_folders(write_image, tmp_path):
    for read in (images_by_stem, list_images):
        with pytest.raises(InputError, match="nothing is not a folder of images"):
            read(tmp_path / "nothing")
    with pytest.raises(InputError, match="no image in "):
        images_by_stem(tmp_path)
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.jpg and a\.png have the same stem"):
        images_by_stem(tmp_path)
