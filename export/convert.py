"""From a traced detector to the bytes of float32, fp16 and int8 `.tflite` files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from export.postprocess_op import DetectionPostProcess
from export.quantization.int8 import Quantizer
from export.quiet import native_output_hidden
from export.tail import Halves, cut, join
from export.tflite_file import finish
from export.tflite_graph import ConcreteFunction


@dataclass(frozen=True)
class TfliteConverter:
    """Converts one traced detector; the graph is lowered once for float32 and int8.

    Attributes:
        function: Of `tflite_function`.
        postprocess: What it ends in.
        input_range: What the pixel values 0 and 255 are in the network's input, for the uint8 input of int8.
    """

    function: ConcreteFunction
    postprocess: DetectionPostProcess
    input_range: tuple[float, float]

    def float32(self) -> bytes:
        """Weights and arithmetic in float32; the input is the normalised image."""
        return self._finish(self._lowered)

    def fp16(self) -> bytes:
        """Weights stored in 16 bits, half the size; computed in float32 on a CPU, in 16 bits on most GPUs."""
        converter = self._converter()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        with native_output_hidden():
            return self._finish(converter.convert())

    def int8(
        self, images: Sequence[np.ndarray], flat_images: Sequence[np.ndarray], *, report: Callable[[str], None] = lambda line: None
    ) -> bytes:
        """Weights (per channel) and activations in 8 bits; the input is the image itself, uint8.

        The network is quantised up to the last convolution of each head; what follows stays in float (see `tail`).

        Args:
            images: [H, W, 3] float32 each, normalised: to calibrate with.
            flat_images: the same, of one colour each (see `quantization.int8.Quantizer`).
            report: takes a line about each step.
        """
        halves = cut(self._lowered)
        quantizer = Quantizer(images, flat_images, self.input_range, head_kinds(halves))
        return self._finish(join(quantizer(halves.body, report=report).content, halves))

    @cached_property
    def _lowered(self) -> bytes:
        with native_output_hidden():
            return self._converter().convert()

    def _converter(self) -> tf.lite.TFLiteConverter:
        module = tf.Module()
        module.function = self.function
        converter = tf.lite.TFLiteConverter.from_concrete_functions([self.function], module)
        converter.allow_custom_ops = True
        return converter

    def _finish(self, content: bytes) -> bytes:
        return finish(content, self.postprocess)


def head_kinds(halves: Halves) -> list[str]:
    """What each output of a detector's body is: "boxes" or "scores"."""
    names = (halves.whole.subgraphs[0].tensors[index].name.decode() for index in halves.heads)
    return ["boxes" if "BoxHead" in name else "scores" for name in names]
