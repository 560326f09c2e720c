"""Finding and reading image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from object_detection_ext.errors import InputError
from pipelines.image_files import find_images, read_image


def save(path: Path, pixels: np.ndarray, **settings: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **settings)
    return path


GRAY = np.full((4, 6), 200, np.uint8)
RGB = np.dstack([GRAY, GRAY // 2, GRAY // 4])


class TestFind:
    def test_file_folder_and_glob_each_once(self, tmp_path: Path) -> None:
        for name in ("b.jpg", "a.PNG", "sub/c.jpeg"):
            save(tmp_path / name, RGB)
        (tmp_path / "notes.txt").write_text("no image")
        (tmp_path / "d.jpg").mkdir()
        found = find_images([str(tmp_path / "b.jpg"), str(tmp_path), str(tmp_path / "**" / "*.jp*g")])
        assert [path.relative_to(tmp_path).as_posix() for path in found] == ["b.jpg", "a.PNG", "sub/c.jpeg"]

    def test_a_file_with_brackets_is_no_glob(self, tmp_path: Path) -> None:
        path = save(tmp_path / "photo[1].png", RGB)
        assert find_images([str(path)]) == [path]

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [("missing.jpg", "no image matches"), ("*.png", "no image matches"), ("", "no images in folder")],
        ids=["file", "glob", "folder"],
    )
    def test_nothing_found(self, tmp_path: Path, pattern: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            find_images([str(tmp_path / pattern)])


class TestRead:
    def test_rgb(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", RGB)), RGB)

    @pytest.mark.parametrize(
        "image",
        [
            Image.fromarray(GRAY),
            Image.fromarray(GRAY).convert("P"),
            Image.fromarray(np.dstack([GRAY, GRAY, GRAY, GRAY * 0])),
            Image.fromarray(GRAY.astype(np.uint16) * 256 + 17),
        ],
        ids=["gray", "palette", "transparent", "16 bits"],
    )
    def test_every_mode_becomes_rgb(self, image: Image.Image, tmp_path: Path) -> None:
        image.save(tmp_path / "a.png")
        for source in (image, tmp_path / "a.png"):
            pixels = read_image(source)
            assert pixels.dtype == np.uint8
            np.testing.assert_array_equal(pixels, np.dstack([GRAY] * 3))

    def test_exif_orientation_is_applied(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show
        path = save(tmp_path / "a.png", RGB, exif=exif)
        np.testing.assert_array_equal(read_image(path), np.rot90(RGB, k=-1))

    def test_of_an_animation_the_first_frame(self, tmp_path: Path) -> None:
        frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        assert read_image(tmp_path / "a.gif")[0, 0].tolist() == [10, 10, 10]

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"", "not an image"), (b"hello", "not an image"), (None, "no such file")],
        ids=["empty", "text", "missing"],
    )
    def test_what_is_no_image(self, tmp_path: Path, content: bytes | None, message: str) -> None:
        path = tmp_path / "a.jpg"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=rf"a\.jpg: {message}"):
            read_image(path)

    @pytest.mark.parametrize("suffix", [".jpg", ".png"])
    def test_a_truncated_file(self, tmp_path: Path, suffix: str) -> None:
        path = save(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(InputError, match="broken image") as caught:
            read_image(path)
        assert path.name in str(caught.value)

    def test_a_bomb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = save(tmp_path / "a.png", RGB)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
        with pytest.raises(InputError, match=r"broken image .*decompression bomb"):
            read_image(path)
