"""Writes resnet_efficientnet.npz and .json with the original TF Object Detection API: `python make_resnet_efficientnet_golden.py OUT_DIR`.

Needs the original API's environment (PyPI package tf-models-research-object-detection 2.8). Weights and images are functions of names, so
that only results have to be kept. The .json holds what needs no forward pass; variables that the API creates and never uses are counted
apart: EfficientNet's classifier, and its blocks behind the last one that feeds the pyramid.
"""

import json
import math
import pathlib
import sys
import zlib

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from object_detection.builders import model_builder
from object_detection.protos import ssd_pb2

PLAIN = "conv_hyperparams { activation: RELU }"
SWISH = (
    "conv_hyperparams { force_use_bias: true activation: SWISH regularizer { l2_regularizer { weight: 0.00004 } }"
    " batch_norm { scale: true decay: 0.99 epsilon: 0.001 } }"
)
RELU_6 = (
    "conv_hyperparams { activation: RELU_6 regularizer { l2_regularizer { weight: 0.0004 } }"
    " batch_norm { scale: true decay: 0.997 epsilon: 0.001 } }"
)
# name: (feature extractor, image height and width)
FORWARD = {
    "resnet50_override": (
        f"type: 'ssd_resnet50_v1_fpn_keras' depth_multiplier: 0.25 override_base_feature_extractor_hyperparams: true {RELU_6}"
        " fpn { additional_layer_depth: 64 }",
        (192, 160),
    ),
    "resnet50_defaults": (
        f"type: 'ssd_resnet50_v1_fpn_keras' depth_multiplier: 0.25 min_depth: 8 {PLAIN}"
        " fpn { min_level: 2 max_level: 5 additional_layer_depth: 32 }",
        (160, 160),
    ),
    "resnet101": (
        f"type: 'ssd_resnet101_v1_fpn_keras' depth_multiplier: 0.125 {RELU_6} pad_to_multiple: 64"
        " fpn { max_level: 6 additional_layer_depth: 128 }",
        (140, 180),
    ),
    "resnet152": (
        f"type: 'ssd_resnet152_v1_fpn_keras' depth_multiplier: 0.125 {RELU_6} fpn {{ min_level: 4 additional_layer_depth: 128 }}",
        (160, 160),
    ),
    "b0_fast_attention": (
        f"type: 'ssd_efficientnet-b0_bifpn_keras' {SWISH} bifpn {{ max_level: 6 num_iterations: 3 num_filters: 16 }}",
        (192, 256),
    ),
    "b0_sum": (
        f"type: 'ssd_efficientnet-b0_bifpn_keras' {RELU_6} override_base_feature_extractor_hyperparams: true min_depth: 6"
        " bifpn { min_level: 2 max_level: 6 num_iterations: 1 num_filters: 4 combine_method: 'sum' }",
        (192, 192),
    ),
    "b0_attention": (
        f"type: 'ssd_efficientnet-b0_bifpn_keras' {PLAIN}"
        " bifpn { max_level: 6 num_iterations: 1 num_filters: 16 combine_method: 'attention' }",
        (192, 192),
    ),
    "b1_weighted_sum": (
        f"type: 'ssd_efficientnet-b1_bifpn_keras' {SWISH} pad_to_multiple: 128"
        " bifpn { num_iterations: 2 num_filters: 16 combine_method: 'weighted_sum' }",
        (130, 250),
    ),
}
TRAINING = "resnet50_override"  # the one with results of training mode: batch statistics, and what becomes of the moving ones
COUNTED = {
    **{f"ssd_resnet{depth}_v1_fpn_keras": f"{RELU_6} override_base_feature_extractor_hyperparams: true" for depth in (50, 101, 152)},
    **{f"ssd_efficientnet-b{size}_bifpn_keras": SWISH for size in range(8)},  # without `bifpn`: the paper's pyramid
}
NAMED = ("ssd_resnet50_v1_fpn_keras", "ssd_efficientnet-b0_bifpn_keras")


def value(name, shape):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("bifpn_combine_weights"):
        return rng.uniform(-0.3, 1, shape)
    if name == "conv1_bn/gamma":  # ResNet's input is in pixels
        return rng.uniform(0.01, 0.03, shape)
    if name.endswith("_3_bn/gamma"):  # 50 residual blocks add up
        return rng.uniform(0.1, 0.5, shape)
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "bias", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(np.prod(shape[:2] if name.endswith("depthwise_kernel") else shape[:-1])), shape)


