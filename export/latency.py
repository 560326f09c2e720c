"""Times one `.tflite` in a process of its own: `python -m export.latency MODEL THREADS on|off`.

The first line on stdout says how it loaded; then each number read from stdin is answered with that many timed calls, one line of
JSON each. So that another process can take turns between models, and what a model needs of memory is not mixed with another's.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

_SEED = 0


def main(model: str, num_threads: int, *, use_xnnpack: bool) -> None:
    """Serves until stdin ends."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN if use_xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    runtime_bytes = _memory("VmRSS")
    start = time.perf_counter()
    try:
        interpreter = Interpreter(model_path=model, num_threads=num_threads, experimental_op_resolver_type=resolver)
        interpreter.allocate_tensors()
        load_ms = _milliseconds_since(start)
        _fill_inputs(interpreter)
        first_ms = _call(interpreter)
    except (ValueError, RuntimeError) as error:
        _say({"error": str(error).strip().splitlines()[0]})
        return
    _say({"load_ms": load_ms, "first_ms": first_ms})
    for line in sys.stdin:
        times = [_call(interpreter) for _ in range(int(line))]
        _say({"times_ms": times, "peak_bytes": _memory("VmHWM"), "runtime_bytes": runtime_bytes})


def _call(interpreter: Any) -> float:
    start = time.perf_counter()
    interpreter.invoke()
    return _milliseconds_since(start)


def _fill_inputs(interpreter: Any) -> None:
    """Noise, always the same: images of 8 bits from their whole range, float ones from [-1, 1]; indices are 0."""
    generator = np.random.default_rng(_SEED)
    for tensor in interpreter.get_input_details():
        shape, dtype = tensor["shape"], np.dtype(tensor["dtype"])
        if dtype.kind == "f":
            value = generator.uniform(-1, 1, shape).astype(dtype)
        elif dtype.kind in "iu" and dtype.itemsize < 4:
            limits = np.iinfo(dtype)
            value = generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        elif dtype.kind in "iub":
            value = np.zeros(shape, dtype)
        else:
            raise ValueError(f"its input {tensor['name']} is {dtype.name}, and only numbers can be made up")
        interpreter.set_tensor(tensor["index"], value)


def _memory(field: str) -> int:
    """Resident memory in bytes: VmRSS now, VmHWM at most so far; 0 where the system has no /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def _milliseconds_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), use_xnnpack=sys.argv[3] == "on")
