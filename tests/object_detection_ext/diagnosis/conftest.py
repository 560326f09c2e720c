"""A detector that is built in milliseconds: average pooling and one convolution in place of a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import tf_keras

from object_detection_ext.builders.feature_extractor import FEATURE_EXTRACTORS
from object_detection_ext.models.normalization import TO_MINUS_ONE_TO_ONE, PixelScaling

STRIDES = (8, 16, 32)

TINY_CONFIG = """model {
  ssd {
    num_classes: 3
    image_resizer { fixed_shape_resizer { height: 64 width: 64 } }
    feature_extractor { type: "tiny" }
    box_coder { faster_rcnn_box_coder { y_scale: 10.0 x_scale: 10.0 height_scale: 5.0 width_scale: 5.0 } }
    matcher { argmax_matcher { matched_threshold: 0.5 unmatched_threshold: 0.5 force_match_for_each_row: true } }
    similarity_calculator { iou_similarity { } }
    box_predictor { convolutional_box_predictor { kernel_size: 1 class_prediction_bias_init: -4.6 conv_hyperparams { } } }
    anchor_generator { ssd_anchor_generator {
      num_layers: 3 min_scale: 0.2 max_scale: 0.8 aspect_ratios: 1.0 aspect_ratios: 2.0 aspect_ratios: 0.5 } }
    post_processing {
      batch_non_max_suppression { score_threshold: 1e-8 iou_threshold: 0.6 max_detections_per_class: 100 max_total_detections: 100 }
      score_converter: SIGMOID
    }
    encode_background_as_zeros: true
    loss {
      classification_loss { weighted_sigmoid_focal { gamma: 2.0 alpha: 0.25 } }
      localization_loss { weighted_smooth_l1 { delta: 1.0 } }
    }
  }
}
train_config { batch_size: 2 num_steps: 400 }
"""


@dataclass(frozen=True)
class TinyExtractor:
    """Feature maps of strides 8, 16 and 32."""

    min_image_size: int = 32
    normalize: PixelScaling = TO_MINUS_ONE_TO_ONE

    def __call__(self, image: Any) -> list[Any]:
        maps = [tf_keras.layers.AveragePooling2D(stride, padding="same")(image) for stride in STRIDES]
        maps = [tf_keras.layers.Conv2D(4, 1, use_bias=False, name=f"backbone_{index}")(each) for index, each in enumerate(maps)]
        return [tf_keras.layers.BatchNormalization(name=f"backbone_{index}_bn")(each) for index, each in enumerate(maps)]


@pytest.fixture(autouse=True, scope="session")
def _tiny_extractor():
    """The name "tiny" in configs."""
    FEATURE_EXTRACTORS["tiny"] = lambda config, freeze_batchnorm: TinyExtractor()
    yield
    del FEATURE_EXTRACTORS["tiny"]


@pytest.fixture
def tiny_config_path(tmp_path):
    """A file with the tiny detector's config."""
    path = tmp_path / "pipeline.config"
    path.write_text(TINY_CONFIG)
    return path