def build(text, size):
    """The feature extractor with all its variables, and its variables by name, without its scope, the unused ones apart."""
    config = text_format.Parse(text, ssd_pb2.SsdFeatureExtractor())
    extractor = model_builder._build_ssd_feature_extractor(config, is_training=True, freeze_batchnorm=False)
    if config.HasField("fpn"):  # the classes for ResNet-50, 101 and 152 lose these settings on their way to the one that has them
        extractor._fpn_min_level, extractor._fpn_max_level = config.fpn.min_level, config.fpn.max_level
        extractor._additional_layer_depth = config.fpn.additional_layer_depth
    trace = tf.function(lambda images: extractor(images))
    trace.get_concrete_function(tf.TensorSpec([1, *size, 3], tf.float32))
    every = named(extractor, extractor.variables)
    if "efficientnet" not in config.type:
        return extractor, every, {}
    used = named(extractor, [*extractor._efficientnet.variables, *extractor._bifpn_stage.variables])
    return extractor, used, {name: variable for name, variable in every.items() if name not in used}


def named(extractor, variables):
    names = [variable.name.removesuffix(":0").removeprefix(f"{extractor.name}/") for variable in variables]
    assert len(set(names)) == len(names)
    return dict(zip(names, variables, strict=True))


def forward(case, text, size):
    extractor, variables, _ = build(text, size)
    for name, variable in variables.items():
        variable.assign(value(name, variable.shape))
    images = np.random.default_rng(zlib.crc32(case.encode())).integers(0, 256, (2, *size, 3)).astype(np.float32)
    inputs = extractor.preprocess(tf.constant(images))
    results = {"config": text, "image_size": size, "inputs_every_32": inputs[:, ::32, ::32]}
    results |= {f"feature_map_{index}": features[0] for index, features in enumerate(extractor(inputs))}
    if case == TRAINING:
        tf.keras.backend.set_learning_phase(1)
        features = extractor(inputs)
        tf.keras.backend.set_learning_phase(0)
        results |= {f"training/feature_map_{index}": feature_map[0] for index, feature_map in enumerate(features)}
        results |= {f"training/{name}": variables[name] for name in variables if "moving_" in name and "_0_bn" in name}
    return {f"{case}/{name}": np.asarray(result) for name, result in results.items()}


def counts(variables):
    return {
        "variables": len(variables),
        "parameters": sum(math.prod(variable.shape) for variable in variables.values()),
        "trainable_parameters": sum(math.prod(variable.shape) for variable in variables.values() if variable.trainable),
    }


def regularized(extractor, variables):
    """Name -> f, where the loss is f * sum(w^2)."""
    for variable in variables.values():
        variable.assign(tf.ones_like(variable))
    with tf.GradientTape() as tape:
        loss = tf.add_n(extractor.losses)
    gradients = dict(zip(variables, tape.gradient(loss, list(variables.values())), strict=True))
    return {name: rounded(tf.reduce_max(found) / 2) for name, found in gradients.items() if found is not None}


def settings_of_batch_norm(extractor):
    layers = [layer for layer in extractor.submodules if hasattr(layer, "moving_variance")]
    return sorted({(rounded(layer.momentum), rounded(layer.epsilon), layer.center, layer.scale) for layer in layers})


def rounded(number):
    return float(f"{float(number):.6g}")


def describe(name, text):
    extractor, used, unused = build(f"type: '{name}' {text}", (256, 256))
    found = {"used": counts(used), "unused": counts(unused), "batch_norm": settings_of_batch_norm(extractor)}
    if "efficientnet" in name:
        found["drop_rates"] = {layer.name: layer.rate for layer in extractor._efficientnet.layers if layer.name.endswith("/drop")}
    if name in NAMED:
        found["names"] = list(used)
        found["regularized"] = regularized(extractor, used)
        plain, variables, _ = build(f"type: '{name}' {PLAIN}", (256, 256))
        found["batch_norm_without_override"] = settings_of_batch_norm(plain)
        found["regularized_without_override"] = regularized(plain, variables)
    return found


def main(out):
    folder = pathlib.Path(out)
    tf.keras.backend.set_learning_phase(0)
    results = {}
    for case, (text, size) in FORWARD.items():
        results |= forward(case, text, size)
    np.savez_compressed(folder / "resnet_efficientnet.npz", **results)
    lines = (f"  {json.dumps(name)}: {json.dumps(describe(name, text))}" for name, text in COUNTED.items())
    (folder / "resnet_efficientnet.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
