from __future__ import annotations

import pytest

from data_tools.export_names import ExportNames


@pytest.mark.parametrize(
    ("recorded", "image_format", "name"),
    [
        pytest.param("a.jpg", "jpeg", "a.jpg", id="as recorded"),
        pytest.param("a b.JPEG", "jpeg", "a b.JPEG", id="suffix in capitals"),
        pytest.param("train/é 猫.png", "png", "train/é 猫.png", id="in a folder"),
        pytest.param("a.bmp", "png", "a.png", id="another format"),
        pytest.param("a", "jpeg", "a.jpg", id="no suffix"),
        pytest.param("a..b.jpg", "jpeg", "a..b.jpg", id="dots within"),
        pytest.param("../a.jpg", "jpeg", "image_000007.jpg", id="climbs"),
        pytest.param("b/../../a.jpg", "jpeg", "image_000007.jpg", id="climbs later"),
        pytest.param("/etc/a.jpg", "jpeg", "image_000007.jpg", id="absolute"),
        pytest.param("C:\\a.jpg", "jpeg", "image_000007.jpg", id="Windows"),
        pytest.param("..\\a.png", "png", "image_000007.png", id="climbs in Windows"),
        pytest.param("a//b.jpg", "jpeg", "image_000007.jpg", id="empty part"),
        pytest.param("./a.jpg", "jpeg", "image_000007.jpg", id="dot"),
        pytest.param(".a.jpg", "jpeg", "image_000007.jpg", id="hidden"),
        pytest.param("", "jpeg", "image_000007.jpg", id="empty"),
        pytest.param("..", "jpeg", "image_000007.jpg", id="two dots"),
        pytest.param("a\0b.jpg", "jpeg", "image_000007.jpg", id="zero"),
        pytest.param("a\nb.jpg", "jpeg", "image_000007.jpg", id="line end"),
        pytest.param("a/" * 20 + "b.jpg", "jpeg", "image_000007.jpg", id="deep"),
        pytest.param("é" * 150 + ".jpg", "jpeg", "image_000007.jpg", id="long"),
        pytest.param("folder /b.jpg", "jpeg", "image_000007.jpg", id="space at the end"),
    ],
)
def test_names(recorded, image_format, name):
    names = ExportNames()
    assert names(recorded, image_format, 7) == name
    assert names.changed == ([] if name == recorded else [(recorded, name)])


def test_no_two_are_the_same():
    names = ExportNames()
    recorded = ["a.jpg", "A.jpg", "a.jpg", "a.jpg/b.jpg", "b/c.jpg", "b", "image_000007.jpg", ""]
    assert [names(name, "jpeg", number) for number, name in enumerate(recorded)] == [
        "a.jpg",
        "image_000001.jpg",
        "image_000002.jpg",
        "image_000003.jpg",
        "b/c.jpg",
        "b.jpg",
        "image_000007.jpg",
        "image_000007_1.jpg",
    ]
    names = ExportNames()
    names("b.jpg/c.jpg", "jpeg", 0)
    assert names("b.jpg", "jpeg", 1) == "image_000001.jpg"  # there is such a folder


def test_flat_names_have_different_stems():
    names = ExportNames(is_flat=True)
    assert [names(name, "png", number) for number, name in enumerate(["a/b.png", "a_b.png", "a.b", "a.png", "../c.png"])] == [
        "a_b.png",
        "image_000001.png",
        "a.png",
        "image_000003.png",
        "image_000004.png",
    ]
