"""absl flag syntax for the scripts that users of the TF Object Detection API already call, with help and errors at once.

A script defines its flags on a `flags.FlagValues()` of its own, so that `--help` lists its flags and nothing of what TensorFlow
and others define globally, and so that importing it twice is harmless. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import difflib
import sys
import textwrap
from collections.abc import Sequence
from pathlib import PurePath
from typing import NoReturn

from absl import flags

_HELP = frozenset({"help", "h", "?", "helpshort", "helpfull"})
_BOOLEAN_WORDS = frozenset({"true", "false", "t", "f", "1", "0", "y", "n", "yes", "no"})
_REQUIRED = "must have a value other than None"  # absl's own words, from flags.mark_flag_as_required
_LOGGING_FLAGS = ("alsologtostderr", "logtostderr", "showprefixforinfo", "verbosity", "stderrthreshold", "log_dir")


def parse_flags(flag_values: flags.FlagValues, argv: Sequence[str] | None, usage: str) -> list[str]:
    """Parses `argv` into `flag_values` and ends the program for `--help` (exit code 0) and for wrong flags (2).

    absl's logging flags (`--alsologtostderr`, `--verbosity`, `-v`, ...) are accepted and stored. A boolean flag also takes its value
    as the next word (`--use_tpu False`), which absl itself would read as `--use_tpu` and then stop parsing.

    Args:
      flag_values: The script's own flags; required ones are marked with `flags.mark_flag_as_required(name, flag_values)`.
      argv: Arguments without the program's name; None for those of the process.
      usage: What the program does, for `--help`; its first line stands alone.

    Returns:
      The words that belong to no flag.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if _asks_for_help(words):
        print(_help_text(flag_values, usage))
        raise SystemExit(0)
    _define_logging_flags(flag_values)
    flag_values.set_gnu_getopt(True)
    try:
        return flag_values([_program(), *_join_boolean_values(flag_values, words)])[1:]
    except flags.UnrecognizedFlagError as error:
        usage_error(f"unknown flag --{error.flagname}{_nearest(flag_values, error.flagname)}")
    except flags.Error as error:
        usage_error(_explain(flag_values, error))


def usage_error(message: str) -> NoReturn:
    """Prints one line on stderr and ends the program with exit code 2, the code for wrong flags."""
    print(f"error: {' '.join(message.split())} (--help lists the flags)", file=sys.stderr)
    raise SystemExit(2)


def _asks_for_help(words: Sequence[str]) -> bool:
    options = words[: words.index("--")] if "--" in words else words
    return any(word.startswith("-") and word.lstrip("-") in _HELP for word in options)


def _define_logging_flags(flag_values: flags.FlagValues) -> None:
    missing = [name for name in _LOGGING_FLAGS if name not in flag_values]
    for name in missing:
        if name in ("verbosity", "stderrthreshold", "log_dir"):
            short = "v" if name == "verbosity" and "v" not in flag_values else None
            flags.DEFINE_string(name, None, "absl logging", flag_values=flag_values, short_name=short)
        else:
            flags.DEFINE_boolean(name, False, "absl logging", flag_values=flag_values)


def _join_boolean_values(flag_values: flags.FlagValues, words: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for word in words:
        previous = joined[-1] if joined else ""
        name = previous.lstrip("-")
        if previous.startswith("-") and name in flag_values and flag_values[name].boolean and word.lower() in _BOOLEAN_WORDS:
            joined[-1] = f"{previous}={word}"
        else:
            joined.append(word)
    return joined


def _nearest(flag_values: flags.FlagValues, name: str) -> str:
    close = difflib.get_close_matches(name, list(flag_values), n=1)
    return f"; did you mean --{close[0]}?" if close else ""


def _explain(flag_values: flags.FlagValues, error: flags.Error) -> str:
    missing = [name for name in flag_values if flag_values[name].value is None and _is_required(flag_values[name])]
    if missing and _REQUIRED in str(error):
        return f"required: {', '.join('--' + name for name in missing)}"
    return str(error).removeprefix("ERROR:: ")


def _is_required(flag: flags.Flag) -> bool:
    return any(_REQUIRED in getattr(validator, "message", "") for validator in flag.validators)


def _program() -> str:
    return PurePath(sys.argv[0]).name


def _help_text(flag_values: flags.FlagValues, usage: str) -> str:
    own = {flag_values[name].name: flag_values[name] for name in flag_values if flag_values[name].name not in _LOGGING_FLAGS}
    entries = "\n".join(_describe(flag) for flag in own.values())
    accepted = textwrap.fill(f"Accepted as in absl programs: --{', --'.join(_LOGGING_FLAGS)}, -v, --flagfile.", width=100)
    return "\n\n".join([f"usage: {_program()} [flags]", usage.strip(), f"flags:\n{entries}", accepted])


def _describe(flag: flags.Flag) -> str:
    prefix = "--[no]" if flag.boolean else "--"
    default = "required" if _is_required(flag) else f"default: {'none' if flag.default in (None, '') else flag.default}"
    text = textwrap.fill(f"{flag.help} ({default})", width=100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"  {prefix}{flag.name}\n{text}"
