from __future__ import annotations

import time
from pathlib import Path

import pytest

from data_tools.formats.yolo_description import YoloDescription, read_description
from object_detection_ext.errors import InputError


def write(folder: Path, text: str, name: str = "data.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("names: [cat, dog]", {"names": {0: "cat", 1: "dog"}}, id="list on one line"),
        pytest.param("names:\n- cat\n- guide dog\nnc: 2\n", {"names": {0: "cat", 1: "guide dog"}}, id="list, with nc"),
        pytest.param("names:\n  0: cat\n  2: dog\n", {"names": {0: "cat", 2: "dog"}}, id="mapping with a gap"),
        pytest.param("names: [no, 1.0, 2024-01-01, ~x]", {"names": {0: "no", 1: "1.0", 2: "2024-01-01", 3: "~x"}}, id="texts as written"),
        pytest.param(
            "path: ../coco8 # root\ntrain: images/train\nval: [images/a, images/b]\ntest:\nnames: [a]\ndownload: x.zip",
            {"names": {0: "a"}, "root": "../coco8", "parts": {"train": ("images/train",), "val": ("images/a", "images/b")}},
            id="parts",
        ),
        pytest.param("kpt_shape: [17, 2]\nnames: [a]", {"names": {0: "a"}, "num_keypoints": 17, "keypoint_values": 2}, id="keypoints"),
        pytest.param("[a]: 1\n{b: c}: 2\nnames: [q]", {"names": {0: "q"}}, id="keys that are no texts"),
    ],
)
def test_data_yaml(tmp_path, text, expected):
    path = write(tmp_path, text)
    assert read_description(path) == YoloDescription(path=path, **expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "must be a mapping with `names`, as Ultralytics' data.yaml; got nothing", id="empty"),
        pytest.param("- a\n- b", "must be a mapping .*; got sequence", id="a list"),
        pytest.param("nc: 3\ntrain: x", "`names` must list the classes, .*; the file sets nc, train", id="no names"),
        pytest.param("names: data/coco.names", "`names` must list the classes", id="names a path"),
        pytest.param("names: []", "`names` must list the classes", id="names empty"),
        pytest.param("train: x\nnc: 3\nnames: [a, b]", r"data\.yaml:2: nc is 3, but `names` has 2 classes", id="nc"),
        pytest.param("names: [a]\nnc: many", r":2: nc must be a whole number, got 'many'", id="nc a text"),
        pytest.param("names:\n- a\n- b\n- a", r":4: names: 'a' is the name of class 0 and of class 2", id="name twice"),
        pytest.param("names:\n  0: a\n  0: b", r":3: names: class 0 is named twice, 'a' and 'b'", id="index twice"),
        pytest.param("names:\n  x: a", r":2: names: a class index must be a whole number from 0, got 'x'", id="index a text"),
        pytest.param("names:\n- a\n- [b]", r":3: names: must be the name of class 1, got ''", id="name a list"),
        pytest.param('names: ["a\\e[2J"]', r":1: names: must be the name of class 0, got", id="control characters"),
        pytest.param("names: [a]\nnames: [b]", r":2: `names` is set twice, first in line 1", id="key twice"),
        pytest.param("names: [a]\ntrain: {x: y}", r":2: train must be a folder or a list of folders", id="part a mapping"),
        pytest.param("names: [a]\nkpt_shape: [17]", r":2: kpt_shape must be \[number of keypoints, 2 or 3\]", id="keypoint shape"),
        pytest.param("names: [a]\nkpt_shape: [1000000000, 3]", r":2: kpt_shape must be", id="a billion keypoints"),
        pytest.param("names: [a\nnc: 1", r":2: not valid YAML: ", id="not closed"),
        pytest.param("a: *b", r":1: not valid YAML: found undefined alias", id="alias of nothing"),
        pytest.param("names: [a]\n---\nnames: [b]", r":2: not valid YAML: but found another document", id="two documents"),
        pytest.param("names: [a]\0", r"not valid YAML: unacceptable character #x0000", id="zero byte"),
        pytest.param("[" * 100_000, "not valid YAML: nested too deeply", id="deep"),
        pytest.param("%YAML 1." + "1" * 5000 + "\n---\nnames: [a]", "not valid YAML: ", id="a version of 5000 digits"),
        pytest.param("names: [" + "a," * 150_000 + "]", r"has 300,009 bytes, more than the 262,144 that a description may have", id="huge"),
    ],
)
def test_wrong_data_yaml(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as raised:
        read_description(path)
    assert str(raised.value).startswith(str(path))


def test_aliases_of_aliases_are_not_followed(tmp_path):
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 40))
    path, start = write(tmp_path, f"{laughs}names: *a39\n"), time.monotonic()
    with pytest.raises(InputError, match="must be the name of class 0"):
        read_description(path)
    assert time.monotonic() - start < 2


def test_tags_make_no_objects(tmp_path):
    path = write(tmp_path, f"names: [!!python/object/apply:os.mkdir ['{tmp_path}/made']]")
    with pytest.raises(InputError, match="must be the name of class 0"):
        read_description(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("names", ["data/obj.names", "obj.names", "/Users/me/darknet/data/obj.names", "..\\data\\obj.names"])
def test_darknet(tmp_path, names):
    write(tmp_path, "cat\nguide dog\n\n", "obj.names")
    path = write(tmp_path, f"classes = 2\ntrain = data/train.txt\n# names = x\nnames = {names}\n", "obj.data")
    assert read_description(path) == YoloDescription(path, {0: "cat", 1: "guide dog"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param("obj.data", "classes = 2", r"obj\.data: must name a file of class names, .*; it sets classes", id="no names"),
        pytest.param("obj.data", "names = ../secret.names", r"no file '\.\./secret\.names', nor an end of this path, in ", id="elsewhere"),
        pytest.param("obj.data", "names = /etc/passwd", r"no file '/etc/passwd', nor an end of this path, in ", id="absolute"),
        pytest.param("classes.txt", "", "classes.txt lists no class", id="empty"),
        pytest.param("classes.txt", "a\n\nb\n", r"classes\.txt:2: must be the name of class 1, got ''", id="blank line"),
        pytest.param(
            "a.txt", "0 0.5 0.25 0.5 0.25\n", r"a\.txt:1: must be the name of class 0, got '0 0\.5 .*, a row of a label file", id="labels"
        ),
        pytest.param("obj.names", "a\nb\na\n", r"obj\.names:3: 'a' is the name of class 0 and of class 2", id="twice"),
        pytest.param("classes.json", "[]", r"classes\.json: the yolo format needs data\.yaml, darknet's obj\.data, or", id="another kind"),
    ],
)
def test_wrong_lists(tmp_path, name, text, message):
    write(tmp_path, "x\n", "secret.names")
    with pytest.raises(InputError, match=message):
        read_description(write(tmp_path / "set", text, name))


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(InputError, match=r"data\.yaml: the yolo format needs .*; there is no such file"):
        read_description(tmp_path / "data.yaml")
    (tmp_path / "data.yaml").write_bytes(b"\xff\xfen\0")
    with pytest.raises(InputError, match=r"data\.yaml: not a text file in UTF-8"):
        read_description(tmp_path / "data.yaml")
