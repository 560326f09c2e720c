"""Makes tf1_phone.npz with the original TF Object Detection API, run as TF 1: `python make_tf1_phone_golden.py OUT.npz`.

MobileNetV3, MobileNet EdgeTPU and MobileDet exist in TF 1 only. Weights and images are functions of names and shapes, so that only names
and results are kept, of feature maps a part (see `thinned`). Per case: `config` (the `ssd` message), `image_shape`,
`variables` (name -> shape, JSON), `regularization` and `num_regularized` of the feature extractor, `feature_map_<i>`, with heads
`box_encodings` and `class_logits`; with `train`, feature maps of batch statistics and `after/<name>`, every third of the moving statistics
after one update. `full_size` holds, as JSON, parameter counts and feature map shapes of the feature extractors at depth 1 and 320 px;
`output_stride/8` slim's MobileNetV3 small with dilated convolutions.
"""

import json
import math
import sys
import zlib
from unittest import mock

import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim as slim
from google.protobuf import text_format
from nets.mobilenet import mobilenet_v3
from object_detection.protos import model_pb2

BASE = """
    num_classes: 3 encode_background_as_zeros: true
    image_resizer { fixed_shape_resizer { height: 96 width: 96 } }
    box_coder { faster_rcnn_box_coder {} } matcher { argmax_matcher {} } similarity_calculator { iou_similarity {} }
    anchor_generator { ssd_anchor_generator { num_layers: 6 aspect_ratios: 1 aspect_ratios: 2 aspect_ratios: 0.5 } }
    box_predictor { convolutional_box_predictor {
        kernel_size: 3 use_depthwise: true
        conv_hyperparams { activation: RELU_6 regularizer { l2_regularizer { weight: 0.0001 } } batch_norm { scale: true epsilon: 0.002 } }
    } }
    feature_extractor {
        depth_multiplier: 0.35
        conv_hyperparams {
            activation: RELU_6 regularizer { l2_regularizer { weight: 0.01 } } initializer { truncated_normal_initializer { stddev: 0.03 } }
            batch_norm { scale: true decay: 0.9 epsilon: 0.002 }
        }
    }
    loss { classification_loss { weighted_sigmoid {} } localization_loss { weighted_smooth_l1 {} } }
"""

OVERRIDE = "override_base_feature_extractor_hyperparams: true"

# name -> (image height and width, what is merged into feature_extractor)
CASES = {
    "v3_small_with_heads": (96, 128, "type: 'ssd_mobilenet_v3_small' use_depthwise: true " + OVERRIDE),
    "v3_small_train": (96, 96, "type: 'ssd_mobilenet_v3_small' use_depthwise: true " + OVERRIDE),
    "v3_small_explicit": (64, 64, "type: 'ssd_mobilenet_v3_small' use_explicit_padding: true min_depth: 20 use_depthwise: true"),
    "v3_large": (97, 130, "type: 'ssd_mobilenet_v3_large' depth_multiplier: 0.25 min_depth: 8"),
    "edgetpu": (96, 128, "type: 'ssd_mobilenet_edgetpu' use_depthwise: true " + OVERRIDE),
    "mobiledet_cpu_train": (96, 96, "type: 'ssd_mobiledet_cpu' use_depthwise: true"),
    "mobiledet_dsp": (100, 70, "type: 'ssd_mobiledet_dsp' pad_to_multiple: 32"),
    "mobiledet_edgetpu": (96, 64, "type: 'ssd_mobiledet_edgetpu' depth_multiplier: 0.5 min_depth: 8 use_depthwise: true"),
    "mobiledet_gpu": (64, 96, "type: 'ssd_mobiledet_gpu' use_depthwise: true"),
}
TYPES = (
    *("ssd_mobilenet_v3_large", "ssd_mobilenet_v3_small", "ssd_mobilenet_edgetpu"),
    *("ssd_mobiledet_cpu", "ssd_mobiledet_dsp", "ssd_mobiledet_edgetpu", "ssd_mobiledet_gpu"),
)


def value(name, shape):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "biases", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(math.prod(shape[:2] if name.endswith("depthwise_weights") else shape[:-1])), shape)


def assign(session, variables, scope=""):
    values = {v.initializer.inputs[1]: value(f"{scope}{v.op.name}", v.shape.as_list()) for v in variables}
    session.run([v.initializer for v in variables], values)


