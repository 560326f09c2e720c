"""What a benchmark ran on, for its JSON file."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path


def describe_machine() -> dict[str, object]:
    """Processor, cores that this process may use, system. Linux only: it reads /proc."""
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
    }


def describe_python(python: Path) -> str:
    """The versions of a Python and of the TensorFlow installed for it."""
    code = "import platform, importlib.metadata as m; print('Python', platform.python_version() + ', TensorFlow', m.version('tensorflow'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
