"""From a traced detector to the bytes of float32, fp16 and int8 `.tflite` files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

# Not public, but what tf.lite.TFLiteConverter itself calls; it starts from a .tflite, which the public interface does not.
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.optimize.calibrator import Calibrator

from export.postprocess_op import DetectionPostProcess
from export.quiet import native_output_hidden
from export.tail import cut, join
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

    def int8(self, calibration_images: Iterable[np.ndarray]) -> bytes:
        """Weights (per channel) and activations in 8 bits; the input is the image itself, uint8.

        The network is quantised up to the last convolution of each head; what follows stays in float (see `tail`).

        Args:
            calibration_images: [H, W, 3] float32 each, normalised.
        """
        samples = [[image[np.newaxis]] for image in self._with_full_range(calibration_images)]
        halves = cut(self._lowered)
        with native_output_hidden():
            calibrated = Calibrator(halves.body).calibrate(lambda: iter(samples))
            body = mlir_quantize(calibrated, input_data_type=tf.uint8, output_data_type=tf.float32)
        return self._finish(join(body, halves))

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

    def _with_full_range(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Puts one black and one white pixel into the first image: the calibrated input range is then exactly that of uint8 pixels."""
        for index, image in enumerate(images):
            if index == 0:
                image = image.copy()
                image[0, 0], image[0, 1] = self.input_range
            yield image
