"""Adds to augment.npz and augment_statistics.json what the original TF Object Detection API makes of masks, keypoints and scores.

Run in the original API's environment (PyPI package tf-models-research-object-detection 2.8), in this folder:
`python make_augment_golden.py pinned` writes augment_objects.npz, `python make_augment_golden.py statistics [STEP ...]` adds to
augment_statistics.json. AutoAugment needs three functions of TF 1's contrib; they are replaced by the kernel that they called.
"""

import json
import sys
import types

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from object_detection.builders import preprocessor_builder
from object_detection.core import preprocessor, preprocessor_cache
from object_detection.core.standard_fields import InputDataFields as Fields
from object_detection.protos import preprocessor_pb2
from object_detection.utils import autoaugment_utils

Cache = preprocessor_cache.PreprocessorCache
NUM_DRAWS = 3000
CLASS_IDS = [1, 2, 3, 1, 2]  # of the five boxes of augment.npz
CROPS = [
    "ssd_random_crop", "ssd_random_crop_two", "ssd_random_crop_pad", "ssd_random_crop_fixed_aspect_ratio",
    "ssd_random_crop_pad_fixed_aspect_ratio", "random_crop_image", "random_pad_image", "random_crop_pad_image",
    "random_crop_to_aspect_ratio", "random_self_concat_image", "random_square_crop_by_scale", "random_scale_crop_and_pad_to_square",
]  # fmt: skip
NEW_STEPS = {
    "ssd_random_crop_pad": "ssd_random_crop_pad {}",
    **{
        f"autoaugment_{name}": f"autoaugment_image {{ policy_name: '{name}' }}" for name in ("v0", "v3")
    },  # between them every kind of operation
}
WINDOW = (np.array([10, 6, 0]), np.array([33, 45, -1]), np.float32([[[10 / 48, 6 / 64, 43 / 48, 51 / 64]]]))  # begin, size, normalised
PINNED = {  # name: (config, {(function id, key): draws})
    "flip_horizontal": ("random_horizontal_flip { probability: 1 keypoint_flip_permutation: [0, 2, 1] }", {}),
    "flip_vertical": ("random_vertical_flip { probability: 1 keypoint_flip_permutation: [0, 2, 1] }", {}),
    "rotation90": ("random_rotation90 { probability: 1 keypoint_rot_permutation: [2, 0, 1] }", {}),
    "crop": ("random_crop_image { overlap_thresh: 0.3 }", {(Cache.STRICT_CROP_IMAGE, 1.0): WINDOW}),
    "crop_unclipped": ("random_crop_image { overlap_thresh: 0.3 clip_boxes: false }", {(Cache.STRICT_CROP_IMAGE, 1.0): WINDOW}),
    "crop_to_aspect_ratio": ("random_crop_to_aspect_ratio { aspect_ratio: 0.7 }", {(Cache.CROP_TO_ASPECT_RATIO, ""): (0, 12)}),
    "pad": ("random_pad_image { pad_color: [10, 20, 30] }", {(Cache.PAD_IMAGE, ""): (60, 80, 5, 9)}),
    "absolute_pad": ("random_absolute_pad_image {max_height_padding: 9 max_width_padding: 9}", {(Cache.PAD_IMAGE, ""): (50, 70, 1, 3)}),
    "pad_to_aspect_ratio": (
        "ssd_random_crop_pad_fixed_aspect_ratio { aspect_ratio: 1.5 operations { random_coef: 1 min_aspect_ratio: 1 max_aspect_ratio: 1"
        " min_area: 1 max_area: 1 } }",
        {(Cache.PAD_TO_ASPECT_RATIO, ""): 1.25, (Cache.SELECTOR_TUPLES, Cache.SSD_CROP_SELECTOR_ID): 0},
    ),
    "square_crop": (
        "random_square_crop_by_scale { max_border: 32 scale_min: 0.5 scale_max: 0.8125 num_scales: 6 }",
        {(Cache.SQUARE_CROP_BY_SCALE, key): value for key, value in (("scale", 0.8125), ("y_center", 20), ("x_center", 24))},
    ),
    "scale_and_pad_to_square": ("random_scale_crop_and_pad_to_square { output_size: 64 scale_min: 0.5 scale_max: 0.5 }", {}),
    "resize": ("resize_image { new_height: 24 new_width: 40 }", {}),
    "downscale": (
        "random_downscale_to_target_pixels { min_target_pixels: 800 max_target_pixels: 801 }",
        {(Cache.DOWNSCALE_TO_TARGET_PIXELS, "target_pixels"): 800},
    ),
    "self_concat": ("random_self_concat_image {}", {(Cache.SELF_CONCAT_IMAGE, ""): (True, True)}),
    "drop_label": ("drop_label_probabilistically { label: 1 drop_probability: 1 }", {}),
    "remap_labels": ("remap_labels { original_labels: [1, 3] new_label: 2 }", {}),
    "pixel_coordinates": ("scale_boxes_to_pixel_coordinates {}", {}),
    "softmax": ("convert_class_logits_to_softmax { temperature: 2.5 }", {}),
    "rgb_to_gray": ("rgb_to_gray {}", {}),
}  # fmt: skip
WITHOUT_OBJECTS = {"crop_pad", "self_concat", "softmax"}  # the API leaves masks and keypoints of these as they were


