"""Writes coco_masks.json: the masks and keypoints that the original API's COCO converter gives for tinycoco's validation images.

Run in the original API's environment (PyPI package tf-models-research-object-detection 2.8): `python make_coco_masks_golden.py DATA_DIR`.
A mask is given by the SHA-256 of its pixels (0 and 1, a byte each, row by row). Keypoints are made up by `made_up_keypoints`, as tinycoco
has none.
"""

import hashlib
import io
import json
import pathlib
import sys

import numpy as np
import PIL.Image
import tensorflow as tf
from object_detection.dataset_tools import create_coco_tf_record
from object_detection.utils import label_map_util


def made_up_keypoints(annotation):
    """COCO's 17 keypoints of a person, every third not labelled and every fourth hidden; None for other classes."""
    if annotation["category_id"] != 1:
        return None
    x, y, width, height = annotation["bbox"]
    keypoints = []
    for index in range(17):
        visibility = 0 if index % 3 == 0 else 1 if index % 4 == 0 else 2
        keypoints += [round(x + width * index / 17), round(y + height * index / 17), visibility] if visibility else [0, 0, 0]
    return keypoints


def values_of(example, key):
    feature = example.features.feature[key]
    return list(getattr(feature, feature.WhichOneof("kind")).value)


def convert(data):
    content = json.loads((data / "tinycoco/annotations/instances_val2017.json").read_text())
    categories = label_map_util.create_category_index(content["categories"])
    keypoints = {item["id"]: made_up_keypoints(item) for item in content["annotations"]}
    keypoints = {id_: {"keypoints": each, "num_keypoints": sum(v > 0 for v in each[2::3])} for id_, each in keypoints.items() if each}
    images = {}
    for image in content["images"]:
        annotations = [item for item in content["annotations"] if item["image_id"] == image["id"]]
        folder = str(data / "tinycoco/images/val2017")
        example = create_coco_tf_record.create_tf_example(
            image, annotations, folder, categories, include_masks=True, keypoint_annotations_dict=keypoints
        )[1]
        masks = [np.array(PIL.Image.open(io.BytesIO(png))) for png in values_of(example, "image/object/mask")]
        keys = ("x", "y", "visibility", "text", "num")
        named = {key: values_of(example, f"image/object/keypoint/{key}") for key in keys}
        named["text"] = [text.decode() for text in named["text"]][:17]  # the same for every object
        images[image["file_name"]] = {"masks": [hashlib.sha256(mask.tobytes()).hexdigest() for mask in masks], "keypoint": named}
    return images


if __name__ == "__main__":
    golden = {"tf": tf.__version__, "images": convert(pathlib.Path(sys.argv[1]))}
    path = pathlib.Path(__file__).with_name("coco_masks.json")
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(path, path.stat().st_size)
