"""What holds the repository together: what is installed, what is pinned, what the documents promise."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
HEAVY = ("tensorflow", "tf_keras", "official", "ai_edge_litert")

# Processes that other commands start; nobody types them.
WORKERS = {
    "benchmarks.reference_tflite",
    "benchmarks.timed_call",
    "export.certificate.served",
    "export.certificate.subject",
    "export.latency",
}


def _tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def _commands() -> list[str]:
    """Every module that can be run, as `python -m` names it."""
    folders = ("benchmarks", "data_tools", "export", "object_detection_ext", "pipelines")
    files = [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if '__name__ == "__main__"' in path.read_text())
    return sorted(set(names) - WORKERS)


def _run_light(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command; its last line on stdout names the heavy packages that it had imported when it ended."""
    code = (
        "import atexit, runpy, sys\n"
        f"sys.argv = [{module!r}, *{arguments!r}]\n"
        f"atexit.register(lambda: print('imported:', [name for name in {HEAVY} if name in sys.modules]))\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_only_the_intended_packages_are_installed(tmp_path: Path) -> None:
    for file in _tracked_files():
        copy = tmp_path / "source" / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(tmp_path / "source"),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    packages = {"data_tools", "export", "object_detection_ext", "pipelines"}
    assert top == packages | {"exporter_main_v2.py", "export_tflite_graph_tf2.py", "model_main_tf2.py"}
    assert {"object_detection_ext/py.typed", "object_detection_ext/protos/ssd.proto", "object_detection_ext/protos/ssd_pb2.pyi"} <= set(
        names
    )


def test_the_lock_pins_every_dependency() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.lstrip().startswith("#")]
    matches = [re.fullmatch(r"([a-z0-9-]+)(?:\[\w,]+)?==([\w.+]+)(?: ; .*)?", line) for line in lines]
    assert [line for line, match in zip(lines, matches, strict=True) if not match] == []
    pins = {match[1]: Version(match[2]) for match in matches if match}
    wanted = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
    assert [str(each) for each in wanted if pins.get(each.name) not in each.specifier] == []


@pytest.mark.parametrize("module", _commands())
def test_help_needs_no_tensorflow(module: str) -> None:
    ended = _run_light(module, "--help")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "imported: []"
    assert len(ended.stdout.splitlines()) > 3  # more than the usage line


@pytest.mark.parametrize("module", _commands())
def test_a_wrong_flag_is_one_line_and_exit_code_2(module: str) -> None:
    ended = _run_light(module, "--no_such_flag=1")
    assert ended.returncode == 2
    assert "imported: []" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip(), "nothing was said about the wrong flag"


def test_no_file_names_a_path_of_one_machine() -> None:
    pattern = re.compile(rb"/(?:" + b"|".join((b"work", b"root", b"home", b"farm")) + rb")/|/tmp/[a-z]+/")
    found = [str(path.relative_to(ROOT)) for path in _tracked_files() if pattern.search(path.read_bytes())]
    assert found == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


def _documented_commands() -> list[tuple[str, str]]:
    """(where, command) of each `python ...` line in a code block of the documents or in the header of a config."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL):
            found += [(document.name, line) for line in _python_lines(block)]
    for config in ROOT.glob("configs/*.config"):
        header = "\n".join(line[1:].strip() for line in config.read_text().splitlines() if line.startswith("#"))
        found += [(config.name, line) for line in _python_lines(header)]
    return found


def _python_lines(text: str) -> list[str]:
    lines = [line.strip() for line in re.sub(r"\\\n\s*", " ", text).splitlines()]
    return [line for line in lines if re.match(r"(?:\S*/)?python3?(?:\.\d+)? ", line)]


def test_documented_commands_exist_with_their_flags() -> None:
    help_texts: dict[str, str] = {}
    wrong = []
    for where, line in _documented_commands():
        words = shlex.split(line, comments=True)[1:]
        module = words[1] if words[0] == "-m" else words[0].removesuffix(".py")
        if module in ("object_detection.model_main_tf2", "train_mine"):  # the original; the example of docs/extending.md
            continue
        after = words[words.index(module) + 1 : words.index(module) + 2] if words[0] == "-m" else []
        command = " ".join([module, *(word for word in after if word in ("inspect", "import", "export"))])
        if command not in help_texts:
            help_texts[command] = _run_light(*command.split(), "--help").stdout
        flags = [word.split("=")[0] for word in words if word.startswith("--")]
        known = set(re.findall(r"--(?:\[no\])?(\w+)", help_texts[command]))
        wrong += [f"{where}: {command} {flag}" for flag in flags if flag[2:] not in known and flag[2:].removeprefix("no") not in known]
        wrong += [f"{where}: no command {command}"] if not help_texts[command] else []
    assert wrong == []
