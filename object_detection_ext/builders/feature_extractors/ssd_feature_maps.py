"""The feature maps of an SSD on any backbone: some of its end points, then new ones."""

from __future__ import annotations

from object_detection_ext.builders.feature_extractors.common import check_unused, feature_map_hyperparams
from object_detection_ext.models.feature_maps import Level, SsdFeatureMaps
from object_detection_ext.protos import ssd_pb2

NEW_DEPTHS = (512, 256, 256, 128)


def build_ssd_feature_maps(
    config: ssd_pb2.SsdFeatureExtractor, freeze_batchnorm: bool, *, endpoints: tuple[str, str], depthwise_as_configured: bool = False
) -> SsdFeatureMaps:
    """Two feature maps from the backbone and up to four new ones, `num_layers` in all.

    Args:
        endpoints: the backbone's, with strides 16 and 32.
        depthwise_as_configured: as in `SsdFeatureMaps`: of extractors that TF 1 alone has.

    Raises:
        ValueError: a field has no meaning here, or `num_layers` is not a number of feature maps.
    """
    check_unused(config, "fpn", "bifpn", "spaghettinet_arch_name", "replace_preprocessor_with_placeholder")
    levels = (*map(Level, endpoints), *(Level(depth=depth) for depth in NEW_DEPTHS))
    if not 1 <= config.num_layers <= len(levels):
        raise ValueError(f"num_layers must be between 1 and {len(levels)}, got {config.num_layers}")
    return SsdFeatureMaps(
        levels=levels[: config.num_layers],
        hyperparams=feature_map_hyperparams(config, freeze_batchnorm),
        depth_multiplier=config.depth_multiplier,
        min_depth=config.min_depth,
        use_depthwise=config.use_depthwise,
        use_explicit_padding=config.use_explicit_padding,
        depthwise_as_configured=depthwise_as_configured,
    )