def build(config):
    return preprocessor_builder.build(text_format.Parse(config, preprocessor_pb2.PreprocessingStep()))


def inputs():
    rng = np.random.default_rng(3)
    keypoints = rng.uniform(0, 1, (5, 3, 2)).astype(np.float32)
    keypoints[1, 2] = np.nan
    return {
        Fields.groundtruth_instance_masks: rng.integers(0, 2, (5, 48, 64)).astype(np.float32),
        Fields.groundtruth_keypoints: keypoints,
        Fields.groundtruth_keypoint_visibilities: rng.integers(0, 2, (5, 3)).astype(bool),
        Fields.multiclass_scores: rng.normal(0, 2, (5, 4)).astype(np.float32),
    }


def example(class_ids=CLASS_IDS):
    arrays = np.load("augment.npz")
    return {
        Fields.image: tf.constant(arrays["image"])[tf.newaxis],
        Fields.groundtruth_boxes: tf.constant(arrays["boxes"]),
        Fields.groundtruth_classes: tf.constant(class_ids, tf.int32),
        Fields.groundtruth_weights: tf.constant(np.arange(1, 6), tf.float32),
    }


def pinned():
    results = {f"in/{name}": value for name, value in inputs().items()}
    for name, (config, draws) in PINNED.items():
        cache = Cache()
        for (function, key), value in draws.items():
            cache.update(function, key, tf.nest.map_structure(tf.constant, value))
        tensors = {**example(), **{field: tf.constant(value) for field, value in inputs().items()}}
        has_objects = name not in WITHOUT_OBJECTS
        arguments = preprocessor.get_default_func_arg_map(
            include_multiclass_scores=True,
            include_instance_masks=has_objects,
            include_keypoints=has_objects,
            include_keypoint_visibilities=has_objects and name != "crop_unclipped",  # the API forgets to return them
        )
        given = dict(tensors)
        output = preprocessor.preprocess(tensors, [build(config)], arguments, preprocess_vars_cache=cache)
        for field, value in output.items():
            if field == Fields.image:
                results[f"{name}/image"] = np.asarray(value)[0, ::4, ::4]  # enough to know it by
            elif value is not given[field]:
                results[f"{name}/{field}"] = np.asarray(value)
    results |= {f"autoaugment/{name}": value for name, value in autoaugment().items()}
    np.savez_compressed("augment_objects.npz", **results)


