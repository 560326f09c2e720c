from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from data_tools.image_file import ImageHeader, find_inside, read_header, read_image
from object_detection_ext.errors import InputError


def encode(format: str, *, size: tuple[int, int] = (300, 200), mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x010E] = "a description long enough to make a segment " * 20


@pytest.mark.parametrize(
    ("encoded", "format"),
    [
        pytest.param(encode("JPEG"), "jpeg", id="baseline"),
        pytest.param(encode("JPEG", progressive=True), "jpeg", id="progressive"),
        pytest.param(encode("JPEG", mode="L"), "jpeg", id="grayscale"),
        pytest.param(encode("JPEG", mode="CMYK"), "jpeg", id="CMYK"),
        pytest.param(encode("JPEG", exif=EXIF, comment=b"\xff\xd8\xff\xc0 not a frame"), "jpeg", id="segments before the frame"),
        pytest.param(encode("JPEG").replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1), "jpeg", id="fill bytes"),
        pytest.param(encode("JPEG") + b"\0" * 100, "jpeg", id="padded at the end"),
        pytest.param(encode("PNG"), "png", id="png"),
        pytest.param(encode("PNG", mode="P"), "png", id="png with palette"),
    ],
)
def test_header(encoded, format):
    assert read_header(encoded) == ImageHeader(format, 200, 300)


JPEG, PNG = encode("JPEG"), encode("PNG")
FRAME = JPEG.index(b"\xff\xc0")


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"<html>not found</html>", r"not an image \(starts with b'<html>no'\)", id="an error page"),
        pytest.param(encode("GIF", mode="P"), "a GIF image; only JPEG and PNG", id="gif"),
        pytest.param(encode("BMP"), "a BMP image", id="bmp"),
        pytest.param(encode("TIFF"), "a TIFF image", id="tiff"),
        pytest.param(encode("WEBP"), "a WebP image", id="webp"),
        pytest.param(JPEG[: len(JPEG) // 2], r"ends early, after \d+ bytes", id="half a jpeg"),
        pytest.param(JPEG[:100], "no frame header", id="start of a jpeg"),
        pytest.param(b"\xff\xd8\xff", "no frame header", id="signature alone"),
        pytest.param(JPEG[:FRAME] + b"\0\0" + JPEG[FRAME + 2 :], "no marker at byte", id="damaged segment"),
        pytest.param(JPEG[:FRAME] + b"\xff\xc3" + JPEG[FRAME + 2 :], "lossless, arithmetic-coded or 12-bit", id="lossless"),
        pytest.param(JPEG[: FRAME + 4] + b"\x0c" + JPEG[FRAME + 5 :], "12-bit", id="12 bits"),
        pytest.param(JPEG[: FRAME + 5] + b"\0\0" + JPEG[FRAME + 7 :], "says 300x0 pixels", id="no height"),
        pytest.param(PNG[:20], "no header chunk", id="start of a png"),
        pytest.param(PNG[:1000], "ends early", id="half a png"),
    ],
)
def test_broken_images(encoded, message, tmp_path: Path):
    path = tmp_path / "image.jpg"
    path.write_bytes(encoded)
    with pytest.raises(InputError, match=message) as raised:
        read_image(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_thumbnail_in_the_metadata_is_not_the_image():
    exif = Image.Exif()
    exif[0x9286] = encode("JPEG", size=(16, 16))  # user comment holding a whole JPEG, end marker included
    encoded = encode("JPEG", exif=exif)
    assert read_header(encoded) == ImageHeader("jpeg", 200, 300)
    with pytest.raises(InputError, match="ends early"):
        read_header(encoded[: len(encoded) // 2])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for path in (folder / "a.jpg", folder / "deep" / "b.jpg", tmp_path / "secret.jpg"):
        path.write_bytes(JPEG)
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
