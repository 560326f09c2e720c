"""Makes network_variants.npz with the original TF Object Detection API: `python make_network_variants_golden.py CONFIG OUT.npz`.

CONFIG is ssdlite_v2_dm0.35_160.config; each case merges other settings into it. Weights and images are functions of names, so that only
the results have to be kept.
"""

import pathlib
import re
import sys
import zlib

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from object_detection.builders import model_builder
from object_detection.protos import pipeline_pb2

CASES = {
    "plain_heads_behind_shared_layers": (
        "box_predictor { convolutional_box_predictor { use_depthwise: false num_layers_before_predictor: 2 min_depth: 32 max_depth: 64"
        " use_dropout: true } } feature_extractor { use_depthwise: false }"
    ),
    "explicit_padding_of_an_odd_size": (
        "image_resizer { fixed_shape_resizer { height: 150 width: 130 } } anchor_generator { ssd_anchor_generator { num_layers: 4 } }"
        " feature_extractor { use_explicit_padding: true pad_to_multiple: 32 num_layers: 4 }"
    ),
    "backbone_defaults_and_frozen_batchnorm": (
        "freeze_batchnorm: true feature_extractor { override_base_feature_extractor_hyperparams: false depth_multiplier: 1.4"
        " conv_hyperparams { activation: NONE batch_norm { center: false scale: false } } }"
    ),
    "swish_and_forced_bias": (
        "feature_extractor { depth_multiplier: 0.5 min_depth: 8 conv_hyperparams { activation: SWISH force_use_bias: true } }"
        " box_predictor { convolutional_box_predictor { kernel_size: 5 } }"
    ),
    "padded_aspect_ratio": (
        "image_resizer { keep_aspect_ratio_resizer { min_dimension: 100 max_dimension: 160 pad_to_max_dimension: true } }"
    ),
}


def value(name, shape):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "bias", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(9 if name.endswith("depthwise_kernel") else np.prod(shape[:-1])), shape)


def main(config, out):
    results = {}
    images = np.random.default_rng(0).integers(0, 256, (2, 120, 140, 3)).astype(np.uint8)
    for case, overrides in CASES.items():
        model_config = text_format.Parse(pathlib.Path(config).read_text(), pipeline_pb2.TrainEvalPipelineConfig()).model
        if "keep_aspect_ratio" in overrides:
            model_config.ssd.image_resizer.Clear()
        text_format.Merge(f"ssd {{ {overrides} }}", model_config)
        model = model_builder.build(model_config, is_training=True)
        tf.keras.backend.set_learning_phase(0)
        inputs, true_shapes = model.preprocess(tf.cast(images, tf.float32))
        model.predict(inputs, true_shapes)  # makes the variables
        for variable in model.variables:
            name = re.sub(r"^ssd_mobile_net_v2_keras_feature_extractor(_\d+)?/", "", variable.name.removesuffix(":0"))
            variable.assign(value(name, variable.shape))
        predictions = model.predict(inputs, true_shapes)
        results[f"{case}/overrides"] = overrides
        results[f"{case}/num_variables"] = len(model.variables)
        results[f"{case}/true_shapes"] = true_shapes.numpy()
        results[f"{case}/inputs_every_8"] = inputs.numpy()[:, ::8, ::8]
        results[f"{case}/anchors"] = predictions["anchors"].numpy()
        results[f"{case}/box_encodings"] = predictions["box_encodings"].numpy()
        results[f"{case}/class_logits"] = predictions["class_predictions_with_background"].numpy()
        results[f"{case}/regularization"] = np.array(model.regularization_losses())
    np.savez_compressed(out, images=images, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
