"""The API's `SeparableConv2D` as two layers: quantisation-aware training knows depthwise and 1x1 convolutions, not their pair."""

from __future__ import annotations

from dataclasses import replace

from object_detection_ext.models.layers import ConvHyperparams, KerasTensor, conv2d, depthwise_conv2d


def separable_conv2d(
    features: KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    hyperparams: ConvHyperparams,
    name: str,
    stride: int = 1,
    use_bias: bool | None = None,
    use_explicit_padding: bool = False,
) -> KerasTensor:
    """Adds a depthwise convolution, then a 1x1 convolution, without normalisation and activation in between or after.

    As in the API, initialiser and regulariser of `hyperparams` reach the depthwise kernel; the 1x1 kernel starts Glorot uniform and is not
    regularised. The layers are `<name>/depthwise` and `<name>/pointwise`.

    Args:
        features: [B, H, W, C] float32.
        use_bias: of the 1x1 convolution; None for `hyperparams.use_bias`.
        use_explicit_padding: pad the same amount whatever the input size, then convolve without padding.

    Returns:
        [B, ceil(H / stride), ceil(W / stride), filters] float32.
    """
    features = depthwise_conv2d(
        features,
        kernel_size,
        stride=stride,
        hyperparams=hyperparams,
        use_bias=False,
        in_backbone=True,
        use_explicit_padding=use_explicit_padding,
        name=f"{name}/depthwise",
    )
    pointwise = replace(hyperparams, initializer=None, regularizer=None)
    return conv2d(features, filters, 1, hyperparams=pointwise, use_bias=use_bias, name=f"{name}/pointwise")
