"""MobileNet EdgeTPU: MobileNetV3's blocks made for the Edge TPU, full convolutions early, neither squeeze-and-excite nor hard swish.

Howard and Gupta 2019, "Introducing the next generation of on-device vision models: MobileNetV3 and MobileNetEdgeTPU".
"""

from __future__ import annotations

from object_detection_ext.models.backbones.mobilenet_v3 import Architecture, Block

# Without the 1x1 convolution to 1280 channels of the classifier. The first fused block does not expand: it is a 1x1 convolution.
EDGETPU = Architecture(
    "MobilenetEdgeTPU",
    stem_depth=32,
    blocks=(
        Block(1, 16, fused=True),
        Block(8, 32, stride=2, fused=True),
        *[Block(4, 32, fused=True)] * 3,
        Block(8, 48, stride=2, fused=True),
        *[Block(4, 48, fused=True)] * 3,
        Block(8, 96, stride=2),
        *[Block(4, 96)] * 3,
        Block(8, 96, residual=False),
        *[Block(4, 96)] * 3,
        Block(8, 160, 5, stride=2),
        *[Block(4, 160, 5)] * 3,
        Block(8, 192),
    ),
    activation="relu",
)
