"""What a stranger's data set may hold on purpose, in every format: one line that names the file, and nothing read outside the folder."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data_tools.format_table import FORMATS
from tests.data_tools.conftest import save_image
from tests.data_tools.reading import read_everything
from tests.data_tools.small_sets import SMALL_SETS, SmallSet

ROOT = Path(__file__).resolve().parents[2]
SECRET = "the secret"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the data set; beside it lie things that no reader may touch."""
    (tmp_path / "secret.txt").write_text(SECRET)
    save_image(tmp_path / "secret.jpg")
    folder = tmp_path / "set"
    folder.mkdir()
    return folder


@pytest.fixture(params=SMALL_SETS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[name for name in SMALL_SETS if FORMATS[name.partition("-")[0]].has_image_folder])
def with_images(request: pytest.FixtureRequest) -> str:
    """A set whose images lie in a folder."""
    return request.param


def read(name: str, small: SmallSet, root: Path) -> list[str]:
    messages = read_everything(FORMATS[name.partition("-")[0]], small.options, root=root)
    assert not any(SECRET in message for message in messages)
    return messages


def _find_files() -> dict[str, dict[int, str]]:
    """The annotation files of every format: numbers in `SmallSet.files`, and suffixes; one of those that lie in a folder of their kind."""
    found = {}
    for name, make in SMALL_SETS.items():
        if "-" not in name:
            with tempfile.TemporaryDirectory() as folder:
                files = make(Path(folder)).files
                numbers = {(path.parent, path.suffix, path.stem if path.suffix == ".csv" else ""): n for n, path in enumerate(files)}
                found[name] = {n: files[n].suffix for n in numbers.values()}
    return found


FILES = _find_files()


def files_of(suffix: str) -> list[tuple[str, int]]:
    """(set, number of the file) of all annotation files with a suffix."""
    return [(name, number) for name, suffixes in FILES.items() for number, own in suffixes.items() if own == suffix]


def test_every_format_has_a_small_set() -> None:
    assert {name.partition("-")[0] for name in SMALL_SETS} == set(FORMATS)


def test_the_small_sets_are_valid(name, root):
    assert read(name, SMALL_SETS[name](root), root) == []


# ---- XML


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that nobody may call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


def billion_laughs() -> str:
    return '<!ENTITY a0 "lol">' + "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 12))


XML_ATTACKS: dict[str, Callable[[str, Path, int], str]] = {  # of the valid text, the secret file, the listener's port
    "billion laughs": lambda text, secret, port: f"<!DOCTYPE x [{billion_laughs()}]>" + text.replace(">a", ">&a11;", 1),
    "quadratic blow-up": lambda text, secret, port: (
        f'<!DOCTYPE x [<!ENTITY a "{"a" * 100_000}">]>' + text.replace(">a", f">{'&a;' * 10_000}", 1)
    ),
    "an entity that is a local file": lambda text, secret, port: (
        f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{secret}">]>' + text.replace(">a", ">&a;", 1)
    ),
    "a parameter entity that is a local file": lambda text, secret, port: (
        f'<!DOCTYPE x [<!ENTITY % a SYSTEM "file://{secret}"> %a;]>{text}'
    ),
    "a DTD from the network": lambda text, secret, port: f'<!DOCTYPE x SYSTEM "http://127.0.0.1:{port}/x.dtd">{text}',
    "an entity from the network": lambda text, secret, port: (
        f'<!DOCTYPE x [<!ENTITY a SYSTEM "http://127.0.0.1:{port}/">]>' + text.replace(">a", ">&a;", 1)
    ),
    "a harmless DTD": lambda text, secret, port: f"<!DOCTYPE annotation>{text}",
    "XInclude alone": lambda text, secret, port: (
        f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file://{secret}" parse="text"/>'
    ),
    "a stylesheet alone": lambda text, secret, port: f'<?xml-stylesheet href="http://127.0.0.1:{port}/x.xsl"?><x/>',
    "100,000 levels": lambda text, secret, port: "<annotation>" * 100_000,
    "100,000 closed levels": lambda text, secret, port: "<annotation>" * 100_000 + "</annotation>" * 100_000,
    "an unknown encoding": lambda text, secret, port: f"<?xml version='1.0' encoding='x-mac-secret'?>{text}",
    "no XML": lambda text, secret, port: "PK\3\4",
    "nothing": lambda text, secret, port: "",
}


@pytest.mark.parametrize("attack", XML_ATTACKS)
@pytest.mark.parametrize(("name", "number"), files_of(".xml"))
def test_xml(name, number, attack, root, listener):
    small = SMALL_SETS[name](root)
    path = small.files[number]
    path.write_text(XML_ATTACKS[attack](path.read_text(), root.parent / "secret.txt", listener.getsockname()[1]))
    messages = read(name, small, root)
    assert messages and path.name in messages[0]


