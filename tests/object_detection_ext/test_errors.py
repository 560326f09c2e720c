from __future__ import annotations

import pickle

import pytest

from object_detection_ext.errors import InputError, one_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a.xml:3: 'café 猫' is no class", "a.xml:3: 'café 猫' is no class", id="printable"),
        pytest.param("first\nsecond\r\nthird", "first second third", id="line ends"),
        pytest.param("\x1b[2Jcleared", "\\x1b[2Jcleared", id="a terminal's control sequence"),
        pytest.param("a\rb\tc\0d\x85e\u2028f", "a\\rb\\tc\\x00d\\x85e\\u2028f", id="other breaks"),
        pytest.param("gpj.\u202eexe", "gpj.\\u202eexe", id="writing direction turned around"),
        pytest.param("\udc80.jpg", "\\udc80.jpg", id="a lone surrogate, which no terminal takes"),
    ],
)
def test_messages_are_one_printable_line(text, expected):
    assert str(InputError(text)) == expected
    assert one_line(text) == expected


def test_long_messages_lose_their_middle():
    message = str(InputError("a.json: got " + "x" * 10_000_000 + "; allowed are numbers"))
    assert message.startswith("a.json: got xxx") and message.endswith("xxx; allowed are numbers")
    assert len(message) < 3000


def test_errors_come_back_from_worker_processes():
    error = pickle.loads(pickle.dumps(InputError("a\tb")))
    assert isinstance(error, InputError) and str(error) == "a\\tb"