def autoaugment():
    """Every operation with a pinned argument; boxes only where the operation moves them."""
    use_kernel_instead_of_contrib()
    arrays = np.load("augment.npz")
    image, boxes, grey = tf.cast(arrays["image"][::2, ::2], tf.uint8), tf.constant(arrays["boxes"]), [128] * 3
    ops, results = autoaugment_utils, {}
    plain = {
        "AutoContrast": ops.autocontrast(image // 2 + 30),
        "Equalize": ops.equalize(image // 2 + 30),
        "EqualizeFlat": ops.equalize(image // 255 * 9),
        "Posterize": ops.posterize(image, 2),
        "Posterize0": ops.posterize(image, 0),
        "Solarize": ops.solarize(image, 204),
        "SolarizeAdd": ops.solarize_add(image, 88),
        **{f"Color{factor}": ops.color(image, factor) for factor in (0.1, 1.18, 1.9)},
        **{f"Contrast{factor}": ops.contrast(image, factor) for factor in (0.1, 1.9)},
        **{f"Brightness{factor}": ops.brightness(image, factor) for factor in (0.46, 1.9)},
        **{f"Sharpness{factor}": ops.sharpness(image, factor) for factor in (0.46, 1.54)},
    }
    results |= {f"{name}/image": value for name, value in plain.items()}
    moves = {
        "TranslateX8": ops.translate_bbox(image, boxes, 8.0, grey, True),
        "TranslateY-20": ops.translate_bbox(image, boxes, -20.0, grey, False),
        "ShearX0.3": ops.shear_with_bboxes(image, boxes, 0.3, grey, True),
        "ShearY-0.12": ops.shear_with_bboxes(image, boxes, -0.12, grey, False),
        "ShearX0.0": ops.shear_with_bboxes(image, boxes, 0.0, grey, True),
        "Rotate30": ops.rotate_with_bboxes(image, boxes, 30.0, grey),
        "Rotate-24": ops.rotate_with_bboxes(image, boxes, -24.0, grey),
    }
    for name, (moved_image, moved_boxes) in moves.items():
        results |= {f"{name}/image": moved_image, f"{name}/boxes": moved_boxes}
    for index in range(2):
        results[f"TranslateY3_Only_BBox{index}/image"] = ops._apply_bbox_augmentation(image, boxes[index], ops.translate_y, 3.0, grey)
    with pinned_uniform([10, 25]):
        results["Cutout/image"] = ops.cutout(image, 8, grey)
    return {name: np.asarray(value) for name, value in results.items()}


class pinned_uniform:
    """Replaces the draws of AutoAugment by given numbers."""

    def __init__(self, values):
        self.values = iter(values)

    def __enter__(self):
        self.original = autoaugment_utils.tf.random_uniform
        autoaugment_utils.tf.random_uniform = lambda *_, **__: tf.constant(next(self.values))

    def __exit__(self, *_):
        autoaugment_utils.tf.random_uniform = self.original


def use_kernel_instead_of_contrib():
    def transform(image, row):
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=image[tf.newaxis], transforms=tf.stack([tf.cast(value, tf.float32) for value in row])[tf.newaxis],
            output_shape=tf.shape(image)[:2], fill_value=0.0, interpolation="NEAREST", fill_mode="CONSTANT",
        )[0]  # fmt: skip

    def rotate(image, radians):
        height, width = (tf.cast(size, tf.float32) - 1.0 for size in tf.unstack(tf.shape(image)[:2], num=2))
        cosine, sine = tf.cos(radians), tf.sin(radians)
        x, y = (width - (cosine * width - sine * height)) / 2.0, (height - (sine * width + cosine * height)) / 2.0
        return transform(image, [cosine, -sine, x, sine, cosine, y, 0.0, 0.0])

    def translate(image, shift):
        return transform(image, [1.0, 0.0, -shift[0], 0.0, 1.0, -shift[1], 0.0, 0.0])

    autoaugment_utils.contrib_image = types.SimpleNamespace(transform=transform, rotate=rotate, translate=translate)
    autoaugment_utils.contrib_training = types.SimpleNamespace(HParams=types.SimpleNamespace)


def numbers(image, boxes, ids):
    """The 13 statistics of augment_statistics.json, five shares of boxes that are there, and the share of unchanged sizes."""
    sides = boxes[:, 2:] - boxes[:, :2]
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    return tf.concat(
        [
            size,
            tf.cast(tf.shape(boxes)[:1], tf.float32),
            tf.reduce_sum(boxes, axis=0),
            [tf.reduce_sum(sides[:, 0] * sides[:, 1])],
            [tf.reduce_sum(tf.gather(tf.cast(CLASS_IDS, tf.float32), ids - 1))],
            tf.reduce_mean(image, axis=[0, 1]),
            [tf.math.reduce_std(image)],
            tf.cast(tf.reduce_any(tf.equal(ids[:, tf.newaxis], tf.range(1, 6)), axis=0), tf.float32),
            [tf.cast(tf.reduce_all(tf.equal(size, [48.0, 64.0])), tf.float32)],
        ],
        axis=0,
    )


def draw(config):
    """[NUM_DRAWS, 19] numbers."""
    step = build(config)

    def once(_):
        tensors = example([1, 2, 3, 4, 5])
        tensors[Fields.image] = tf.floor(tensors[Fields.image])
        output = preprocessor.preprocess(tensors, [step])
        return numbers(tf.cast(output[Fields.image][0], tf.float32), output[Fields.groundtruth_boxes], output[Fields.groundtruth_classes])

    if "ssd_random_crop_pad {" not in config:
        return np.stack(list(tf.data.Dataset.range(NUM_DRAWS).map(once).as_numpy_iterator()))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:  # it fails inside tf.data
        result = once(None)
        return np.stack([session.run(result) for _ in range(NUM_DRAWS)])


def statistics(*names):
    """Of the steps named, else of all."""
    use_kernel_instead_of_contrib()
    with open("augment_statistics.json") as file:
        table = json.load(file)
    table["draws"] = NUM_DRAWS
    table["accepted"] = "the share of draws in which each box is there, and in which the image keeps its size"
    for name in names or dict.fromkeys([*CROPS, *NEW_STEPS]):
        config = NEW_STEPS[name] if name in NEW_STEPS else table["steps"][name]["config"]
        rows = draw(config)
        if name in NEW_STEPS:
            table["steps"][name] = {"config": config, "mean": rows.mean(0)[:13].tolist(), "stddev": rows.std(0)[:13].tolist()}
        if name in CROPS:
            table["steps"][name]["accepted"] = rows.mean(0)[13:].tolist()
        print(name, rows.mean(0).round(3).tolist(), flush=True)
    with open("augment_statistics.json", "w") as file:
        json.dump(table, file, indent=1)


if __name__ == "__main__":
    {"pinned": pinned, "statistics": statistics}[sys.argv[1]](*sys.argv[2:])
