"""Writes api_graph_keys.json.gz: under which keys the original API saves the variables of its networks.

Run in the original API's environment (PyPI package tf-models-research-object-detection 2.8):
`python make_api_graph_keys_golden.py CONFIG_DIR... OUT.json.gz`, where the folders hold the configs that CASES names. Per case: the config,
the settings merged into it, and per layer of the network the name and key of its first variable.
"""

import gzip
import json
import pathlib
import sys
import tempfile

import tensorflow as tf
from google.protobuf import text_format
from object_detection.builders import model_builder
from object_detection.protos import pipeline_pb2
from tensorflow.core.protobuf import trackable_object_graph_pb2

SMALL = "image_resizer { fixed_shape_resizer { height: 256 width: 256 } }"
V1, V2 = "ssd_v1_dm0.25_320.config", "ssdlite_v2_dm0.35_160.config"
PYRAMID = "fpnlite_v2_dm0.35_320.config"
RESNET = "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8.config"
EFFICIENTDET = "ssd_efficientdet_d1_640x640_coco17_tpu-8.config"
CASES = {
    "v2_plain_heads_behind_shared_layers": (
        V2,
        "box_predictor { convolutional_box_predictor { use_depthwise: false num_layers_before_predictor: 2 min_depth: 32 max_depth: 64"
        " use_dropout: true } } feature_extractor { use_depthwise: false }",
    ),
    "v2_dropout_and_explicit_padding": (
        V2,
        "box_predictor { convolutional_box_predictor { use_dropout: true } } feature_extractor { use_explicit_padding: true }",
    ),
    "v2_shared_heads_behind_projections": (
        V2,
        "feature_extractor { use_depthwise: false use_explicit_padding: true } box_predictor { weight_shared_convolutional_box_predictor {"
        " conv_hyperparams { regularizer { l2_regularizer { } } initializer { truncated_normal_initializer { } } batch_norm { } }"
        " depth: 32 num_layers_before_predictor: 2 kernel_size: 3 use_dropout: true } }"
        " anchor_generator { multiscale_anchor_generator { min_level: 4 max_level: 9 aspect_ratios: 1.0 } }",
    ),
    "v1_depthwise": (
        V1,
        "feature_extractor { use_depthwise: true use_explicit_padding: true }"
        " box_predictor { convolutional_box_predictor { use_depthwise: true kernel_size: 3 } }",
    ),
    "v1_pyramid_with_explicit_padding": (
        PYRAMID,
        'feature_extractor { type: "ssd_mobilenet_v1_fpn_keras" use_depthwise: false use_explicit_padding: true fpn { min_level: 2'
        " max_level: 6 } } anchor_generator { multiscale_anchor_generator { min_level: 2 max_level: 6 } }"
        " box_predictor { weight_shared_convolutional_box_predictor { use_depthwise: false share_prediction_tower: false"
        " num_layers_before_predictor: 2 } }",
    ),
    "v2_pyramid_of_two_levels": (
        PYRAMID,
        "feature_extractor { use_explicit_padding: true fpn { min_level: 4 max_level: 6 } }"
        " anchor_generator { multiscale_anchor_generator { min_level: 4 max_level: 6 } }"
        " box_predictor { weight_shared_convolutional_box_predictor { share_prediction_tower: false use_dropout: true } }",
    ),
    "resnet50_pyramid": (RESNET, ""),
    "efficientdet_d0": (
        EFFICIENTDET,
        'feature_extractor { type: "ssd_efficientnet-b0_bifpn_keras" bifpn { num_iterations: 2 num_filters: 32 } }',
    ),
}


def build(path, overrides):
    model_config = text_format.Parse(path.read_text(), pipeline_pb2.TrainEvalPipelineConfig()).model
    model_config.ssd.image_resizer.Clear()
    if "multiscale" in overrides and model_config.ssd.anchor_generator.HasField("ssd_anchor_generator"):
        model_config.ssd.anchor_generator.Clear()
        model_config.ssd.box_predictor.Clear()
    text_format.Merge(f"ssd {{ {SMALL} {overrides} }}", model_config)
    model = model_builder.build(model_config, is_training=True)
    inputs, true_shapes = model.preprocess(tf.zeros([1, 256, 256, 3]))
    tf.function(model.predict)(inputs, true_shapes)  # makes the variables
    return model


def keys(model):
    with tempfile.TemporaryDirectory() as folder:
        path = tf.train.Checkpoint(model=model).write(f"{folder}/ckpt")
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(tf.train.load_checkpoint(path).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    stored = {a.full_name: a.checkpoint_key for node in graph.nodes for a in node.attributes}
    layers = {}
    for variable in model.variables:
        name = variable.name.removesuffix(":0")
        layers.setdefault(name.rpartition("/")[0], [name, stored[name].removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")])
    return list(layers.values())


def main(*folders, out):
    results = {}
    for case, (config, overrides) in CASES.items():
        path = next(pathlib.Path(folder) / config for folder in folders if (pathlib.Path(folder) / config).exists())
        results[case] = {"config": config, "overrides": overrides, "keys": keys(build(path, overrides))}
        print(case, len(results[case]["keys"]), flush=True)
    with gzip.GzipFile(out, "wb", mtime=0) as file:
        file.write(json.dumps(results, indent=0).encode())


if __name__ == "__main__":
    main(*sys.argv[1:-1], out=sys.argv[-1])
