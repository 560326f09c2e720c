"""The exception that means "the user's mistake": one clear line, no traceback."""

from __future__ import annotations

_LONGEST = 3000  # characters of a message; what is quoted in it comes from a file and may be of any length


class InputError(ValueError):
    """Something the user gave (a flag, a config field, a file, a record, an image) is wrong.

    The message says what, what was got, where (file, path, line, record) and what is allowed. Command-line programs print it
    as one line and exit with 1; code that catches it may go on. What a message quotes from a file cannot break the line, send control
    sequences to a terminal or fill the screen: see `one_line`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Line ends become spaces, other characters that cannot be printed are escaped as `repr` does, a long text loses its middle."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST * 2 // 3]} ... {text[-_LONGEST // 4 :]}"
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text.replace("\r\n", " ").replace("\n", " ")
    )
