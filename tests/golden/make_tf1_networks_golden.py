"""Makes tf1_networks.npz with the original API's TF 1 networks: `python make_tf1_networks_golden.py CONFIG OUT.npz`.

CONFIG is ssdlite_v2_dm0.35_160.config; each case merges other settings into it. Kept are every variable of the graph with its shape, the
network's input and its outputs; the weights are functions of names.
"""

import json
import pathlib
import sys
import types
import zlib

import numpy as np
import tensorflow.compat.v1 as tf
from google.protobuf import text_format
from tensorflow.python.framework import ops

SMALL = "image_resizer { fixed_shape_resizer { height: 96 width: 96 } } feature_extractor { depth_multiplier: 0.35 min_depth: 8 } "
FPN = (
    "image_resizer { fixed_shape_resizer { height: 128 width: 128 } }"
    " anchor_generator { multiscale_anchor_generator { min_level: 3 max_level: 7 anchor_scale: 4.0 scales_per_octave: 2"
    " aspect_ratios: [1.0] } } "
)
TOWERS = (
    "box_predictor { weight_shared_convolutional_box_predictor { depth: 24 num_layers_before_predictor: 2 kernel_size: 3"
    " conv_hyperparams { activation: RELU_6 regularizer { l2_regularizer { weight: 4e-5 } } initializer { random_normal_initializer {"
    " stddev: 0.01 } } batch_norm { decay: 0.997 scale: true epsilon: 0.001 } } %s } } "
)
CASES = {
    "ssdlite_mobilenet_v2": SMALL + "feature_extractor { type: 'ssd_mobilenet_v2' }",
    "ssd_mobilenet_v2_shared_layers": (
        SMALL + "feature_extractor { type: 'ssd_mobilenet_v2' use_depthwise: false } box_predictor { convolutional_box_predictor {"
        " use_depthwise: false kernel_size: 1 num_layers_before_predictor: 1 min_depth: 16 max_depth: 32 } }"
    ),
    "ssd_mobilenet_v1": (
        SMALL + "feature_extractor { type: 'ssd_mobilenet_v1' depth_multiplier: 1.0 use_depthwise: false }"
        " box_predictor { convolutional_box_predictor { use_depthwise: false kernel_size: 1 } }"
    ),
    "fpnlite_mobilenet_v2": (
        FPN
        + TOWERS % "use_depthwise: true share_prediction_tower: true"
        + "feature_extractor { type: 'ssd_mobilenet_v2_fpn' min_depth: 8 use_depthwise: true fpn { min_level: 3 max_level: 7"
        " additional_layer_depth: 64 } }"
    ),
    "fpn_mobilenet_v1": (
        FPN + TOWERS % "" + "feature_extractor { type: 'ssd_mobilenet_v1_fpn' depth_multiplier: 1.0 min_depth: 8 use_depthwise: false"
        " fpn { min_level: 3 max_level: 7 additional_layer_depth: 64 } }"
    ),
    "fpn_resnet50": (
        FPN + TOWERS % "" + "image_resizer { fixed_shape_resizer { height: 160 width: 160 } }"
        " feature_extractor { type: 'ssd_resnet50_v1_fpn' depth_multiplier: 1.0 min_depth: 8 use_depthwise: false"
        " override_base_feature_extractor_hyperparams: false"
        " fpn { min_level: 3 max_level: 7 additional_layer_depth: 64 } }"
    ),
}


def value(name, shape):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "biases", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(9 if name.endswith("depthwise_weights") else np.prod(shape[:-1])), shape)


def original_api():
    """The API's builder of TF 1 networks, and its protos."""
    ops.Tensor = tf.Tensor  # tf_slim still looks for it there
    tf.disable_v2_behavior()  # before the imports: the API then builds its TF 1 networks
    stub = types.ModuleType("tensorflow.contrib.image.python.ops")  # of a matcher that no case uses
    stub.image_ops = None
    for parent in ("contrib", "contrib.image", "contrib.image.python", "contrib.image.python.ops"):
        sys.modules[f"tensorflow.{parent}"] = stub
    from object_detection.builders import model_builder
    from object_detection.protos import pipeline_pb2

    return model_builder, pipeline_pb2


def main(config, out):
    model_builder, pipeline_pb2 = original_api()
    results = {}
    for case, overrides in CASES.items():
        model_config = text_format.Parse(pathlib.Path(config).read_text(), pipeline_pb2.TrainEvalPipelineConfig()).model
        if "multiscale" in overrides:
            model_config.ssd.anchor_generator.Clear()
            model_config.ssd.box_predictor.Clear()
        text_format.Merge(f"ssd {{ {overrides} }}", model_config)
        with tf.Graph().as_default(), tf.Session() as session:
            model = model_builder.build(model_config, is_training=False)
            image = np.random.default_rng(0).integers(0, 256, (1, 100, 120, 3)).astype(np.uint8)
            inputs, true_shapes = model.preprocess(tf.constant(image, tf.float32))
            predictions = model.predict(inputs, true_shapes)
            shapes = {variable.op.name: variable.shape.as_list() for variable in tf.global_variables()}
            values = {
                variable.initializer.inputs[1]: value(variable.op.name, variable.shape.as_list()) for variable in tf.global_variables()
            }
            session.run([variable.initializer for variable in tf.global_variables()], feed_dict=values)
            got = session.run(predictions)
        results[f"{case}/overrides"] = overrides
        results[f"{case}/variables"] = json.dumps(shapes)
        results[f"{case}/box_encodings"] = got["box_encodings"].reshape(1, -1, 4)
        results[f"{case}/class_logits"] = got["class_predictions_with_background"]
        results[f"{case}/anchors"] = got["anchors"]
        print(case, len(shapes), results[f"{case}/box_encodings"].shape, float(got["box_encodings"].std()))
    np.savez_compressed(out, image=image, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
