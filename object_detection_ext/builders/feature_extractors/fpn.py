"""`feature_extractor.fpn` -> a feature pyramid network on a backbone's end points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from object_detection_ext.builders.feature_extractors.common import feature_map_hyperparams
from object_detection_ext.models.fpn import FpnFeatureMaps
from object_detection_ext.protos import ssd_pb2

FINEST = 2  # level of the first end point; level l has stride 2^l


def build_fpn(
    config: ssd_pb2.SsdFeatureExtractor,
    freeze_batchnorm: bool,
    *,
    endpoints: Sequence[str],
    bottom_up: Callable[[int], str],
    use_depthwise: bool = False,
    use_explicit_padding: bool = False,
) -> FpnFeatureMaps:
    """The pyramid that `config.fpn` describes. Without that field: the API's defaults, levels 3 to 7 of depth 256.

    Args:
        endpoints: the backbone's, from level 2 on.
        bottom_up: level of a map coarser than the backbone's -> name of its layers.

    Raises:
        ValueError: a level or the depth is impossible; the message starts with the field.
    """
    fpn = config.fpn
    coarsest = FINEST + len(endpoints) - 1
    if not FINEST <= fpn.min_level <= coarsest:
        raise ValueError(f"fpn.min_level must be between {FINEST} and {coarsest}, got {fpn.min_level}")
    if fpn.max_level < fpn.min_level:
        raise ValueError(f"fpn.max_level must be >= min_level ({fpn.min_level}), got {fpn.max_level}")
    if fpn.additional_layer_depth < 1:
        raise ValueError(f"fpn.additional_layer_depth must be >= 1, got {fpn.additional_layer_depth}")
    return FpnFeatureMaps(
        endpoints=tuple(endpoints[fpn.min_level - FINEST : fpn.max_level - FINEST + 1]),
        depth=max(int(fpn.additional_layer_depth * config.depth_multiplier), config.min_depth),
        hyperparams=feature_map_hyperparams(config, freeze_batchnorm),
        bottom_up=tuple(bottom_up(level) for level in range(coarsest + 1, fpn.max_level + 1)),
        use_depthwise=use_depthwise,
        use_explicit_padding=use_explicit_padding,
    )