# ---- JSON

JSON_ATTACKS: dict[str, bytes] = {
    "a list": b"[]",
    "an empty object": b"{}",
    "null": b"null",
    "a number": b"3",
    "a text": b'"images"',
    "nothing": b"",
    "spaces": b" \n" * 1000,
    "10,000 open levels": b"[" * 10_000,
    "10,000 levels": b"[" * 10_000 + b"]" * 10_000,
    "100,000 levels of objects": b'{"images":' * 100_000 + b"1" + b"}" * 100_000,
    "a number of 10,000 digits": b'{"images": ' + b"9" * 10_000 + b"}",
    "NaN": b'{"images": NaN}',
    "Infinity": b'{"images": [Infinity]}',
    "another encoding": '{"images": []}'.encode("utf-16"),
    "not UTF-8": b'{"images": "\xff\xfe"}',
    "a zip": b"PK\3\4\x14\0\0\0",
    "two values": b"{} {}",
    "a comma too many": b'{"images": [],}',
    "a text that does not end": b'{"images": "' + b"x" * 1_000_000,
    "a million numbers": b"[" + b"0," * 1_000_000 + b"0]",
}


@pytest.mark.parametrize("attack", JSON_ATTACKS)
@pytest.mark.parametrize(("name", "number"), files_of(".json"))
def test_json(name, number, attack, root):
    small = SMALL_SETS[name](root)
    small.files[number].write_bytes(JSON_ATTACKS[attack])
    messages = read(name, small, root)
    assert messages and small.files[number].name in messages[0]
    assert len(messages[0]) < 1000


# ---- texts: CSV, txt, YAML, records

TEXT_ATTACKS: dict[str, bytes] = {
    "a zip": b"PK\3\4\x14\0\0\0" + bytes(range(256)),
    "another encoding": "a,b\n1,2\n".encode("utf-16"),
    "one line of 10 MB": b"x" * 10_000_000,
    "10 MB of separators": b"," * 5_000_000 + b" " * 5_000_000,
    "zero bytes": bytes(100_000),
    "a quote that does not end": b'"' + b"a,b\n" * 100_000,
    "many brackets": b"{[" * 300,
    "YAML's billion laughs": b"a0: &a0 [x]\n" + b"".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n".encode() for i in range(1, 12)),
    "a YAML object": b"names: !!python/object/apply:os.system ['true']\n",
}


@pytest.mark.parametrize("attack", TEXT_ATTACKS)
@pytest.mark.parametrize(("name", "number"), [*files_of(".csv"), *files_of(".txt"), *files_of(".yaml"), *files_of(".record")])
def test_text(name, number, attack, root):
    small = SMALL_SETS[name](root)
    small.files[number].write_bytes(TEXT_ATTACKS[attack])
    messages = read(name, small, root)
    assert messages
    if attack != "a YAML object":  # its tag means nothing, and what is left are the names of classes, too few for the label files
        assert small.files[number].name in messages[0]


# ---- names, links, folders

NAMES_IMAGES = [name for name in SMALL_SETS if name.partition("-")[0] in ("coco", "csv", "labelme", "cvat", "voc")]
BAD_NAMES = {
    "climbs": "../../secret.jpg",
    "climbs from below": "x/../../../secret.jpg",
    "absolute": "{outside}/secret.jpg",
    "through a linked folder": "linked/secret.jpg",
    "through a linked file": "linked.jpg",
    "a device": "/dev/zero",
    "a control character": "a\x07.jpg",
    "a line end": "a.jpg\n",
    "a terminal's control sequence": "\x1b[2Ja.jpg",
    "too long": "a" * 300 + ".jpg",
    "a long path": "a/" * 3000 + "a.jpg",
    "a folder": "folder.jpg",
    "links in a circle": "circle.jpg",
}

LINKS = {  # what must lie in the image folder for it
    "through a linked folder": ("linked", "{outside}"),
    "through a linked file": ("linked.jpg", "{outside}/secret.jpg"),
    "links in a circle": ("circle.jpg", "circle.jpg"),
}

GOES_ON = {  # to the image with the stem of the annotation file, which is left as it was
    "voc": ("a folder", "a line end"),
    "labelme": ("climbs", "climbs from below", "absolute", "a device", "a folder"),  # of a path only the last part counts
}


