"""Feature pyramid networks: coarse maps, rich in meaning, are upsampled into fine ones (Lin et al. 2017, https://arxiv.org/abs/1612.03144)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tf_keras

from object_detection_ext.models.feature_maps import SCOPE
from object_detection_ext.models.layers import ConvHyperparams, KerasTensor, conv2d
from object_detection_ext.models.separable import separable_conv2d

_TOP_DOWN = f"{SCOPE}/top_down"


@dataclass(frozen=True)
class FpnFeatureMaps:
    """Makes a pyramid of maps of one depth from end points of a backbone.

    Top-down: a 1x1 projection of every end point; from the coarsest on, the map is upsampled (nearest neighbour, factor 2), added to the
    next finer projection and smoothed by a 3x3 convolution with normalisation and activation. Bottom-up: coarser maps than the backbone
    has, each by a 3x3 convolution with stride 2, from the coarsest projection on. Layers have the API's names, numbered from the finest
    end point: `FeatureMaps/top_down/projection_1`, `.../smoothing_1_conv`; `bottom_up_Conv2d_20_conv`.

    Attributes:
        endpoints: names of the backbone's, finest first, each half the size of the one before.
        depth: channels of all maps.
        hyperparams: of all convolutions. Projections have a bias, neither normalisation nor activation.
        bottom_up: names of the coarser maps, finest first, such as `bottom_up_Conv2d_20`.
        use_depthwise: FPNLite: the 3x3 convolutions are depthwise separable.
        use_explicit_padding: pad by kernel size alone, not by input size.
    """

    endpoints: tuple[str, ...]
    depth: int
    hyperparams: ConvHyperparams
    bottom_up: tuple[str, ...] = ()
    use_depthwise: bool = False
    use_explicit_padding: bool = False

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("endpoints must name at least one, got none")
        if self.depth < 1:
            raise ValueError(f"depth must be >= 1, got {self.depth}")

    def __call__(self, endpoints: Mapping[str, KerasTensor]) -> tuple[KerasTensor, ...]:
        """Adds the layers.

        Args:
            endpoints: the backbone's, by name; each [B, H, W, C] float32, H and W static.

        Returns:
            One [B, h, w, depth] for each of the `endpoints`, then one for each of `bottom_up`.
        """
        feature_maps = self._top_down([endpoints[name] for name in self.endpoints])
        features = feature_maps[-1]
        for name in self.bottom_up:
            features = self._convolution(features, stride=2, name=name)
            feature_maps.append(features)
        return tuple(feature_maps)

    def _top_down(self, endpoints: Sequence[KerasTensor]) -> list[KerasTensor]:
        """Finest first. An odd size is cropped after upsampling; the API can do so with explicit padding only, and fails else."""
        number = len(endpoints)
        feature_maps = [self._projection(endpoints[-1], number)]
        for features in reversed(endpoints[:-1]):
            number -= 1
            projected = self._projection(features, number)
            upsampled = tf_keras.layers.UpSampling2D(2, interpolation="nearest", name=f"{_TOP_DOWN}/upsampling_{number}")(feature_maps[0])
            bottom, right = (upsampled.shape[axis] - projected.shape[axis] for axis in (1, 2))
            if bottom or right:
                upsampled = tf_keras.layers.Cropping2D(((0, bottom), (0, right)), name=f"{_TOP_DOWN}/cropping_{number}")(upsampled)
            summed = tf_keras.layers.Add(name=f"{_TOP_DOWN}/add_{number}")([upsampled, projected])
            feature_maps.insert(0, self._convolution(summed, stride=1, name=f"{_TOP_DOWN}/smoothing_{number}"))
        return feature_maps

    def _projection(self, features: KerasTensor, number: int) -> KerasTensor:
        return conv2d(features, self.depth, 1, hyperparams=self.hyperparams, use_bias=True, name=f"{_TOP_DOWN}/projection_{number}")

    def _convolution(self, features: KerasTensor, *, stride: int, name: str) -> KerasTensor:
        convolve = separable_conv2d if self.use_depthwise else conv2d
        features = convolve(
            features,
            self.depth,
            3,
            stride=stride,
            hyperparams=self.hyperparams,
            use_explicit_padding=self.use_explicit_padding,
            name=f"{name}_depthwise_conv" if self.use_depthwise else f"{name}_conv",
        )
        return self.hyperparams.activate(self.hyperparams.normalize(features, name=f"{name}_batchnorm"), name=name)
