"""A small detector with checkpoint, records and config, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from export.model import TrainedModel, load_trained_model
from object_detection_ext.builders.detector import build_detector
from object_detection_ext.config import load_config

CONFIG = """
model {{
  ssd {{
    num_classes: 3
    image_resizer {{ fixed_shape_resizer {{ height: 96 width: 128 }} }}
    feature_extractor {{
      type: "ssd_mobilenet_v2_keras"
      depth_multiplier: 0.35
      min_depth: 16
      use_depthwise: true
      override_base_feature_extractor_hyperparams: true
      conv_hyperparams {{
        activation: RELU_6
        regularizer {{ l2_regularizer {{ weight: 0.00004 }} }}
        initializer {{ variance_scaling_initializer {{ factor: 2.0 }} }}
        batch_norm {{ decay: 0.0 center: true scale: true epsilon: 0.001 train: true }}
      }}
    }}
    box_coder {{ faster_rcnn_box_coder {{ y_scale: 10.0 x_scale: 10.0 height_scale: 5.0 width_scale: 5.0 }} }}
    matcher {{ argmax_matcher {{ matched_threshold: 0.5 unmatched_threshold: 0.5 }} }}
    similarity_calculator {{ iou_similarity {{ }} }}
    box_predictor {{
      convolutional_box_predictor {{
        kernel_size: 3
        box_code_size: 4
        use_depthwise: true
        class_prediction_bias_init: -2.0
        conv_hyperparams {{
          activation: RELU_6
          regularizer {{ l2_regularizer {{ weight: 0.00004 }} }}
          initializer {{ variance_scaling_initializer {{ factor: 2.0 }} }}
          batch_norm {{ decay: 0.0 center: true scale: true epsilon: 0.001 train: true }}
        }}
      }}
    }}
    anchor_generator {{ ssd_anchor_generator {{ num_layers: 6 min_scale: 0.2 max_scale: 0.95 aspect_ratios: 1.0 aspect_ratios: 2.0 }} }}
    post_processing {{
      batch_non_max_suppression {{
        score_threshold: 1e-8 iou_threshold: 0.6 max_detections_per_class: 20 max_total_detections: 30
      }}
      score_converter: SIGMOID
    }}
    encode_background_as_zeros: true
    loss {{
      classification_loss {{ weighted_sigmoid_focal {{ gamma: 2.0 alpha: 0.25 }} }}
      localization_loss {{ weighted_smooth_l1 {{ }} }}
    }}
  }}
}}
train_input_reader {{
  label_map_path: "{folder}/map.pbtxt"
  tf_record_input_reader {{ input_path: "{folder}/train.record" }}
}}
eval_config {{ }}
eval_input_reader {{
  label_map_path: "{folder}/map.pbtxt"
  tf_record_input_reader {{ input_path: "{folder}/eval.record" }}
}}
"""


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pipeline.config, map.pbtxt (class 2 is missing), train.record, eval.record and ckpt-7."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "pipeline.config").write_text(CONFIG.format(folder=folder))
    (folder / "map.pbtxt").write_text("item { id: 1 name: 'cat' } item { id: 3 name: 'bird' }")
    _write_records(folder / "train.record", count=6, seed=0)
    _write_records(folder / "eval.record", count=4, seed=1)
    tf_keras.utils.set_random_seed(3)
    detector = build_detector(load_config(folder / "pipeline.config").proto.model.ssd)
    network = detector.network
    images = [detector.preprocess(_example_image(index, seed=2)[np.newaxis])[0] for index in range(8)]
    network(tf.concat(images, axis=0), training=True)  # with decay 0 the moving statistics become those of the batch: activations live
    tf.train.Checkpoint(model=network, step=tf.Variable(7, dtype=tf.int64)).write(str(folder / "ckpt-7"))
    (folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-7"\nall_model_checkpoint_paths: "ckpt-7"\n')
    return folder


@pytest.fixture(scope="session")
def model(trained_folder: Path) -> TrainedModel:
    return load_trained_model(trained_folder / "pipeline.config", trained_folder)


@pytest.fixture(scope="session")
def example_image() -> Callable[..., np.ndarray]:
    """`example_image(index, seed=)`; the evaluation records hold those of seed 1."""
    return _example_image


def _example_image(index: int, *, seed: int) -> np.ndarray:
    """Smooth noise with a bright rectangle, [H, W, 3] uint8, of another size each."""
    generator = np.random.default_rng([seed, index])
    height, width = 90 + 10 * index, 140 - 10 * index
    coarse = generator.uniform(0, 255, (1, 6, 8, 3)).astype(np.float32)
    image = np.clip(tf.image.resize(coarse, (height, width), method="bicubic")[0], 0, 255).astype(np.uint8)
    image[20:60, 30:70] = generator.integers(0, 256, 3)
    return image


def _write_records(path: Path, *, count: int, seed: int) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in range(count):
            encoded = tf.io.encode_png(_example_image(index, seed=seed)).numpy()
            feature = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