@pytest.mark.parametrize("bad", BAD_NAMES)
@pytest.mark.parametrize("name", NAMES_IMAGES)
def test_image_names(name, bad, root):
    small = SMALL_SETS[name](root)
    images = small.options.images
    if bad == "a folder":
        (images / "folder.jpg").mkdir()
    elif bad in LINKS:
        link, target = LINKS[bad]
        (images / link).symlink_to(target.format(outside=root.parent))
    new_name = BAD_NAMES[bad].format(outside=root.parent)
    for path in small.files:
        quoted = json.dumps(new_name)[1:-1] if path.suffix == ".json" else new_name
        text = path.read_text()
        assert path.suffix == ".txt" or "a.jpg" in text or "b.jpg" in text
        path.write_text(text.replace("gs://bucket/", "").replace("a.jpg", quoted))
    messages = read(name, small, root)
    if bad in GOES_ON.get(name.partition("-")[0], ()):
        return
    assert messages and any(part in messages[0] for part in [*(path.name for path in small.files), "linked ", "circle.jpg"])


def image_of(small: SmallSet) -> Path:
    return min(path for path in small.options.images.rglob("*") if path.suffix == ".jpg")


@pytest.mark.parametrize("bad", ["c\x1b[2J.jpg", "c\n.jpg", "c\udcff.jpg"])
def test_image_files_whose_names_cannot_be_printed(with_images, bad, root):
    """Where the folder is the list of images, they are refused; elsewhere nothing names them."""
    small = SMALL_SETS[with_images](root)
    save_image(root / "d.jpg")
    (root / "d.jpg").rename(image_of(small).parent / bad)
    messages = read(with_images, small, root)
    assert bool(messages) == (with_images.partition("-")[0] in NOTED_NEGATIVES)


@pytest.mark.parametrize("target", ["secret.jpg", "/dev/zero", "no such file"])
def test_an_image_that_is_a_link_out_of_the_folder(with_images, target, root):
    small = SMALL_SETS[with_images](root)
    image = image_of(small)
    image.unlink()
    image.symlink_to(root.parent / target)
    assert any(image.name in message or image.stem in message for message in read(with_images, small, root))


def test_an_annotation_file_that_is_a_link_out_of_the_folder(name, root):
    """The files that are given themselves may be links; what is found in a folder may not."""
    small = SMALL_SETS[name](root)
    given = {value for value in vars(small.options).values() if isinstance(value, Path)}
    for path in small.files:
        if path in given:
            continue
        outside = root.parent / f"outside{path.suffix}"
        path.rename(outside)
        path.symlink_to(outside)
        messages = read(name, small, root)
        assert messages and path.name in messages[0]
        path.unlink()
        outside.rename(path)


def test_a_zip_in_place_of_the_annotations_or_of_the_images(name, root):
    small = SMALL_SETS[name](root)
    with zipfile.ZipFile(root / "set.zip", "w") as archive:
        archive.writestr("../../climbs.jpg", b"")
    messages = read(name, replace(small, options=replace(small.options, annotations=root / "set.zip")), root)
    assert messages and "set.zip" in messages[0]
    assert read(name, replace(small, options=replace(small.options, images=root / "set.zip")), root)
    assert not (root.parent / "climbs.jpg").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_pipes_in_folders_do_not_hang(name, root):
    """What is given itself may be a pipe, as in `--annotations <(unzip -p ...)`."""
    small = SMALL_SETS[name](root)
    given = {value for value in vars(small.options).values() if isinstance(value, Path)}
    images = [image_of(small)] if small.options.images.is_dir() else []
    for path in [path for path in small.files if path not in given] + images:
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        read(name, small, root)
        path.unlink()
        path.write_bytes(content)


# ---- images and annotations that do not fit together

LOST_ANNOTATION = {  # the place that is named where `a.jpg` is missing; formats whose custom is to go on say so in a note
    "coco": "instances.json: image id 7: no image 'a.jpg' in ",
    "csv": "boxes.csv:3: no image 'a.jpg' in ",
    "cvat": "annotations.xml:3: image a.jpg: no such image in ",
    "kitti": "a.txt: no image 'a' in ",
    "labelme": "a.json: no image 'a.jpg' in ",
    "open_images": "boxes.csv: 2 rows name images that are not in ",
    "pets": "Abyssinian_1.xml: no image 'Abyssinian_1.jpg' in ",
    "voc": "a.xml: no image 'a.jpg' in ",
    "yolo": "1 label files, such as ",
}


@pytest.mark.parametrize("name", LOST_ANNOTATION)
def test_annotations_without_an_image(name, root):
    small = SMALL_SETS[name](root)
    image_of(small).unlink()
    messages = read(name, small, root)
    if name in ("open_images", "yolo"):
        messages = list(FORMATS[name].read(small.options).notes)
    assert LOST_ANNOTATION[name] in messages[0]


