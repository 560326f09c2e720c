"""Everything that a model computes for an image, not only its outputs."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from export.quantization.fidelity import QuantizedInput
from export.quiet import native_output_hidden


class Tap:
    """Runs a model of any type and hands out its tensors as float32."""

    def __init__(self, content: bytes) -> None:
        with native_output_hidden():
            self._interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
            self._interpreter.allocate_tensors()
        details = self._interpreter.get_input_details()[0]
        self._place = details["index"]
        self._as_input = QuantizedInput.of(details)
        self._details = {each["index"]: each for each in self._interpreter.get_tensor_details()}

    def run(self, image: np.ndarray) -> None:
        """Computes all tensors for one image [H, W, C] float32, normalised."""
        self._interpreter.set_tensor(self._place, self._as_input(image))
        self._interpreter.invoke()

    def tensor(self, index: int) -> np.ndarray:
        """A tensor of the last run, dequantised."""
        value = self._interpreter.get_tensor(index)
        if value.dtype == np.float32:
            return value
        scale, zero_point = self._details[index]["quantization"]
        return (value.astype(np.float32) - zero_point) * np.float32(scale)
