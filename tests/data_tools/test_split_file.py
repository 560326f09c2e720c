from __future__ import annotations

import pytest

from data_tools.split_file import read_split_file
from object_detection_ext.errors import InputError


def test_lines_with_their_numbers(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("\ufeffa\n\n  b c  \n", encoding="utf-8")
    assert read_split_file(path) == [(1, "a"), (3, "b c")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"\n \n", "train.txt lists no image", id="blank"),
        pytest.param(b"\xff\xfe", "not a text file in UTF-8", id="UTF-16"),
        pytest.param(
            b"a\n" + b"{" * 5000, r"train\.txt:2: a line of a list of images is a name, this one has 5,000 characters: '{{", id="JSON"
        ),
    ],
)
def test_what_is_no_list(tmp_path, content, message):
    path = tmp_path / "train.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        read_split_file(path)
    assert len(str(raised.value)) < 200 + len(str(path))
