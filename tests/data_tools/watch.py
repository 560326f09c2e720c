"""Watches what code under test opens, starts and connects to, and how long it takes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_PYTHON = tuple({os.path.realpath(path) + os.sep for path in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())})
_FILE_EVENTS = ("open", "os.listdir", "os.scandir", "os.chdir", "os.remove", "os.rename", "shutil.copyfile")
_MODULE = re.compile(r"\.pyc?$|/__pycache__/[^/]+\.pyc\.\d+$")  # the last is how the import system names a cache file that it writes
_NEVER = re.compile(r"socket\.(connect|getaddrinfo|sendto)|subprocess\.Popen|os\.(system|exec|posix_spawn)|urllib\.Request")

_seen: list[str] | None = None  # where the hook reports to; None while nobody watches
_thread = 0


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None or threading.get_ident() != _thread:
        return
    if _NEVER.fullmatch(event):
        _seen.append(f"{event} {arguments!r}")
    elif event in _FILE_EVENTS and isinstance(arguments[0], str | bytes | os.PathLike):
        _seen.append(os.path.realpath(os.fsdecode(arguments[0])))


sys.addaudithook(_hook)  # cannot be taken away again; it does nothing while nobody watches


@contextlib.contextmanager
def nothing_opened_outside(*folders: Path) -> Iterator[None]:
    """Fails the test where this thread opens or lists what is not below `folders` (links followed), starts a process or uses the network.

    Python's own libraries and this repository's modules are left out: they are imported when first needed.
    """
    global _seen, _thread
    _seen, _thread = [], threading.get_ident()
    try:
        yield
        seen = _seen
    finally:
        _seen = None
    allowed = (*(os.path.realpath(folder) for folder in folders), "/dev/null", "/dev/urandom")
    import_folders = {os.path.realpath(folder) for folder in sys.path}  # listed by the import system
    outside = [name for name in seen if name not in import_folders and not _is_allowed(name, allowed)]
    assert not outside, f"opened outside {[str(folder) for folder in folders]}: {outside}"


def _is_allowed(name: str, allowed: tuple[str, ...]) -> bool:
    if name.startswith(_PYTHON) or (name.startswith(f"{ROOT}{os.sep}") and _MODULE.search(name)):
        return True
    return any(name == path or name.startswith(path + os.sep) for path in allowed)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupts what takes longer; main thread only. What hangs in C code is noticed when it comes back."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
