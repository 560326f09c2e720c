"""How near a quantised network comes to the float one: signal to noise of its outputs, and of every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from export.quiet import native_output_hidden

PERFECT = 200.0  # decibels: equal to the last bit of float32


class OutputFidelity:
    """Compares models with one float model on the same images."""

    def __init__(self, content: bytes, kinds: Sequence[str], images: Sequence[np.ndarray]) -> None:
        """Args:
        content: the float model, float32 in.
        kinds: what each of its outputs is; outputs of one kind are measured together.
        images: [H, W, C] float32, normalised.
        """
        self._kinds, self._images = tuple(kinds), images
        self._expected = run_outputs(content, images)

    def decibels(self, content: bytes) -> Mapping[str, float]:
        """Ten times the decimal logarithm of signal over noise power, by kind; the outputs have the float model's order."""
        found = run_outputs(content, self._images)
        return {kind: self._of_kind(found, kind) for kind in dict.fromkeys(self._kinds)}

    def _of_kind(self, found: Sequence[Sequence[np.ndarray]], kind: str) -> float:
        signal = noise = 0.0
        for index, other in enumerate(self._kinds):
            if other == kind:
                for expected, values in zip(self._expected, found, strict=True):
                    signal += float(np.square(expected[index], dtype=np.float64).sum())
                    noise += float(np.square(expected[index] - values[index], dtype=np.float64).sum())
        return decibels(signal, noise)


class QuantizedInput(NamedTuple):
    """How a model takes a normalised image."""

    dtype: np.dtype
    scale: float
    zero_point: int

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Self:
        """From what the interpreter says of the input."""
        return cls(np.dtype(details["dtype"]), *details["quantization"])

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """[H, W, C] float32 -> [1, H, W, C]."""
        if self.dtype == np.float32:
            return image[np.newaxis]
        limits = np.iinfo(self.dtype)
        return np.clip(np.rint(image / self.scale) + self.zero_point, limits.min, limits.max).astype(self.dtype)[np.newaxis]


def run_outputs(content: bytes, images: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The outputs of a model for every image."""
    with native_output_hidden():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    as_input = QuantizedInput.of(details)
    places = [output["index"] for output in interpreter.get_output_details()]
    outputs = []
    for image in images:
        interpreter.set_tensor(details["index"], as_input(image))
        interpreter.invoke()
        outputs.append([interpreter.get_tensor(place) for place in places])
    return outputs


def decibels(signal: float, noise: float) -> float:
    """PERFECT where there is no noise."""
    if noise <= 0.0:
        return PERFECT
    return min(10.0 * float(np.log10(max(signal, 1e-30) / noise)), PERFECT)
