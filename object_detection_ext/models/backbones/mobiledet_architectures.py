"""What the searches of MobileDet found (Xiong et al. 2020, https://arxiv.org/abs/2004.14525), block by block."""

from __future__ import annotations

from typing import NamedTuple

from object_detection_ext.models.activations import ActivationName

DEPTH_DIVISOR = 8


class InvertedBottleneck(NamedTuple):
    """A 1x1 expansion (none with expansion 1), a depthwise convolution, a 1x1 projection."""

    depth: int
    expansion: int = 8
    kernel_size: int = 3
    stride: int = 1
    residual: bool = True

    @property
    def scope(self) -> str:
        return "IBN" if self.expansion > 1 else "IBNNoExpansion"


class FusedConv(NamedTuple):
    """A full convolution that expands, a 1x1 projection."""

    depth: int
    expansion: int = 8
    kernel_size: int = 3
    stride: int = 1
    residual: bool = True

    scope = "FusedConv"


class TuckerConv(NamedTuple):
    """A 1x1 convolution to `input_rank` of the input's channels, a 3x3 convolution to `output_rank` of the output's, a 1x1 projection."""

    depth: int
    input_rank: float = 0.25
    output_rank: float = 0.25
    residual: bool = True

    scope = "TuckerConv"


Block = InvertedBottleneck | FusedConv | TuckerConv


class Architecture(NamedTuple):
    """A 3x3 convolution with stride 2, then the blocks of five stages."""

    scope: str  # layers' names begin with it
    stem_depth: int
    stages: tuple[tuple[Block, ...], ...]
    activation: ActivationName = "relu6"
    squeeze_excite: bool = False  # in inverted bottlenecks, in front of the projection


_IBN, _Fused, _Tucker = InvertedBottleneck, FusedConv, TuckerConv

CPU = Architecture(
    "MobileDetCPU",
    stem_depth=16,
    stages=(
        (_IBN(8, 1, residual=False),),
        (_IBN(16, 4, stride=2, residual=False),),
        (_IBN(32, stride=2, residual=False), *[_IBN(32, 4)] * 3),
        (
            _IBN(72, 8, 5, stride=2, residual=False),
            _IBN(72),
            _IBN(72, 4, 5),
            _IBN(72, 4),
            _IBN(72, residual=False),
            *[_IBN(72)] * 3,
        ),
        (
            _IBN(104, 8, 5, stride=2, residual=False),
            *[_IBN(104, 4, 5)] * 2,
            _IBN(104, 4),
            _IBN(144, residual=False),
        ),
    ),
    activation="hard_swish",
    squeeze_excite=True,
)

DSP = Architecture(
    "MobileDetDSP",
    stem_depth=32,
    stages=(
        (_IBN(24, 1, residual=False),),
        (_Fused(32, 4, stride=2, residual=False), _Fused(32, 4), _IBN(32, 4), _Tucker(32, 0.25, 0.75)),
        (_Fused(64, stride=2, residual=False), _IBN(64, 4), *[_Fused(64, 4)] * 2),
        (
            _Fused(120, stride=2, residual=False),
            _IBN(120, 4),
            *[_IBN(120)] * 2,
            _Fused(144, residual=False),
            *[_IBN(144)] * 3,
        ),
        (
            _IBN(160, 4, stride=2, residual=False),
            _IBN(160, 4),
            _Fused(160, 4),
            _Tucker(160, 0.75, 0.75),
            _IBN(240, residual=False),
        ),
    ),
)

EDGETPU = Architecture(
    "MobileDetEdgeTPU",
    stem_depth=32,
    stages=(
        (_Tucker(16, 0.25, 0.75, residual=False),),
        (_Fused(16, stride=2, residual=False), _Fused(16, 4), _Fused(16), _Fused(16, 4)),
        (_Fused(40, 8, 5, stride=2, residual=False), *[_Fused(40, 4)] * 3),
        (
            _IBN(72, stride=2, residual=False),
            _IBN(72),
            *[_Fused(72, 4)] * 2,
            _IBN(96, 8, 5, residual=False),
            _IBN(96, 8, 5),
            *[_IBN(96)] * 2,
        ),
        (
            _IBN(120, 8, 5, stride=2, residual=False),
            _IBN(120),
            _IBN(120, 4, 5),
            _IBN(120),
            _IBN(384, 8, 5, residual=False),
        ),
    ),
)

GPU = Architecture(
    "MobileDetGPU",
    stem_depth=32,
    stages=(
        (_Tucker(16, residual=False),),
        (_Fused(32, stride=2, residual=False), *[_Tucker(32)] * 3),
        (_Fused(64, stride=2, residual=False), *[_Fused(64)] * 2, _Fused(64, 4)),
        (
            _Fused(128, stride=2, residual=False),
            *[_Fused(128, 4)] * 3,
            _Fused(128, residual=False),
            *[_Fused(128)] * 3,
        ),
        (_Fused(128, 4, stride=2, residual=False), *[_Fused(128, 4)] * 3, _IBN(384, residual=False)),
    ),
)
