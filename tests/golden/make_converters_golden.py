"""Writes converters.json: the features that the original API's COCO and VOC converters give for tinycoco and bccd.

Run in the original API's environment (PyPI package tf-models-research-object-detection 2.8): `python make_converters_golden.py DATA_DIR`.
Each image maps a feature key to its list of values; the image bytes are left out, their SHA-256 is among the keys.
"""

import json
import pathlib
import sys
import tempfile

import tensorflow as tf
from lxml import etree
from object_detection.dataset_tools import create_coco_tf_record, create_pascal_tf_record
from object_detection.utils import dataset_util, label_map_util

BCCD_LABELS = {"Platelets": 1, "RBC": 2, "WBC": 3}
BCCD_IMAGES = [f"BloodImage_{number:05d}" for number in (0, 2, 7, 11, 14, 340, 379, 410)]


def to_lists(example):
    features = {}
    for key, feature in example.features.feature.items():
        if key != "image/encoded":
            values = list(getattr(feature, feature.WhichOneof("kind")).value)
            features[key] = [value.decode() if isinstance(value, bytes) else value for value in values]
    return features


def convert_coco(data, split):
    content = json.loads((data / f"tinycoco/annotations/instances_{split}2017.json").read_text())
    categories = label_map_util.create_category_index(content["categories"])
    examples = {}
    for image in content["images"]:
        annotations = [item for item in content["annotations"] if item["image_id"] == image["id"]]
        folder = str(data / f"tinycoco/images/{split}2017")
        examples[image["file_name"]] = to_lists(create_coco_tf_record.create_tf_example(image, annotations, folder, categories)[1])
    return examples


def convert_voc(data):
    examples = {}
    with tempfile.TemporaryDirectory() as root:  # the original looks for <folder>/JPEGImages/<filename> below its root
        (pathlib.Path(root) / "JPEGImages").mkdir()
        (pathlib.Path(root) / "JPEGImages" / "JPEGImages").symlink_to((data / "bccd/BCCD/JPEGImages").resolve())
        for name in BCCD_IMAGES:
            xml = etree.fromstring((data / f"bccd/BCCD/Annotations/{name}.xml").read_bytes())
            content = dataset_util.recursive_parse_xml_to_dict(xml)["annotation"]
            examples[name] = to_lists(create_pascal_tf_record.dict_to_tf_example(content, root, BCCD_LABELS))
    return examples


if __name__ == "__main__":
    data = pathlib.Path(sys.argv[1])
    golden = {
        "tf": tf.__version__,
        "coco_train": convert_coco(data, "train"),
        "coco_val": convert_coco(data, "val"),
        "voc": convert_voc(data),
    }
    path = pathlib.Path(__file__).with_name("converters.json")
    path.write_text(json.dumps(golden, indent=0))
    print(path, path.stat().st_size)