def image(height, width):
    return np.random.default_rng(0).uniform(-1, 1, (2, height, width, 3)).astype(np.float32)


def count(variables):
    return sum(math.prod(variable.shape.as_list()) for variable in variables)


def shapes(variables):
    return {variable.op.name: variable.shape.as_list() for variable in variables}


def config(extractor):
    message = model_pb2.DetectionModel()
    text_format.Parse(f"ssd {{ {BASE} }}", message)
    text_format.Merge(f"ssd {{ feature_extractor {{ {extractor} }} }}", message)
    return message


def build(message, is_training):
    sys.modules["object_detection.matchers.bipartite_matcher"] = mock.Mock()  # wants tensorflow.contrib, and is not used here
    from object_detection.builders import model_builder  # looks at TensorFlow's version when imported

    return model_builder.build(message, is_training=is_training)


def thinned(array):
    """Every third channel of the first image; every third row and column of large maps."""
    if array.ndim != 4:
        return array
    step = 3 if array.shape[1] > 12 else 1
    return array[:1, ::step, ::step, ::3]


def run(case, height, width, extractor, results):
    message = config(extractor)
    train = case.endswith("train")
    with tf.Graph().as_default(), tf.Session() as session:
        model = build(message, is_training=train)
        true_shapes = tf.constant([[height, width, 3]] * 2)
        predictions = model.predict(tf.constant(image(height, width)), true_shapes)
        variables = tf.global_variables()
        assign(session, variables)
        losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES, "FeatureExtractor/")
        found = {f"feature_map_{index}": feature_map for index, feature_map in enumerate(predictions["feature_maps"])}
        if case.endswith("heads"):
            found["box_encodings"] = predictions["box_encodings"]
            found["class_logits"] = predictions["class_predictions_with_background"]
        found["regularization"] = tf.add_n(losses)
        found = session.run(found)
        if train:
            session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
            moving = [variable for variable in variables if "/moving_" in variable.op.name and "BoxPredictor" not in variable.op.name]
            found |= {f"after/{variable.op.name}": session.run(variable)[::3] for variable in moving}
    message.ssd.image_resizer.fixed_shape_resizer.height = height
    message.ssd.image_resizer.fixed_shape_resizer.width = width
    results[f"{case}/config"] = text_format.MessageToString(message.ssd, as_one_line=True)
    results[f"{case}/image_shape"] = np.array([2, height, width, 3])
    results[f"{case}/variables"] = json.dumps(shapes(variables))
    results[f"{case}/num_regularized"] = len(losses)
    results |= {f"{case}/{key}": np.asarray(thinned(array), np.float32) for key, array in found.items()}
    print(case, len(variables), len(losses), [found[key].shape for key in found if "feature_map" in key], abs(found["feature_map_1"]).max())
    return results


def full_size(kind):
    with tf.Graph().as_default():
        model = build(config(f"type: '{kind}' depth_multiplier: 1 use_depthwise: true"), is_training=True)
        predictions = model.predict(tf.zeros([1, 320, 320, 3]), tf.constant([[320, 320, 3]]))
        return {
            "parameters": count(tf.global_variables("FeatureExtractor/")),
            "trainable_parameters": count(tf.trainable_variables("FeatureExtractor/")),
            "feature_map_shapes": [feature_map.shape.as_list()[1:] for feature_map in predictions["feature_maps"]],
        }


def output_stride(stride):
    with tf.Graph().as_default(), tf.Session() as session:
        with slim.arg_scope(mobilenet_v3.training_scope(is_training=False)):
            _, endpoints = mobilenet_v3.mobilenet_base(
                tf.constant(image(64, 64)),
                conv_defs=mobilenet_v3.V3_SMALL_DETECTION,
                final_endpoint="layer_13",
                depth_multiplier=0.35,
                output_stride=stride,
                scope="MobilenetV3",
            )
        assign(session, tf.global_variables(), scope="FeatureExtractor/")
        return thinned(session.run(endpoints["layer_13"]))


def main(out):
    tf.disable_v2_behavior()
    results = {}
    for case, (height, width, extractor) in CASES.items():
        results = run(case, height, width, extractor, results)
    results["full_size"] = json.dumps({kind: full_size(kind) for kind in TYPES})
    results["output_stride/8"] = output_stride(8)
    np.savez_compressed(out, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
