"""Makes pyramid_variants.npz with the original TF Object Detection API: `python make_pyramid_variants_golden.py GOLDEN_FOLDER OUT.npz`.

What fpnlite_v2_dm0.35_320 and ssd_v1_dm0.25_320, whose configs are read from GOLDEN_FOLDER, leave out of feature pyramids, MobileNet V1
and the weight-shared predictor. Weights and images are functions of names, so that only configs and results have to be kept.
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

ONE_ANCHOR = "multiscale_anchor_generator { min_level: %d max_level: %d anchor_scale: 4 aspect_ratios: 1 scales_per_octave: 1 }"
HYPERPARAMS = "conv_hyperparams { regularizer { l2_regularizer { weight: 1e-3 } } activation: %s %s }"

# Case -> config, messages that are cleared in it, text that is merged then.
CASES = {
    "two_plain_towers": (
        "fpnlite_v2_dm0.35_320",
        ["anchor_generator"],
        "image_resizer { fixed_shape_resizer { height: 96 width: 128 } }"
        f" anchor_generator {{ {ONE_ANCHOR % (3, 6)} }}"
        " feature_extractor { use_depthwise: false fpn { max_level: 6 additional_layer_depth: 64 } }"
        " box_predictor { weight_shared_convolutional_box_predictor { depth: 24 num_layers_before_predictor: 2"
        " share_prediction_tower: false use_depthwise: false } }",
    ),
    "v1_lite_with_explicit_padding_of_an_odd_size": (
        "fpnlite_v2_dm0.35_320",
        ["anchor_generator"],
        "image_resizer { fixed_shape_resizer { height: 100 width: 133 } } freeze_batchnorm: true"
        f" anchor_generator {{ {ONE_ANCHOR % (2, 7)} }}"
        " feature_extractor { type: 'ssd_mobilenet_v1_fpn_keras' depth_multiplier: 0.5 use_explicit_padding: true"
        " override_base_feature_extractor_hyperparams: false fpn { min_level: 2 max_level: 7 additional_layer_depth: 48 } }"
        " box_predictor { weight_shared_convolutional_box_predictor { depth: 16 num_layers_before_predictor: 1 } }",
    ),
    "projections_and_hyperparams_everywhere": (
        "ssd_v1_dm0.25_320",
        ["anchor_generator", "box_predictor"],
        "image_resizer { fixed_shape_resizer { height: 70 width: 90 } }"
        " anchor_generator { ssd_anchor_generator { num_layers: 4 aspect_ratios: 1 reduce_boxes_in_lowest_layer: false } }"
        " feature_extractor { depth_multiplier: 0.5 num_layers: 4 use_depthwise: true use_explicit_padding: true pad_to_multiple: 16 }"
        " box_predictor { weight_shared_convolutional_box_predictor { depth: 24 num_layers_before_predictor: 2 kernel_size: 5"
        " use_depthwise: true use_dropout: true apply_conv_hyperparams_to_heads: true apply_conv_hyperparams_pointwise: true"
        " box_encodings_clip_range { min: -0.5 max: 0.75 }"
        f" {HYPERPARAMS % ('SWISH', 'force_use_bias: true batch_norm { center: false }')}"
        " } }",
    ),
    "no_batch_norm": (
        "fpnlite_v2_dm0.35_320",
        ["anchor_generator", "feature_extractor", "box_predictor"],
        "image_resizer { fixed_shape_resizer { height: 64 width: 64 } }"
        f" anchor_generator {{ {ONE_ANCHOR % (4, 6)} }}"
        " feature_extractor { type: 'ssd_mobilenet_v2_fpn_keras' depth_multiplier: 0.5 use_depthwise: true"
        f" fpn {{ min_level: 4 max_level: 6 }} {HYPERPARAMS % ('RELU', '')} }}"
        " box_predictor { weight_shared_convolutional_box_predictor { depth: 16 num_layers_before_predictor: 1 use_depthwise: true"
        f" {HYPERPARAMS % ('NONE', '')} }} }}",
    ),
}


def value(name, shape):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "bias", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(9 if name.endswith("depthwise_kernel") else np.prod(shape[:-1])), shape)


def api_name(variable):
    return re.sub(r"^ssd_mobile_net_v\d(_fpn)?_keras_feature_extractor(_\d+)?/", "", variable.name.removesuffix(":0"))


def main(folder, out):
    results = {}
    images = np.random.default_rng(0).integers(0, 256, (2, 90, 110, 3)).astype(np.uint8)
    for case, (config, cleared, overrides) in CASES.items():
        text = (pathlib.Path(folder) / f"{config}.config").read_text()
        model_config = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig()).model
        for field in cleared:
            model_config.ssd.ClearField(field)
        text_format.Merge(f"ssd {{ {overrides} }}", model_config)
        model = model_builder.build(model_config, is_training=True)
        tf.keras.backend.set_learning_phase(0)
        inputs, true_shapes = model.preprocess(tf.cast(images, tf.float32))
        model.predict(inputs, true_shapes)  # makes the variables
        for variable in model.variables:
            variable.assign(value(api_name(variable), variable.shape))
        predictions = model.predict(inputs, true_shapes)
        results[f"{case}/ssd"] = text_format.MessageToString(model_config.ssd, as_one_line=True)
        results[f"{case}/num_parameters"] = sum(np.prod(variable.shape, dtype=int) for variable in model.variables)
        results[f"{case}/regularization"] = np.array(model.regularization_losses())
        results[f"{case}/anchors"] = predictions["anchors"].numpy()
        results[f"{case}/box_encodings"] = predictions["box_encodings"].numpy()
        results[f"{case}/class_logits"] = predictions["class_predictions_with_background"].numpy()
        if case == "two_plain_towers":
            tf.keras.backend.set_learning_phase(1)
            results[f"{case}/training/box_encodings"] = model.predict(inputs, true_shapes)["box_encodings"].numpy()
            for variable in model.variables:
                if "BatchNorm/feature_" in variable.name and "moving_" in variable.name:
                    results[f"{case}/training/{api_name(variable)}"] = variable.numpy()
    np.savez_compressed(out, images=images, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
