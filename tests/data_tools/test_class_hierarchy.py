from __future__ import annotations

import json

import pytest

from data_tools.class_hierarchy import read_hierarchy
from object_detection_ext.errors import InputError


def node(name: str, *kinds, **more):
    return {"LabelName": name, **({"Subcategory": list(kinds)} if kinds else {}), **more}


def test_ancestors_and_descendants(tmp_path):
    path = tmp_path / "tree.json"
    animal = node("animal", node("dog", node("poodle")), node("cat"), Part=[node("tail")])
    path.write_text(json.dumps(node("entity", animal, node("toy", node("dog")), node("person"))))
    tree = read_hierarchy(path)
    assert tree.name == str(path)
    assert dict(tree.parents) == {
        "animal": (),
        "dog": ("animal", "toy"),
        "poodle": ("dog", "animal"),
        "cat": ("animal",),
        "toy": (),
        "person": (),
    }
    assert dict(tree.children) == {
        "animal": ("dog", "poodle", "cat"),
        "dog": ("poodle",),
        "poodle": (),
        "cat": (),
        "toy": ("dog",),
        "person": (),
    }


DEEP: dict = node("x")
for level in range(60):
    DEEP = node(f"l{level}", DEEP)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("{", r"tree\.json:1: not valid JSON: Expecting property name", id="broken"),
        pytest.param("\xff".encode("latin-1"), r"tree\.json: not valid JSON: 'utf-8' codec", id="not UTF-8"),
        pytest.param("[" * 100_000, r"tree\.json: not valid JSON: ", id="deep lists"),
        pytest.param("[]", r"tree\.json: must be an object with LabelName and Subcategory", id="a list"),
        pytest.param('{"Subcategory": {}}', r"tree\.json: Subcategory must be a list, got '{}'", id="no list"),
        pytest.param(
            '{"Subcategory": ["a"]}', r"tree\.json: Subcategory\[0\]: a class must be an object with LabelName, got 'a'", id="text"
        ),
        pytest.param(
            '{"Subcategory": [{}]}', r"tree\.json: Subcategory\[0\]: LabelName must be the code of a class, got 'None'", id="no name"
        ),
        pytest.param(json.dumps(node("e", node("a", node("b", node("a"))))), r"the class 'a' is a parent of its own", id="circle"),
        pytest.param(json.dumps(node("e", DEEP)), r"the tree has more than 50 levels", id="too deep"),
    ],
)
def test_wrong_files(tmp_path, content, message):
    path = tmp_path / "tree.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_hierarchy(path)
