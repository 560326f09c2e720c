"""Which operations of a model each delegate takes, by name and number type: what is left runs on the CPU.

The lists are the delegates' own; each says where it is from. A delegate also looks at strides, shapes and versions, and a phone's driver
may refuse more: a list says what cannot be taken rather than what will be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from export.operations import Operation

_FLOAT = frozenset({"float32", "float16"})
_EIGHT_BITS = frozenset({"int8", "uint8"})
_TENSORFLOW = "github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/delegates"


@dataclass(frozen=True)
class Delegate:
    """What one delegate takes.

    Attributes:
        name: as shown.
        operations: number type -> names of the operations that are taken in it.
        source: where the list is from.
        remark: what a list cannot say.
        most_inputs: name of an operation -> so many inputs it may have.
    """

    name: str
    operations: Mapping[str, frozenset[str]]
    source: str
    remark: str = ""
    most_inputs: Mapping[str, int] = field(default_factory=dict)

    def takes(self, operation: Operation) -> bool:
        """Whether the list allows it."""
        most = self.most_inputs.get(operation.name, operation.num_inputs)
        return operation.name in self.operations.get(operation.type, frozenset()) and operation.num_inputs <= most

    def left_out(self, operations: Sequence[Operation]) -> Counter[str]:
        """How many operations of each name and type are not taken, as in "CONCATENATION float32"."""
        return Counter(f"{operation.name} {operation.type}" for operation in operations if not self.takes(operation))


def _of(types: frozenset[str], names: str) -> dict[str, frozenset[str]]:
    return dict.fromkeys(types, frozenset(names.split()))


DELEGATES = (
    Delegate(
        "XNNPACK (CPU)",
        _of(
            _FLOAT,
            "ABS ADD AVERAGE_POOL_2D CEIL CONCATENATION CONV_2D DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU FLOOR "
            "FULLY_CONNECTED HARD_SWISH LEAKY_RELU LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL NEG PAD PRELU RELU RELU6 "
            "RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR ROUND SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQRT SQUARE SQUARED_DIFFERENCE "
            "STRIDED_SLICE SUB TANH TRANSPOSE TRANSPOSE_CONV",
        )
        | _of(
            _EIGHT_BITS,
            "ADD CONCATENATION CONV_2D DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE ELU FULLY_CONNECTED LEAKY_RELU LOGISTIC "
            "MAX_POOL_2D MEAN MUL PAD QUANTIZE RESHAPE RESIZE_BILINEAR SLICE SPACE_TO_DEPTH SPLIT SUB TANH TRANSPOSE TRANSPOSE_CONV",
        ),
        f"{_TENSORFLOW}/xnnpack/README.md",
        "on by default; the rest runs in TFLite's own kernels on the same CPU",
        {"CONCATENATION": 4},
    ),
    Delegate(
        "GPU",
        _of(
            _FLOAT | _EIGHT_BITS,
            "ABS ADD AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D COS DEPTHWISE_CONV_2D DEQUANTIZE DIV ELU EXP "
            "FULLY_CONNECTED HARD_SWISH LEAKY_RELU LOG LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG PACK PAD "
            "POW PRELU QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT "
            "SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TRANSPOSE "
            "TRANSPOSE_CONV",
        ),
        f"{_TENSORFLOW}/gpu/common/model_builder.cc (NewOperationParser)",
        "computes in 16 or 32 bits; 8-bit files need an option and are computed in float; takes one stretch of operations",
    ),
    Delegate(
        "NNAPI",
        _of(
            _FLOAT,
            "ABS ADD AVERAGE_POOL_2D BATCH_TO_SPACE_ND CAST CONCATENATION CONV_2D DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE DIV "
            "ELU EQUAL EXP EXPAND_DIMS FILL FLOOR FULLY_CONNECTED GATHER GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION "
            "LEAKY_RELU LESS LESS_EQUAL LOCAL_RESPONSE_NORMALIZATION LOG LOGISTIC LOG_SOFTMAX LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM "
            "MUL NEG NOT_EQUAL PAD PADV2 POW PRELU QUANTIZE REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_N1_TO_1 "
            "RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RNN RSQRT SELECT SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH "
            "SPLIT SPLIT_V SQRT SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV",
        )
        | _of(
            _EIGHT_BITS,
            "ADD AVERAGE_POOL_2D BATCH_TO_SPACE_ND CAST CONCATENATION CONV_2D DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE EQUAL "
            "EXPAND_DIMS FULLY_CONNECTED GATHER GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION LEAKY_RELU LESS LESS_EQUAL "
            "LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL NOT_EQUAL PAD PADV2 PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 "
            "RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SELECT SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH "
            "SPLIT SPLIT_V SQUEEZE STRIDED_SLICE SUB TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV",
        ),
        f"{_TENSORFLOW}/nnapi/nnapi_delegate.cc (Validate), as of Android 11",
        "deprecated since Android 15",
    ),
    Delegate(
        "Edge TPU",
        _of(
            _EIGHT_BITS,
            "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED L2_NORMALIZATION LOGISTIC LSTM "
            "MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1 RESHAPE "
            "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQUARED_DIFFERENCE SQUEEZE "
            "STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV",
        ),
        "coral.ai/docs/edgetpu/models-intro (supported operations)",
        "8 bits only, and only after edgetpu_compiler; from the first operation it cannot take, all the rest runs on the CPU",
    ),
    Delegate(
        "Hexagon DSP",
        _of(
            _EIGHT_BITS,
            "ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTH_TO_SPACE DEPTHWISE_CONV_2D FULLY_CONNECTED HARD_SWISH "
            "L2_NORMALIZATION LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG PACK PAD QUANTIZE RELU RELU6 RESHAPE "
            "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE SOFTMAX SPACE_TO_DEPTH SPLIT STRIDED_SLICE SUB TANH TRANSPOSE "
            "TRANSPOSE_CONV",
        ),
        f"{_TENSORFLOW}/hexagon/README.md",
        "8 bits only; depthwise kernels 3 wide, strides up to 3",
    ),
)


def delegate_table(operations: Sequence[Operation]) -> str:
    """Lines that say how many operations each delegate may take, and which are left."""
    total = len(operations)
    lines = []
    for delegate in DELEGATES:
        left = delegate.left_out(operations)
        rest = ", ".join(f"{count} {name}" if count > 1 else name for name, count in left.most_common())
        text = (
            ""
            if not rest
            else f"; left: {rest}"
            if left.total() < total
            else f"; it takes {' and '.join(sorted(delegate.operations))} only"
        )
        lines.append(f"  {delegate.name:<14} {total - left.total():>4} of {total}{text}")
    return "\n".join(lines)


def sources() -> str:
    """Lines that say where each list is from."""
    return "\n".join(f"  {delegate.name:<14} {delegate.source}; {delegate.remark}" for delegate in DELEGATES)
