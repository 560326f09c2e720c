"""Regenerates the `_pb2.py` and `.pyi` files next to the `.proto` files; `--check` only says whether they are current.

    python -m object_detection_ext.protos.generate [--check]

The compiler (grpcio-tools) needs an older protobuf than TensorFlow may bring, so it lives in a folder of its own, `build/protoc`, installed
on the first run. Its version is pinned: it decides the oldest protobuf runtime that the generated files accept.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from object_detection_ext.command_line import run
from object_detection_ext.errors import InputError

COMPILER = "grpcio-tools==1.71.2"
PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent.parent  # the .proto files import each other by their path from here
COMPILER_FOLDER = ROOT / "build" / "protoc"


def generate(output: Path, *, compiler: Path = COMPILER_FOLDER) -> list[Path]:
    """Compiles every `.proto` file to below `output`, in the package's folders; returns the files made, sorted.

    Raises:
        InputError: The compiler cannot be installed, or refuses a `.proto` file.
    """
    _install_compiler(compiler)
    sources = [str(path.relative_to(ROOT)) for path in sorted(PROTOS.glob("*.proto"))]
    command = [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", "-I.", f"--python_out={output}", f"--pyi_out={output}", *sources]
    result = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(compiler)}, capture_output=True, text=True, check=False)
    if result.returncode:
        raise InputError(f"the protobuf compiler failed: {result.stderr.strip()}")
    return sorted((output / PROTOS.relative_to(ROOT)).glob("*_pb2.py*"))


def outdated(*, compiler: Path = COMPILER_FOLDER) -> list[str]:
    """Names of generated files that are missing, differ from what the `.proto` files say, or have no `.proto` file any more."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = {path.name: path.read_bytes() for path in generate(Path(folder), compiler=compiler)}
    committed = {path.name: path.read_bytes() for path in PROTOS.glob("*_pb2.py*")}
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def _install_compiler(folder: Path) -> None:
    marker = folder / f".{COMPILER}"
    if marker.exists():
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target", str(folder), COMPILER]
    result = subprocess.run(pip, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise InputError(f"cannot install the protobuf compiler {COMPILER} into {folder}: {reason}")
    marker.touch()


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Regenerates the Python code of the .proto files.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the generated files are not current")
    arguments = parser.parse_args(argv)
    if not arguments.check:
        print(f"{len(generate(ROOT))} files written to {PROTOS.relative_to(ROOT)}")
        return 0
    names = outdated()
    if names:
        raise InputError(f"not current: {', '.join(names)}; run python -m object_detection_ext.protos.generate")
    print("the generated protos are current")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
