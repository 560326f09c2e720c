"""The exception that means "the user's mistake": one clear line, no traceback."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave (a flag, a config field, a file, a record, an image) is wrong.

    The message says what, what was got, where (file, path, line, record) and what is allowed. Command-line programs print it
    as one line and exit with 1; code that catches it may go on.
    """
