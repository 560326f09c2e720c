"""Writes published_configs.json: what the original API builds from the SSD configs that it publishes.

Run in the original API's environment (PyPI package tf-models-research-object-detection 2.8): `python make_published_configs_golden.py
CONFIG_DIR OUT.json`. For each config the network of TF 2 ("tf2"; a TF 1 name is replaced by its `_keras` one) or, for feature extractors
that exist in TF 1 only, of TF 1 ("tf1"); where both exist, TF 1's is kept too. Everything is traced at the config's own image size, nothing
is computed: number of variables, parameters, trainable parameters, anchors, and the feature maps' heights and widths.
"""

import json
import math
import multiprocessing
import pathlib
import sys
import types

TO_KERAS = {
    "ssd_mobilenet_v1": "ssd_mobilenet_v1_keras",
    "ssd_mobilenet_v1_fpn": "ssd_mobilenet_v1_fpn_keras",
    "ssd_mobilenet_v2": "ssd_mobilenet_v2_keras",
    "ssd_mobilenet_v2_fpn": "ssd_mobilenet_v2_fpn_keras",
    "ssd_resnet50_v1_fpn": "ssd_resnet50_v1_fpn_keras",
    "ssd_resnet101_v1_fpn": "ssd_resnet101_v1_fpn_keras",
    "ssd_resnet152_v1_fpn": "ssd_resnet152_v1_fpn_keras",
}


def read(path):
    from google.protobuf import text_format
    from object_detection.protos import pipeline_pb2

    return text_format.Parse(path.read_text(), pipeline_pb2.TrainEvalPipelineConfig()).model


def image_size(resizer):
    if resizer.HasField("fixed_shape_resizer"):
        return resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    longest = resizer.keep_aspect_ratio_resizer.max_dimension  # padded to a square
    return longest, longest


def summary(predictions, variables, trainable):
    return {
        "variables": len(variables),
        "parameters": sum(math.prod(variable.shape.as_list()) for variable in variables),
        "trainable_parameters": sum(math.prod(variable.shape.as_list()) for variable in trainable),
        "anchors": int(predictions["box_encodings"].shape[1]),
        "feature_map_shapes": [feature_map.shape.as_list()[1:3] for feature_map in predictions["feature_maps"]],
    }


def tf2(path):
    import tensorflow as tf
    from object_detection.builders import model_builder

    model_config = read(path)
    extractor = model_config.ssd.feature_extractor
    extractor.type = TO_KERAS.get(extractor.type, extractor.type)
    if extractor.type not in model_builder.SSD_KERAS_FEATURE_EXTRACTOR_CLASS_MAP:
        return None  # TF 1 only
    model = model_builder.build(model_config, is_training=False)
    if extractor.HasField("fpn"):  # the API drops these settings on their way to a ResNet
        parts = model._feature_extractor
        parts._fpn_min_level, parts._fpn_max_level = extractor.fpn.min_level, extractor.fpn.max_level
        parts._additional_layer_depth = extractor.fpn.additional_layer_depth
    found = {}

    @tf.function
    def trace(images):
        with tf.GradientTape() as tape:
            predictions = model.predict(images, tf.constant([[*images.shape[1:]]]))
            outputs = [tf.reduce_sum(predictions[name]) for name in ("box_encodings", "class_predictions_with_background")]
        gradients = tape.gradient(outputs, model.trainable_variables)
        found.update(predictions, unused=[v for v, gradient in zip(model.trainable_variables, gradients, strict=True) if gradient is None])
        return outputs

    trace.get_concrete_function(tf.TensorSpec([1, *image_size(model_config.ssd.image_resizer), 3], tf.float32))
    layers = {variable.name.rpartition("/")[0] for variable in found["unused"]}
    used = [variable for variable in model.variables if variable.name.rpartition("/")[0] not in layers]
    result = summary(found, model.variables, model.trainable_variables)
    return result | ({"used": summary(found, used, [v for v in used if v.trainable])} if layers else {})


def tf1(path):
    import tensorflow.compat.v1 as tf
    from tensorflow.python.framework import ops

    ops.Tensor = tf.Tensor  # tf_slim still looks for it there
    tf.disable_v2_behavior()  # before the imports: the API then builds its TF 1 networks
    stub = types.ModuleType("tensorflow.contrib.image.python.ops")  # of a matcher that no config uses
    stub.image_ops = None
    for parent in ("contrib", "contrib.image", "contrib.image.python", "contrib.image.python.ops"):
        sys.modules[f"tensorflow.{parent}"] = stub
    from object_detection.builders import model_builder

    model_config = read(path)
    if model_config.ssd.feature_extractor.type not in model_builder.SSD_FEATURE_EXTRACTOR_CLASS_MAP:
        return None  # TF 2 only
    with tf.Graph().as_default():
        model = model_builder.build(model_config, is_training=True)
        size = (*image_size(model_config.ssd.image_resizer), 3)
        predictions = model.predict(tf.placeholder(tf.float32, [1, *size]), tf.constant([size]))
        return summary(predictions, tf.global_variables(), tf.trainable_variables())


def main(configs, out):
    paths = sorted(path for path in pathlib.Path(configs).glob("*.config") if "ssd {" in path.read_text())
    out = pathlib.Path(out)
    results = json.loads(out.read_text()) if out.exists() else {}  # goes on where it was broken off
    for function in (tf2, tf1):
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process has one behaviour of the two
            for path in paths:
                known = results.setdefault(path.name, {})
                if function.__name__ not in known:
                    known[function.__name__] = pool.apply(attempt, [function, path])
                    print(function.__name__, path.name, known[function.__name__], flush=True)
                    write(results, out)


def attempt(function, path):
    try:
        return function(path)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def write(results, out):
    lines = (f"  {json.dumps(name)}: {json.dumps(results[name])}" for name in sorted(results))
    out.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
