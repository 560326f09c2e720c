"""The weight-shared box predictor: one tower and one pair of heads for all feature maps (Lin et al. 2017, RetinaNet, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tf_keras

from object_detection_ext.models.box_predictor import join_levels, per_anchor
from object_detection_ext.models.initializers import GLOROT_UNIFORM
from object_detection_ext.models.layers import ConvHyperparams, KerasTensor, conv2d
from object_detection_ext.models.network import NetworkShapeError

SCOPE = "WeightSharedConvolutionalBoxPredictor"
BOX_HEAD = f"{SCOPE}/WeightSharedConvolutionalBoxHead"
CLASS_HEAD = f"{SCOPE}/WeightSharedConvolutionalClassHead"

# Applied one after the other; each call uses the same weights. Two where a depthwise separable convolution is meant.
Layers = tuple[tf_keras.layers.Layer, ...]


@dataclass(frozen=True)
class WeightSharedConvolutionalBoxPredictor:
    """Adds heads whose convolutions are the same on every feature map; normalisation, if any, is each map's own.

    Layers have the API's names, with `/depthwise` and `/pointwise` behind them where one layer of the API is two here. Where the depths of
    feature maps differ, a 1x1 projection of each, normalised but not activated, brings all of them to the commonest depth.

    Attributes:
        hyperparams: of the convolutions. The last one of a head has a bias and neither normalisation nor activation.
        depth: channels of the tower.
        kernel_size: of the tower and of the heads.
        num_layers_before_predictor: convolutions in the tower, each with normalisation and activation.
        share_prediction_tower: boxes and classes have one tower in common, else one each.
        use_depthwise: depthwise separable convolutions in tower and heads. Initialiser and regulariser of `hyperparams` then reach only
            the depthwise kernels of the tower; the rest starts Glorot uniform and is not regularised.
        apply_conv_hyperparams_pointwise: they reach the tower's 1x1 kernels too.
        apply_conv_hyperparams_to_heads: they reach both kernels of the heads too.
        dropout_keep_probability: of the class head's input in training; None for no dropout.
        box_code_size: numbers that encode a box.
        class_prediction_bias_init: initial bias of the class logits (see `ConvolutionalBoxPredictor`).
    """

    hyperparams: ConvHyperparams
    depth: int = 0
    kernel_size: int = 3
    num_layers_before_predictor: int = 0
    share_prediction_tower: bool = False
    use_depthwise: bool = False
    apply_conv_hyperparams_pointwise: bool = False
    apply_conv_hyperparams_to_heads: bool = False
    dropout_keep_probability: float | None = None
    box_code_size: int = 4
    class_prediction_bias_init: float = 0.0

    def __post_init__(self) -> None:
        if self.num_layers_before_predictor < 0:
            raise ValueError(f"num_layers_before_predictor must be >= 0, got {self.num_layers_before_predictor}")
        if self.num_layers_before_predictor and self.depth < 1:
            raise ValueError(f"depth must be >= 1 with num_layers_before_predictor > 0, got {self.depth}")
        if self.kernel_size < 1:
            raise ValueError(f"kernel_size must be >= 1, got {self.kernel_size}")
        if self.use_depthwise and self.kernel_size == 1:
            raise ValueError("kernel_size must be > 1 with use_depthwise, got 1")
        if self.dropout_keep_probability is not None and not 0 < self.dropout_keep_probability <= 1:
            raise ValueError(f"dropout_keep_probability must be in (0, 1], got {self.dropout_keep_probability:g}")
        if self.box_code_size < 1:
            raise ValueError(f"box_code_size must be >= 1, got {self.box_code_size}")

    def __call__(
        self, feature_maps: Sequence[KerasTensor], *, num_anchors_per_location: Sequence[int], num_class_slots: int
    ) -> tuple[KerasTensor, KerasTensor]:
        """Adds the heads, as `BoxPredictor` says.

        Raises:
            NetworkShapeError: `num_anchors_per_location` differs between feature maps.
        """
        num_anchors = num_anchors_per_location[0]
        if set(num_anchors_per_location) != {num_anchors}:
            raise NetworkShapeError(
                "anchor_generator must have as many anchors per location on each feature map, as their heads share weights, "
                f"got {', '.join(map(str, num_anchors_per_location))}"
            )
        box_tower = f"{SCOPE}/PredictionTower" if self.share_prediction_tower else f"{SCOPE}/BoxPredictionTower"
        class_tower = box_tower if self.share_prediction_tower else f"{SCOPE}/ClassPredictionTower"
        towers = {scope: self._tower(scope) for scope in (box_tower, class_tower)}
        box_head, class_head = self._heads(num_anchors * self.box_code_size, num_anchors * num_class_slots)
        encodings, logits = [], []
        for level, projected in enumerate(self._of_one_depth(feature_maps)):
            features = {scope: self._climb(tower, projected, scope=scope, level=level) for scope, tower in towers.items()}
            encoding, logit = _apply(box_head, features[box_tower]), _apply(class_head, features[class_tower])
            encodings.append(per_anchor(encoding, num_anchors, self.box_code_size, name=f"{BOX_HEAD}/per_anchor_{level}"))
            logits.append(per_anchor(logit, num_anchors, num_class_slots, name=f"{CLASS_HEAD}/per_anchor_{level}"))
        return join_levels(encodings, name="box_encodings"), join_levels(logits, name="class_logits")

    @property
    def _use_bias(self) -> bool:
        """Of tower and projections: unlike elsewhere, batch norm without a beta makes no difference."""
        return self.hyperparams.force_use_bias or self.hyperparams.batch_norm is None

    def _of_one_depth(self, feature_maps: Sequence[KerasTensor]) -> list[KerasTensor]:
        depths = [features.shape[-1] for features in feature_maps]
        if len(set(depths)) == 1:
            return list(feature_maps)
        commonest = max(set(depths), key=depths.count)  # as in the API, the order of a set of integers decides ties
        projected = []
        for level, features in enumerate(feature_maps):
            name = f"{SCOPE}/ProjectionLayer/conv2d_{level}"
            features = conv2d(features, commonest, 1, hyperparams=self.hyperparams, use_bias=self._use_bias, name=name)
            projected.append(self.hyperparams.normalize(features, name=f"{name}/BatchNorm"))
        return projected

    def _tower(self, scope: str) -> list[Layers]:
        """New convolutions."""
        pointwise = self.apply_conv_hyperparams_pointwise
        return [
            self._convolution(self.depth, name=f"{scope}/conv2d_{index}", use_bias=self._use_bias, depthwise=True, pointwise=pointwise)
            for index in range(self.num_layers_before_predictor)
        ]

    def _climb(self, tower: Sequence[Layers], features: KerasTensor, *, scope: str, level: int) -> KerasTensor:
        """One feature map through a tower, with normalisation of its own."""
        for index, convolution in enumerate(tower):
            name = f"{scope}/conv2d_{index}"
            features = self.hyperparams.normalize(_apply(convolution, features), name=f"{name}/BatchNorm/feature_{level}")
            features = self.hyperparams.activate(features, name=f"{name}/activation_{level}")
        return features

    def _heads(self, num_box_channels: int, num_class_channels: int) -> tuple[Layers, Layers]:
        """The last layers for boxes and for classes."""
        reach = {"depthwise": self.apply_conv_hyperparams_to_heads, "pointwise": self.apply_conv_hyperparams_to_heads}
        box_head = self._convolution(num_box_channels, name=f"{BOX_HEAD}/BoxPredictor", **reach)
        bias_init = self.class_prediction_bias_init
        class_head = self._convolution(num_class_channels, name=f"{CLASS_HEAD}/ClassPredictor", bias_init=bias_init, **reach)
        if self.dropout_keep_probability is None:
            return box_head, class_head
        return box_head, (tf_keras.layers.Dropout(1.0 - self.dropout_keep_probability, name=f"{CLASS_HEAD}/dropout"), *class_head)

    def _convolution(
        self, filters: int, *, name: str, depthwise: bool, pointwise: bool, use_bias: bool = True, bias_init: float = 0.0
    ) -> Layers:
        """A new convolution.

        Args:
            depthwise: whether initialiser and regulariser reach the depthwise kernel of a separable one.
            pointwise: whether they reach its 1x1 kernel.
        """
        kernel_size, layers = self.kernel_size, ()
        if self.use_depthwise:
            kernel_size, layers, name = 1, (self._depthwise(f"{name}/depthwise", reached=depthwise),), f"{name}/pointwise"
        reached = pointwise or not self.use_depthwise
        last = tf_keras.layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            use_bias=use_bias,
            bias_initializer=tf_keras.initializers.Constant(bias_init) if bias_init else "zeros",
            kernel_initializer=self.hyperparams.new_initializer() if reached else GLOROT_UNIFORM(),
            kernel_regularizer=self.hyperparams.new_regularizer() if reached else None,
            name=name,
        )
        return (*layers, last)

    def _depthwise(self, name: str, *, reached: bool) -> tf_keras.layers.Layer:
        return tf_keras.layers.DepthwiseConv2D(
            self.kernel_size,
            padding="same",
            use_bias=False,
            depthwise_initializer=self.hyperparams.new_initializer() if reached else GLOROT_UNIFORM(),
            depthwise_regularizer=self.hyperparams.new_regularizer() if reached or self.hyperparams.regularize_depthwise else None,
            name=name,
        )


def _apply(layers: Layers, features: KerasTensor) -> KerasTensor:
    for layer in layers:
        features = layer(features)
    return features