# Formats that list images in their annotations take these only; where a folder is the list, what is not annotated is a negative.
NOTED_NEGATIVES = {
    "kitti": "2 images have no label file in ",
    "labelme": "1 of 3 images have no JSON file: kept, as images without objects",
    "open_images": "1 images have no row in ",
    "yolo": "1 of 3 images have no label file: kept, as images without objects",
}


def test_images_without_annotations(with_images, root):
    small, format_name = SMALL_SETS[with_images](root), with_images.partition("-")[0]
    save_image(image_of(small).with_name("d.jpg"), color=7)
    assert read(with_images, small, root) == []
    source = FORMATS[format_name].read(small.options)
    assert len(source.entries) == (3 if format_name in NOTED_NEGATIVES else 2)
    noted = NOTED_NEGATIVES.get(format_name)
    assert noted is None or any(noted in note for note in source.notes)


def test_two_annotations_for_one_image(root):
    twice = {
        "coco": ("b.jpg", "a.jpg", "instances.json"),
        "cvat": ("b.jpg", "a.jpg", "annotations.xml"),
        "voc": ("b.jpg", "a.jpg", "b.xml"),
        "labelme": ("b.jpg", "a.jpg", "b.json"),
    }
    for name, (old, new, file) in twice.items():
        folder = root / name
        folder.mkdir()
        small = SMALL_SETS[name](folder)
        for path in small.files:
            path.write_text(path.read_text().replace(old, new))
        messages = read(name, small, folder)
        assert messages and file in messages[-1] and ("twice" in messages[-1] or "a.jpg" in messages[-1]), (name, messages)


# ---- images


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


BOMBS: dict[str, bytes] = {  # what the header says is huge, the file is small
    "PNG": png(50_000, 50_000),
    "PNG with data that grow": png(50_000, 50_000, bytes(30_000_000)),
    "PNG of 100 pixels with data that grow": png(10, 10, bytes(100_000_000)),
    "PNG with a text that grows": png(10, 10, b"\0" * 310).replace(
        b"\0\0\0\0IEND",
        b"".join(
            [
                struct.pack(">I", len(text := b"a\0\0" + zlib.compress(bytes(100_000_000)))),
                b"zTXt",
                text,
                struct.pack(">I", zlib.crc32(b"zTXt" + text)),
            ]
        )
        + b"\0\0\0\0IEND",
    ),
    "GIF": b"GIF89a"
    + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0)
    + b","
    + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
    + b"\x02\x02L\x01\0;",
    "GIF with a frame larger than its screen": b"GIF89a\x0a\0\x0a\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02L\x01\0;",
    "WebP": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff",
    "lossless WebP": b"RIFF\x12\0\0\0WEBPVP8L\x05\0\0\0\x2f\xff\xff\xff\x0f\0",
    "BMP": b"BM" + struct.pack("<IHHIIiiHHIIIIII", 54, 0, 0, 54, 40, 60_000, -60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "BMP of runs": b"BM" + struct.pack("<IHHIIiiHHIIIIII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 8, 1, 0, 0, 0, 0, 0) + b"\0\1",
    "JPEG": b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xd9",
}


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit")
def test_decompression_bombs(tmp_path):
    """In one process after the other's memory is measured: a header check, and with every image decoded."""
    annotations, images = tmp_path / "Annotations", tmp_path / "JPEGImages"
    annotations.mkdir()
    images.mkdir()
    script = tmp_path / "bombs.py"
    script.write_text(_BOMB_SCRIPT)
    for index, content in enumerate(BOMBS.values()):
        (images / f"{index}.jpg").write_bytes(content)
        (annotations / f"{index}.xml").write_text(f"<annotation><filename>{index}.jpg</filename></annotation>")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *lines, peak = done.stdout.splitlines()
    assert int(peak) < 300 * 1024  # kilobytes: what Python, Pillow and the data tools need, and no decoded bomb
    results = dict(zip(BOMBS, map(json.loads, lines), strict=True))
    refused = {bomb for bomb, messages in results.items() if messages}
    assert refused >= set(BOMBS) - {"PNG of 100 pixels with data that grow", "PNG with a text that grows"}, results


_BOMB_SCRIPT = """
import json, resource, sys
from pathlib import Path
from data_tools.annotated_image import ReadOptions
from data_tools.formats.voc import read_voc
from data_tools.tf_record import RecordEncoder
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.errors import InputError

root = Path(sys.argv[1])
source = read_voc(ReadOptions(root / "JPEGImages", root / "Annotations"))
encoders = [RecordEncoder(source.load, (), LabelMap(()), "none", verify_images=verify) for verify in (False, True)]
for entry in sorted(source.entries, key=lambda path: int(path.stem)):
    messages = []
    for encoder in encoders:
        try:
            encoder(entry)
        except InputError as error:
            messages.append(str(error))
    print(json.dumps(messages))
print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""
