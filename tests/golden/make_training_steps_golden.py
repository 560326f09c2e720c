"""Writes training_steps.npz with the original TF Object Detection API: `python make_training_steps_golden.py CONFIG OUT.npz`.

CONFIG is ssdlite_v2_dm0.35_160.config. Three of the API's own training steps with frozen batch norm, which unlike batch statistics passes
rounding on as it is, so that every variable can be compared. Weights, images and boxes are functions of names and seeds; of each variable's
change after the last step its length and its projection on a direction that follows from its name are kept.
"""

import pathlib
import re
import sys
import zlib

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from object_detection import model_lib_v2
from object_detection.builders import model_builder, optimizer_builder
from object_detection.protos import pipeline_pb2

NUM_STEPS, SIZE = 3, 96
SCHEDULE = "cosine_decay_learning_rate { learning_rate_base: 0.02 total_steps: 10 warmup_learning_rate: 0.005 warmup_steps: 2 }"
CASES = {  # the optimizer, the norm that gradients are clipped to
    "momentum_clipped": (f"momentum_optimizer {{ momentum_optimizer_value: 0.9 learning_rate {{ {SCHEDULE} }} }}", 0.5),
    "adam": ("adam_optimizer { epsilon: 0.01 learning_rate { constant_learning_rate { learning_rate: 0.001 } } }", 0.0),
}
LOSSES = ("classification", "localization", "regularization", "total")


def value(name, shape):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape)
    if name.endswith(("beta", "bias", "moving_mean")):
        return rng.normal(0, 0.1, shape)
    return rng.normal(0, 1 / np.sqrt(9 if name.endswith("depthwise_kernel") else np.prod(shape[:-1])), shape)


def direction(name, shape):
    return np.random.default_rng(zlib.crc32(b"direction " + name.encode())).normal(size=shape)


def short(name):
    return re.sub(r"^ssd_mobile_net_v2_keras_feature_extractor(_\d+)?/", "", name.removesuffix(":0"))


def batch():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.uint8)
    corners = np.sort(rng.uniform(0, 1, (2, 4, 2, 2)), axis=2)  # of 4 boxes an image
    boxes = corners.reshape(2, 4, 4).astype(np.float32)
    classes = rng.integers(0, 3, (2, 4))
    return images, boxes, classes, np.array([4, 2])


def main(config, out):
    images, boxes, classes, counts = batch()
    real = (np.arange(4) < counts[:, None]).astype(np.float32)
    results = {"num_steps": NUM_STEPS, "size": SIZE}
    for case, (optimizer_text, clip_norm) in CASES.items():
        pipeline = text_format.Parse(pathlib.Path(config).read_text(), pipeline_pb2.TrainEvalPipelineConfig())
        pipeline.model.ssd.freeze_batchnorm = True
        resizer = pipeline.model.ssd.image_resizer.fixed_shape_resizer
        resizer.height = resizer.width = SIZE
        model = model_builder.build(pipeline.model, is_training=True)
        inputs, true_shapes = model.preprocess(tf.cast(images, tf.float32))
        model.predict(inputs, true_shapes)  # makes the variables
        for variable in model.variables:
            variable.assign(value(short(variable.name), variable.shape))
        features = {"image": inputs, "true_image_shape": true_shapes}
        labels = {
            "groundtruth_boxes": tf.constant(boxes * real[..., None]),
            "groundtruth_classes": tf.one_hot(classes, 3) * real[..., None],
            "groundtruth_weights": tf.constant(real),
            "num_groundtruth_boxes": tf.constant(counts, tf.int32),
        }
        step = tf.Variable(0, dtype=tf.int64)
        text = f"{optimizer_text} use_moving_average: false"
        optimizer, _ = optimizer_builder.build(text_format.Parse(text, pipeline.train_config.optimizer), global_step=step)
        variables = {short(variable.name): variable for variable in model.trainable_variables}
        before = {name: variable.numpy() for name, variable in variables.items()}
        losses = []
        for _ in range(NUM_STEPS):
            found = model_lib_v2.eager_train_step(model, features, labels, False, optimizer, step, clip_gradients_value=clip_norm or None)
            losses.append([float(found[f"Loss/{name}_loss"]) for name in LOSSES])
            step.assign_add(1)
        changes = {name: variable.numpy() - before[name] for name, variable in variables.items()}
        results[f"{case}/optimizer"], results[f"{case}/clip_norm"] = text, clip_norm
        results[f"{case}/losses"] = np.array(losses)
        results[f"{case}/names"] = np.array(list(changes))
        results[f"{case}/lengths"] = np.array([np.linalg.norm(change) for change in changes.values()])
        results[f"{case}/projections"] = np.array([np.sum(change * direction(name, change.shape)) for name, change in changes.items()])
    np.savez_compressed(out, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
