"""A `.tflite`, run on given network inputs in a process of its own: `python -m export.certificate.subject FILE IN.npy OUT.npz CLASSES`.

No TensorFlow in here, so that what is measured is what a phone runs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from object_detection_ext.errors import InputError

_POSTPROCESS = b"TFLite_Detection_PostProcess"
_NOTHING = [np.zeros([0, 4], np.float32), np.zeros([0]), np.zeros([0], np.float32), np.zeros([])]  # boxes, classes, scores, count


class Outputs(NamedTuple):
    """What a model gives for N images; M detections at most, A anchors, K classes."""

    boxes: np.ndarray  # [N, M, 4] float32, normalised to the network's input
    classes: np.ndarray  # [N, M] int, from 0
    scores: np.ndarray  # [N, M] float32
    counts: np.ndarray  # [N] int: rows that count
    raw_boxes: np.ndarray  # [N, A, 4] float32: box codes; decoded boxes of a SavedModel
    raw_scores: np.ndarray  # [N, A, K] float32, without the background

    def best(self, count: int) -> Outputs:
        """The same without detections beyond the first `count` of an image."""
        rows = slice(0, count)
        return self._replace(
            boxes=self.boxes[:, rows], classes=self.classes[:, rows], scores=self.scores[:, rows], counts=np.minimum(self.counts, count)
        )

    def save(self, path: Path) -> None:
        """Writes an `.npz`."""
        np.savez(path, **self._asdict())


def load_outputs(path: Path) -> Outputs:
    """What `save` wrote."""
    with np.load(path) as stored:
        return Outputs(**{name: stored[name] for name in Outputs._fields})


def run_apart(path: Path, inputs: Path, output: Path, *, num_classes: int, module: str = __name__) -> Outputs:
    """Runs a `.tflite`, or what else `module` runs, on saved inputs in another process.

    Raises:
        InputError: the process failed; says with what.
    """
    files = [str(file.absolute()) for file in (path, inputs, output)]
    command = [sys.executable, "-m", module, *files, str(num_classes)]
    root = Path(__file__).parents[2]  # where the module is found, whatever the current folder
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if finished.returncode:
        last = finished.stderr.strip().splitlines()[-1:] or [f"exit code {finished.returncode}"]
        raise InputError(f"{path.name} cannot be run: {last[0]}")
    return load_outputs(output)


def run_tflite(content: bytes, inputs: np.ndarray, *, num_classes: int) -> Outputs:
    """Runs a model of ours on network inputs [N, h, w, C] float32.

    Its input may be float32, or 8-bit pixels, to which the normalised values are quantised. Without suppression inside there are no
    detections, M is 0.
    """
    from ai_edge_litert.interpreter import Interpreter

    from export.quantization.fidelity import QuantizedInput

    places = _postprocess_tensors(content)
    # One thread: with more of them the runtime's regular suppression leaves out a class (see postprocess_op).
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=places is not None)
    interpreter.allocate_tensors()
    raw_places, found_places = places or ([details["index"] for details in interpreter.get_output_details()], ())
    details = interpreter.get_input_details()[0]
    as_input = QuantizedInput.of(details)
    rows: list[tuple[np.ndarray, ...]] = []
    for image in inputs:
        interpreter.set_tensor(details["index"], as_input(image))
        interpreter.invoke()
        codes, raw = (interpreter.get_tensor(place)[0].copy() for place in raw_places)
        found = [interpreter.get_tensor(place)[0].copy() for place in found_places] or _NOTHING
        boxes, classes, scores, count = found
        rows.append((boxes, classes.astype(np.int64), scores, np.asarray(round(float(count))), codes, raw[:, -num_classes:]))
    return Outputs(*(np.stack(column) for column in zip(*rows, strict=True)))


def _postprocess_tensors(content: bytes) -> tuple[Sequence[int], Sequence[int]] | None:
    """The tensors of box codes and scores that enter the fused operation, and the four that leave it; None where there is none."""
    for operator, code in _operators(content):
        if code == _POSTPROCESS:
            return operator.InputsAsNumpy()[:2].tolist(), operator.OutputsAsNumpy().tolist()
    return None


def _operators(content: bytes) -> Iterator[tuple[Any, bytes | None]]:
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        yield operator, model.OperatorCodes(operator.OpcodeIndex()).CustomCode()


def main(argv: Sequence[str]) -> int:
    """The process."""
    path, inputs, output, num_classes = argv
    found = run_tflite(Path(path).read_bytes(), np.load(inputs, mmap_mode="r"), num_classes=int(num_classes))
    found.save(Path(output))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
