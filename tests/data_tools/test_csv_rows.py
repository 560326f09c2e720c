from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from data_tools.csv_rows import RowEntries, RowEntry, RowRun, index_rows, parse_number, peek_first_row, read_first_row, read_rows
from object_detection_ext.errors import InputError


@pytest.fixture
def table(tmp_path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "a.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def index(path: Path, *, column: int = 0, has_header: bool = True):
    numbers: dict[str, int] = {}
    return index_rows(path, column, lambda name, _: numbers.setdefault(name, len(numbers)), has_header=has_header), list(numbers)


def test_rows_by_image(table):
    path = table("image,x\na,1\na,2\nb,3\n\na,4\n")
    rows, names = index(path)
    assert names == ["a", "b"]
    assert rows.runs(0) == (RowRun(8, 8, 2), RowRun(21, 4, 6))
    assert rows.runs(1) == (RowRun(16, 4, 4),)
    assert rows.runs(2) == ()
    assert list(read_rows(path, rows.runs(0))) == [(f"{path}:2", ["a", "1"]), (f"{path}:3", ["a", "2"]), (f"{path}:6", ["a", "4"])]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param("\ufeffimage,x\r\na,1\r\nb,2", [["a", "1"], ["b", "2"]], id="mark, carriage returns, no last line end"),
        pytest.param('image,x\n"a,1",2\n "b ""c""", 3 \n', [["a,1", "2"], ['b "c"', "3"]], id="quotes and blanks"),
        pytest.param("\n,,\nimage,x\n,\na,1\n", [["a", "1"]], id="empty lines, also as spreadsheets write them"),
        pytest.param("image,x\ncafé 猫.jpg,1\n", [["café 猫.jpg", "1"]], id="beyond ASCII"),
        pytest.param("image,x\n", [], id="header only"),
    ],
)
def test_what_a_csv_file_may_look_like(table, content, rows):
    path = table(content)
    assert read_first_row(path) == ["image", "x"]
    found, names = index(path)
    assert names == [row[0] for row in rows]
    assert [cells for number in range(len(names)) for _, cells in read_rows(path, found.runs(number))] == rows


def test_a_first_row_that_counts_after_the_byte_order_mark(table):
    path = table("\ufeffTRAIN,a\n")
    rows, names = index(path, column=1, has_header=False)
    assert (names, rows.runs(0)) == (["a"], (RowRun(3, 8, 1),))
    assert list(read_rows(path, rows.runs(0))) == [(f"{path}:1", ["TRAIN", "a"])]


def test_rows_that_are_left_out_are_counted(table):
    rows = index_rows(table("image\na\na\nb\nc\na\n"), 0, lambda name, _: 0 if name == "b" else None, has_header=True)
    assert (rows.num_left_out, rows.runs(0)) == (4, (RowRun(10, 2, 4),))


def test_names_are_asked_for_with_their_line(table):
    asked = []
    index_rows(table("image\na\na\nb\na\n"), 0, lambda name, line: asked.append((name, line)), has_header=True)
    assert asked == [("a", 2), ("b", 4), ("a", 5)]


def test_entries_are_made_when_asked_for_and_can_be_sent_to_workers(table):
    path = table("image,x\nb,1\na,2\nb,3\n")
    rows, _ = index(path)
    entries = RowEntries(["a.jpg", "b.jpg"], [1, 0], (rows, rows))
    runs = (RowRun(8, 4, 2), RowRun(16, 4, 4))
    assert len(entries) == 2
    assert entries[1] == entries[-1] == RowEntry("b.jpg", (runs, runs))
    assert entries[:5] == list(entries) == pickle.loads(pickle.dumps(entries[:]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "a.csv is empty; a CSV file", id="empty"),
        pytest.param(b"\n,\n \n", "a.csv is empty; a CSV file", id="nothing in any line"),
        pytest.param(b"image,x\n1,a\xff\n", "a.csv:2: not a text file in UTF-8", id="Latin-1"),
        pytest.param("image,x\na,1\n".encode("utf-16"), "a.csv:1: not a text file in UTF-8", id="UTF-16"),
        pytest.param(b'image,x\n"a,1\n', "a.csv:2: not a row of a CSV file: unexpected end of data; a row must be one line", id="quote"),
        pytest.param(b'image,x\n"a"b,1\n', "a.csv:2: not a row of a CSV file: ',' expected after '\"'", id="text after a quote"),
        pytest.param(b"image,x\na\n", "a.csv:2: the row has 1 cells, too few: cell 2 must name the image", id="few cells"),
        pytest.param(b"image,x\n" + b"a" * 100_000, "a.csv:2: the line has more than 65,536 bytes", id="no line ends"),
    ],
)
def test_wrong_files(table, content, message):
    path = table(content)
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace('"', ".")):
        (read_first_row(path), index(path, column=1))


def test_peeking_fails_on_nothing(table, tmp_path):
    assert peek_first_row(table("\ufeffa, b\nc")) == ["a", "b"]
    assert peek_first_row(table(b"\xff\xd8\xff\xe0")) == []
    assert peek_first_row(tmp_path / "none.csv") == []
    assert peek_first_row(tmp_path) == []


def test_numbers():
    assert parse_number("-1.5e2", "x", "a.csv:3") == -150
    assert parse_number("inf", "x", "a.csv:3") == float("inf")
    for text in ("", "1_0", "0x10", "1,5", "one"):
        with pytest.raises(InputError, match=f"a.csv:3: x must be a number, got '{text}'"):
            parse_number(text, "x", "a.csv:3")
