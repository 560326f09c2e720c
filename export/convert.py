"""From a traced detector to the bytes of `.tflite` files of every type."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import tensorflow as tf
import tf_keras

# Not public, but what tf.lite.TFLiteConverter itself calls; it starts from a .tflite, which the public interface does not.
from tensorflow.lite.python.convert import ConverterError
from tensorflow.lite.python.optimize.calibrator import Calibrator

from export.flavours import OUTPUTS, Flavour
from export.input_type import InputType, with_input_type
from export.postprocess_op import OP_NAME, DetectionPostProcess
from export.quantization.fidelity import OutputFidelity
from export.quantization.int8 import Quantizer
from export.quantization.layers import LayerFidelity
from export.quantization.trained import quantized_body
from export.quiet import native_output_hidden
from export.tail import Halves, cut, join
from export.tflite_file import custom_operations, finish, order_outputs
from export.tflite_graph import ConcreteFunction
from object_detection_ext.errors import InputError

_UNSUPPORTED = re.compile(r"^(?:TF Select|Flex|Custom) ops: (.*)$", re.MULTILINE)  # in the converter's message
_CHECKED_EVERY = 8  # images: one of so many is kept apart to measure int16 with

Report = Callable[[str], None]  # takes a line about a step


@dataclass(frozen=True)
class TfliteConverter:
    """Converts one traced detector.

    Attributes:
        function: Of `tflite_graph`.
        postprocess: What it ends in; None where the flavour is not `nms`.
        input_range: What the pixel values 0 and 255 are in the network's input, for the pixel inputs of int8 and int16.
        flavour: What the outputs are.
        input_type: Of int8 and int16 files.
        bodies: What has been converted so far, by type: the network without its tail. `dataclasses.replace` hands it on to the
            converters of the other flavours of the same network, whose tails differ and whose bodies do not.
        layers: Likewise: of a quantised body, by type, how near its layers come to the float network's, worst first.
        trained: The same network with fake quantisation, where it was trained so: int8 takes weights and ranges from it.
    """

    function: ConcreteFunction
    postprocess: DetectionPostProcess | None
    input_range: tuple[float, float]
    flavour: Flavour = "nms"
    input_type: InputType = "uint8"
    bodies: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    trained: tf_keras.Model | None = None
    layers: dict[str, tuple[LayerFidelity, ...]] = field(default_factory=dict, repr=False, compare=False)

    def float32(self) -> bytes:
        """Weights and arithmetic in float32; the input is the normalised image."""
        return self._finish(self._lowered)

    def fp16(self) -> bytes:
        """Weights stored in 16 bits, half the size; computed in float32 on a CPU, in 16 bits on most GPUs. The tail stays float32."""
        return self._with_body("fp16", lambda: self._optimized(tf.float16))

    def dynamic(self) -> bytes:
        """Weights in 8 bits, activations in float32, quantised on the fly where the runtime can; the input is the normalised image."""
        return self._with_body("dynamic", self._optimized)

    def int8(self, images: Sequence[np.ndarray], flat_images: Sequence[np.ndarray], *, report: Report = lambda line: None) -> bytes:
        """Weights (per channel) and activations in 8 bits; the input is the image itself.

        The network is quantised up to the last convolution of each head; what follows stays in float (see `tail`).

        Args:
            images: [H, W, 3] float32 each, normalised: to calibrate with; none are needed where ranges are `trained`.
            flat_images: the same, of one colour each (see `quantization.int8.Quantizer`).
            report: takes a line about each step.
        """

        def quantize() -> bytes:
            if self.trained is not None:
                return quantized_body(self.trained, head_names(self._halves))
            found = Quantizer(images, flat_images, self.input_range, head_kinds(self._halves))(self._halves.body, report=report)
            self.layers["int8"] = found.layers
            return found.content

        return self._with_body("int8", quantize, self.input_type)

    def int16(self, images: Sequence[np.ndarray], flat_images: Sequence[np.ndarray], *, report: Report = lambda line: None) -> bytes:
        """Weights in 8 bits (per channel), activations in 16, by TFLite's own quantiser; arguments and input as of `int8`."""

        def quantize() -> bytes:
            checked = images[::_CHECKED_EVERY]
            seen = [image for index, image in enumerate(images) if index % _CHECKED_EVERY] or images
            with native_output_hidden():
                content = Calibrator(self._halves.body).calibrate_and_quantize(
                    lambda: ([image[np.newaxis]] for image in (*seen, *flat_images)),
                    input_type=tf.float32,
                    output_type=tf.float32,
                    allow_float=False,
                    activations_type=tf.int16,
                    bias_type=tf.int64,
                )
            found = OutputFidelity(self._halves.body, head_kinds(self._halves), checked).decibels(content)
            report("".join(f"  {kind} {value:5.1f} dB" for kind, value in found.items()).strip())
            return content

        return self._with_body("int16", quantize, self.input_type)

    def _with_body(self, kind: str, convert: Callable[[], bytes], input_type: InputType = "float32") -> bytes:
        """The network of a type, converted unless another flavour has done it, and this flavour's tail in float32."""
        if kind not in self.bodies:
            self.bodies[kind] = convert()
        body = with_input_type(self.bodies[kind], input_type, self.input_range)
        return self._finish(join(body, self._halves))

    def _optimized(self, *weights: tf.DType) -> bytes:
        """The body with weights stored in another type."""
        converter = self._converter()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = list(weights)
        halves = cut(self._run(converter))
        if head_names(halves) != head_names(self._halves):
            raise RuntimeError(f"the converter has renamed the heads: {head_names(halves)}")
        return halves.body

    @cached_property
    def _lowered(self) -> bytes:
        content = self._run(self._converter())
        return content if self.flavour == "nms" else order_outputs(content, OUTPUTS[self.flavour])

    @cached_property
    def _halves(self) -> Halves:
        return cut(self._lowered)

    def _converter(self) -> tf.lite.TFLiteConverter:
        module = tf.Module()
        module.function = self.function
        converter = tf.lite.TFLiteConverter.from_concrete_functions([self.function], module)
        converter.allow_custom_ops = self.flavour == "nms"
        return converter

    def _run(self, converter: tf.lite.TFLiteConverter) -> bytes:
        """Raises InputError where the network has operations that the runtime lacks."""
        content, failure = b"", ""
        with native_output_hidden():
            try:
                content = converter.convert()
            except ConverterError as error:
                failure = str(error)
        # Where the fused suppression is allowed, the converter lets every unknown operation pass.
        unknown = _UNSUPPORTED.findall(failure) if failure else sorted(custom_operations(content) - {OP_NAME})
        if failure and not unknown:
            raise InputError(f"flavour {self.flavour}: TensorFlow Lite cannot convert this network: {failure.strip().splitlines()[0]}")
        if unknown:
            raise InputError(f"flavour {self.flavour}: this network has operations that TensorFlow Lite lacks: {', '.join(unknown)}")
        return content

    def _finish(self, content: bytes) -> bytes:
        return finish(content, self.postprocess, outputs=OUTPUTS[self.flavour])


def head_names(halves: Halves) -> list[str]:
    """The names of a detector's heads, in the order of its body's outputs."""
    return [halves.whole.subgraphs[0].tensors[index].name.decode() for index in halves.heads]


def head_kinds(halves: Halves) -> list[str]:
    """What each output of a detector's body is: "boxes" or "scores"."""
    return ["boxes" if "BoxHead" in name else "scores" for name in head_names(halves)]
