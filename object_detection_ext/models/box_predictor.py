"""What a network needs of a box predictor, and how all of them lay out their outputs: one row an anchor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import tf_keras

from object_detection_ext.models.layers import KerasTensor


class BoxPredictor(Protocol):
    """Adds heads for boxes and classes to a functional graph."""

    @property
    def box_code_size(self) -> int:
        """Numbers that encode a box."""
        ...

    def __call__(
        self, feature_maps: Sequence[KerasTensor], *, num_anchors_per_location: Sequence[int], num_class_slots: int
    ) -> tuple[KerasTensor, KerasTensor]:
        """Adds the heads.

        Args:
            feature_maps: [B, h, w, c] float32 each, static but for B.
            num_anchors_per_location: one per feature map.
            num_class_slots: class logits per anchor: with the background, if there is one.

        Returns:
            box encodings [B, A, box_code_size] and class logits [B, A, num_class_slots], both float32; anchors ordered by feature map,
            row, column, then anchor of the location.
        """
        ...


def per_anchor(features: KerasTensor, num_anchors: int, size: int, *, name: str) -> KerasTensor:
    """[B, h, w, num_anchors * size] -> [B, h * w * num_anchors, size]."""
    height, width = features.shape[1:3]
    return tf_keras.layers.Reshape((height * width * num_anchors, size), name=name)(features)


def join_levels(parts: Sequence[KerasTensor], *, name: str) -> KerasTensor:
    """The anchors of all feature maps, [B, a_i, size] each -> [B, sum(a_i), size]."""
    return tf_keras.layers.Concatenate(axis=1, name=name)(parts) if len(parts) > 1 else parts[0]
