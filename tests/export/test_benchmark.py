"""The command on models of one operation, made without TensorFlow, and its way to a phone on a made-up adb."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from export.benchmark import main
from export.delegates import DELEGATES
from export.operations import Operation, custom_options, read_operations
from export.phone import parse_timing
from object_detection_ext.command_line import run


def command(*arguments: object) -> int:
    return run(lambda: main([str(argument) for argument in arguments]))


def one_operation(*, custom: str | None = None, tensor_type: int = schema.TensorType.FLOAT32, options: bytes = b"") -> bytes:
    """A model that adds its input [1, 4] to itself, or puts it into a custom operation."""
    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    if custom is not None:
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = custom.encode()
        operator.customOptions = np.frombuffer(options, np.uint8)
    else:
        operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    code.version = 1
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, np.array([0, 0], np.int32), np.array([1], np.int32)
    graph.tensors = [_tensor(name, tensor_type) for name in ("x", "y")]
    graph.inputs, graph.outputs, graph.operators = np.array([0], np.int32), np.array([1], np.int32), [operator]
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [code], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, tensor_type: int) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.shape, tensor.buffer = name.encode(), tensor_type, np.array([1, 4], np.int32), 0
    return tensor


@pytest.fixture
def adder(tmp_path: Path) -> Path:
    path = tmp_path / "adder.tflite"
    path.write_bytes(one_operation())
    return path


def test_every_setting_is_a_row_and_no_detector_is_needed(adder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(adder.read_bytes())
    results = tmp_path / "deep" / "results.json"
    assert command(adder, other, adder, "--threads", "1,2", "--num_runs", 7, "--num_warmup_runs", 1, "--json", results) == 0
    printed = capsys.readouterr().out
    runs = json.loads(results.read_text())["runs"]
    expected = [(str(model), threads, on) for model in (adder, other) for threads in (1, 2) for on in (True, False)]
    assert [(row["model"], row["threads"], row["xnnpack"]) for row in runs] == expected
    assert sum(line.startswith((str(adder) + " ", str(other) + " ")) for line in printed.splitlines()) == 8
    for row in runs:
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["p90_ms"]
        assert row["images_per_second"] == pytest.approx(1000 / row["median_ms"])
        assert row["size_bytes"] == adder.stat().st_size
        assert row["first_ms"] > 0 and row["load_ms"] > 0
        assert 0 < row["memory_mb"] < row["process_memory_mb"] < 500
    assert "XNNPACK (CPU)     1 of 1" in printed
    assert "Edge TPU          0 of 1; it takes int8 and uint8 only" in printed
    assert "leaves out class" not in printed  # no suppression in these models


def test_a_path_counts_from_the_current_folder(adder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(adder.parent)
    assert command(adder.name, "--num_runs", 1) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 a zip, renamed", "model.tflite is not a .tflite model: bytes 4 to 8 are b' a z', expected b'TFL3'"),
        (b"", "model.tflite is not a .tflite model: bytes 4 to 8 are b'', expected b'TFL3'"),
        (b"\x1c\x00\x00\x00TFL3" + b"\xff" * 40, "model.tflite is a broken .tflite model: its graph cannot be read"),
        (one_operation()[:-60], "model.tflite"),
        (
            one_operation(custom="TheirOwn"),
            "model.tflite: the TFLite runtime refuses this file: Encountered unresolved custom op: TheirOwn",
        ),
        (one_operation(tensor_type=schema.TensorType.STRING), "model.tflite: the TFLite runtime refuses this file"),
    ],
    ids=["zip", "empty", "noise", "cut", "unknown operation", "text"],
)
def test_a_file_that_is_no_model_gives_one_line(content: bytes, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    assert command(path, "--num_runs", 1, "--json", tmp_path / "r.json") == 1
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1 and message in printed.err
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.tflite"], 1, "missing.tflite does not exist"),
        (["."], 1, ". is a folder, not a .tflite file"),
        (["m.tflite", "--threads", "0"], 2, "must be a whole number from 1, got '0'"),
        (["m.tflite", "--xnnpack", "perhaps"], 2, "expected on, off or on,off, got 'perhaps'"),
        (["m.tflite", "--benchmark_binary", "b"], 1, "--benchmark_binary is of use only with --adb"),
        ([], 2, "MODEL"),
    ],
    ids=["missing", "folder", "threads", "xnnpack", "binary", "none"],
)
def test_wrong_arguments(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        result = command(*arguments)
    except SystemExit as stopped:
        result = stopped.code
    assert result == code
    assert message in capsys.readouterr().err


class TestOperations:
    def test_names_types_and_inputs(self, adder: Path) -> None:
        assert read_operations(adder.read_bytes(), adder) == [Operation("ADD", "float32", 2)]
        custom = one_operation(custom="Own", tensor_type=schema.TensorType.INT8)
        assert read_operations(custom, adder) == [Operation("Own", "int8", 2)]

    def test_custom_options(self, adder: Path) -> None:
        content = one_operation(custom="Own", options=bytes(flexbuffers.Dumps({"use_regular_nms": True})))
        assert custom_options(content, "Own") == {"use_regular_nms": True}
        assert custom_options(content, "Other") is None
        assert custom_options(one_operation(custom="Own", options=b"\xff\xff\xff"), "Own") is None
        assert custom_options(adder.read_bytes(), "Own") is None

    @pytest.mark.parametrize(
        ("operation", "taken"),
        [
            (Operation("CONV_2D", "float32", 3), {"XNNPACK (CPU)", "GPU", "NNAPI"}),
            (Operation("CONV_2D", "int8", 3), {"XNNPACK (CPU)", "GPU", "NNAPI", "Edge TPU", "Hexagon DSP"}),
            (Operation("CONV_2D", "int16", 3), set()),
            (Operation("CONCATENATION", "float32", 4), {"XNNPACK (CPU)", "GPU", "NNAPI"}),
            (Operation("CONCATENATION", "float32", 6), {"GPU", "NNAPI"}),  # XNNPACK joins four at most
            (Operation("TFLite_Detection_PostProcess", "float32", 3), set()),
        ],
        ids=lambda value: " ".join(map(str, value)) if isinstance(value, Operation) else "",
    )
    def test_delegates(self, operation: Operation, taken: set[str]) -> None:
        assert {delegate.name for delegate in DELEGATES if delegate.takes(operation)} == taken


PHONE_OUTPUT = """Loaded model /data/local/tmp/benchmark_0.tflite
count=12 first=41000 curr=40000 min=39000 max=45000 avg=40500.5 std=900
Running benchmark for at least 7 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=25 first=40013 curr=39883 min=39701 max=41523 avg=40047.2 std=303 p5=39750 median=39990 p95=40980
Inference timings in us: Init: 5120, First inference: 43210, Warmup (avg): 40500.5, Inference (avg): 40047.2
Memory footprint delta from the start of the tool (MB): init=3.25 overall=11.5"""


class TestPhone:
    @pytest.fixture
    def adb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An adb that writes down its calls, with one phone attached."""
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "output").write_text(PHONE_OUTPUT)
        (folder / "devices").write_text("R3CT\tdevice\n")
        (folder / "adb").write_text(
            f"""#!/bin/sh
cd {folder}
echo "$@" >> calls
case "$*" in
  devices) echo "List of devices attached"; cat devices ;;
  *getprop\\ ro.product.model) echo "Pixel 9" ;;
  *getprop*) echo 16 ;;
  *"test -x"*) test -e binary && echo yes || echo no ;;
  *--graph=*) cat output ;;
esac
"""
        )
        (folder / "adb").chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder

    def test_one_row_a_setting(self, adb: Path, adder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        binary = tmp_path / "benchmark_model"
        binary.write_bytes(b"\x7fELF")
        results = tmp_path / "r.json"
        assert command(adder, "--adb", "--benchmark_binary", binary, "--num_runs", 7, "--json", results) == 0
        on, off = json.loads(results.read_text())["runs"]
        assert (on["phone"], on["median_ms"], on["p95_ms"], on["first_ms"], on["load_ms"], on["memory_mb"]) == (
            *("Pixel 9 16", 39.99, 40.98, 43.21, 5.12, 11.5),
        )
        assert on["images_per_second"] == pytest.approx(1000 / 39.99)
        assert (on["xnnpack"], off["xnnpack"]) == (True, False)
        calls = (adb / "calls").read_text()
        assert f"-s R3CT push {binary} /data/local/tmp/benchmark_model\n-s R3CT shell chmod 755" in calls
        assert "--graph=/data/local/tmp/benchmark_0.tflite --num_threads=1 --use_xnnpack=true --num_runs=7" in calls
        assert calls.splitlines()[-1].endswith("shell rm -f /data/local/tmp/benchmark_0.tflite")
        assert "Pixel 9 16: TFLite's benchmark_model" in capsys.readouterr().out

    def test_what_is_missing(self, adb: Path, adder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        assert command(adder, "--adb") == 1
        assert "no benchmark program at /data/local/tmp/benchmark_model on the phone" in capsys.readouterr().err
        assert command(adder, "--adb", "--benchmark_binary", "nowhere") == 1
        assert "--benchmark_binary nowhere does not exist" in capsys.readouterr().err
        (adb / "devices").write_text("R3CT\tunauthorized\n")
        assert command(adder, "--adb") == 1
        assert "needs one attached phone that allows debugging, adb devices shows: R3CT unauthorized" in capsys.readouterr().err
        (adb / "devices").write_text("\n")
        assert command(adder, "--adb") == 1
        assert "adb devices shows: none" in capsys.readouterr().err
        monkeypatch.setenv("PATH", "/nowhere")
        assert command(adder, "--adb") == 1
        assert "no adb found in PATH" in capsys.readouterr().err

    def test_a_program_that_gives_no_times(self, adb: Path, adder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (adb / "binary").touch()
        (adb / "output").write_text("Failed to load model\nBenchmarking failed.\n")
        assert command(adder, "--adb") == 1
        assert "gave no times, it printed: Benchmarking failed." in capsys.readouterr().err

    def test_older_programs_know_no_median(self) -> None:
        timing = parse_timing(PHONE_OUTPUT.replace(" p5=39750 median=39990 p95=40980", "").replace("Memory", "No"), "m")
        assert (timing.median_ms, timing.p95_ms, timing.memory_mb) == (None, None, None)
        assert timing.mean_ms == pytest.approx(40.0472)
