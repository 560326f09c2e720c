"""The convolutional box predictor: a head for boxes and one for classes on every feature map.

SSD: Liu et al. 2016, section 2.1; SSDLite: Sandler et al. 2018, section 6.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tf_keras

from object_detection_ext.models.box_predictor import join_levels, per_anchor
from object_detection_ext.models.layers import ConvHyperparams, KerasTensor, conv2d, depthwise_conv2d

SCOPE = "BoxPredictor"


@dataclass(frozen=True)
class ConvolutionalBoxPredictor:
    """Adds heads that share no weights between feature maps. Layers have the API's names.

    Attributes:
        hyperparams: of all its convolutions; the last one of a head has a bias and neither normalisation nor activation.
        kernel_size: of the head's convolution; never shrunk on small maps.
        use_depthwise: SSDLite: a depthwise convolution, then a 1x1.
        num_layers_before_predictor: 1x1 convolutions in front of both heads, of the map's depth kept within
            [min_depth, max_depth]; there are none where that depth is 0.
        dropout_keep_probability: of the class heads' input in training; None for no dropout.
        box_code_size: numbers that encode a box.
        class_prediction_bias_init: initial bias of the class logits. With sigmoid focal loss -log((1 - p) / p) makes all first
            scores p (Lin et al. 2017, section 4.1: p = 0.01, so -4.6).
    """

    hyperparams: ConvHyperparams
    kernel_size: int = 1
    use_depthwise: bool = False
    num_layers_before_predictor: int = 0
    min_depth: int = 0
    max_depth: int = 0
    dropout_keep_probability: float | None = None
    box_code_size: int = 4
    class_prediction_bias_init: float = 0.0

    def __post_init__(self) -> None:
        if self.kernel_size < 1:
            raise ValueError(f"kernel_size must be >= 1, got {self.kernel_size}")
        if self.use_depthwise and self.kernel_size == 1:
            raise ValueError("kernel_size must be > 1 with use_depthwise, got 1")
        if self.num_layers_before_predictor < 0:
            raise ValueError(f"num_layers_before_predictor must be >= 0, got {self.num_layers_before_predictor}")
        if not 0 <= self.min_depth <= self.max_depth:
            raise ValueError(f"min_depth must be between 0 and max_depth ({self.max_depth}), got {self.min_depth}")
        if self.dropout_keep_probability is not None and not 0 < self.dropout_keep_probability <= 1:
            raise ValueError(f"dropout_keep_probability must be in (0, 1], got {self.dropout_keep_probability:g}")
        if self.box_code_size < 1:
            raise ValueError(f"box_code_size must be >= 1, got {self.box_code_size}")

    def __call__(
        self, feature_maps: Sequence[KerasTensor], *, num_anchors_per_location: Sequence[int], num_class_slots: int
    ) -> tuple[KerasTensor, KerasTensor]:
        """Adds the heads, as `BoxPredictor` says."""
        encodings, logits = [], []
        for index, (features, num_anchors) in enumerate(zip(feature_maps, num_anchors_per_location, strict=True)):
            features = self._shared(features, index)
            box_head, class_head = f"{SCOPE}/ConvolutionalBoxHead_{index}", f"{SCOPE}/ConvolutionalClassHead_{index}"
            encoding = self._head(features, num_anchors * self.box_code_size, name=f"{box_head}/BoxEncodingPredictor")
            encodings.append(per_anchor(encoding, num_anchors, self.box_code_size, name=f"{box_head}/per_anchor"))
            if self.dropout_keep_probability is not None:
                features = tf_keras.layers.Dropout(1.0 - self.dropout_keep_probability, name=f"{class_head}/dropout")(features)
            bias = self.class_prediction_bias_init
            logit = self._head(features, num_anchors * num_class_slots, name=f"{class_head}/ClassPredictor", bias_init=bias)
            logits.append(per_anchor(logit, num_anchors, num_class_slots, name=f"{class_head}/per_anchor"))
        return join_levels(encodings, name="box_encodings"), join_levels(logits, name="class_logits")

    def _shared(self, features: KerasTensor, index: int) -> KerasTensor:
        depth = max(min(features.shape[-1], self.max_depth), self.min_depth)
        if depth == 0:
            return features
        for layer in range(self.num_layers_before_predictor):
            name = f"{SCOPE}/SharedConvolutions_{index}/Conv2d_{layer}_1x1_{depth}"
            features = conv2d(features, depth, 1, hyperparams=self.hyperparams, name=name)
            features = self.hyperparams.normalize(features, name=f"{name}_norm")
            features = self.hyperparams.activate(features, name=f"{name}_activation")
        return features

    def _head(self, features: KerasTensor, filters: int, *, name: str, bias_init: float = 0.0) -> KerasTensor:
        kernel_size = self.kernel_size
        if self.use_depthwise:
            features = depthwise_conv2d(features, kernel_size, hyperparams=self.hyperparams, name=f"{name}_depthwise")
            features = self.hyperparams.normalize(features, name=f"{name}_depthwise_batchnorm")
            features = self.hyperparams.activate(features, name=f"{name}_depthwise_activation")
            kernel_size = 1
        return conv2d(features, filters, kernel_size, hyperparams=self.hyperparams, use_bias=True, bias_init=bias_init, name=name)
