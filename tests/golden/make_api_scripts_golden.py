"""Runs the original API's five converter scripts and keeps every feature of every record: api_scripts.json.gz and api_scripts_input.zip.

Run in the original API's environment (PyPI package tf-models-research-object-detection 2.8):
`python make_api_scripts_golden.py DATA_DIR [CASE ...]`. DATA_DIR holds tinycoco and bccd. Named cases are made anew, the others kept. The
other inputs are made here and kept in the zip, so that a test reads the same bytes.

JSON: case -> output file -> list of records, each key -> list of values, in file order. Instead of bytes stand digests: of `image/encoded`
the SHA-256, of a mask the SHA-256 of its decoded pixels (uint8, rows first) with its height and width.
"""

import gzip
import hashlib
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import tensorflow as tf
from object_detection import dataset_tools
from object_detection.dataset_tools import create_coco_tf_record
from PIL import Image

SCRIPTS = pathlib.Path(dataset_tools.__file__).parent
HERE = pathlib.Path(__file__).parent

# create_oid_tf_record.py ends at the first image in Python 3, which it opens as text, and with image-level labels at a stray comma that
# makes a tuple of a feature. This runs it with both mended.
MEND_OID = """
import runpy, sys
import tensorflow.compat.v1 as tf
tf.gfile.Open = lambda path, open=tf.gfile.Open: open(path, "rb")
Features = tf.train.Features
tf.train.Features = lambda feature: Features(feature={k: v[0] if isinstance(v, tuple) else v for k, v in feature.items()})
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def noise(path, width, height, seed, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(path, **options)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def label_map(*names):
    return "".join(f"item {{\n  id: {i}\n  name: '{name}'\n}}\n" for i, name in enumerate(names, start=1))


def make_kitti(root):
    lines = {
        # Two cars, a pedestrian, a van that is not wanted, and a region nobody annotated that touches the second car.
        0: """Car 0.00 0 1.85 12.50 20.25 60.75 40.00 1.67 1.87 3.69 -16.53 2.39 58.49 1.57
Car 0.31 1 -1.57 70.00 30.00 119.00 59.00 1.50 1.60 4.00 3.00 1.70 12.50 -1.60
Pedestrian 0.00 2 0.21 5.00 5.00 9.00 25.00 1.89 0.48 1.20 1.84 1.47 8.41 0.01
Van 0.00 0 0.10 30.00 5.00 50.00 15.00 2.00 1.80 4.10 5.00 1.60 30.00 0.20
DontCare -1 -1 -10 110.00 10.00 119.00 35.00 -1 -1 -1 -1000 -1000 -1000 -10""",
        1: "",
        2: """Cyclist 0.00 0 0.10 10.00 10.00 20.00 30.00 1.70 0.60 1.80 3.00 1.70 9.00 0.20
DontCare -1 -1 -10 0.00 0.00 5.00 5.00 -1 -1 -1 -1000 -1000 -1000 -10
Car 1.00 3 -0.10 0.00 50.00 30.33 59.99 1.40 1.50 3.70 -9.00 1.80 7.77 -0.30""",
    }
    for number, text in lines.items():
        noise(root / f"kitti/data_object_image_2/training/image_2/{number:06d}.png", 120, 60, number)
        write(root / f"kitti/training/label_2/{number:06d}.txt", text + "\n" if text else "")
    write(root / "kitti/label_map.pbtxt", label_map("car", "pedestrian"))


def voc_xml(folder, filename, size, objects):
    items = "".join(
        f"<object><name>{name}</name><pose>{pose}</pose><truncated>{truncated}</truncated><difficult>{difficult}</difficult>"
        f"<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>\n"
        for name, pose, truncated, difficult, box in objects
    )
    return (
        f"<annotation><folder>{folder}</folder><filename>{filename}</filename>\n"
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>\n{items}</annotation>\n"
    )


def make_pets(root):
    pets = root / "pets"
    for index, stem in enumerate(["Abyssinian_1", "pug_12", "american_bulldog_3", "pug_100"]):
        width, height = 40 + 4 * index, 32
        noise(pets / f"images/{stem}.jpg", width, height, 10 + index, quality=80)
        trimap = np.full((height, width), 2, np.uint8)
        trimap[4 : 20 + index, 6:30] = 3
        trimap[6 : 18 + index, 8:28] = 1
        (pets / "annotations/trimaps").mkdir(parents=True, exist_ok=True)
        Image.fromarray(trimap).save(pets / f"annotations/trimaps/{stem}.png")
        if stem != "pug_100":  # as for some of the real set, nobody annotated it
            face = [("dog", "Frontal", index % 2, index // 2, (10, 5, 20 + index, 15))]
            write(pets / f"annotations/xmls/{stem}.xml", voc_xml("OXIIIT", f"{stem}.jpg", (width, height), face))
    write(pets / "annotations/trainval.txt", "Abyssinian_1 1 1 1\npug_12 2 2 1\namerican_bulldog_3 3 2 2\npug_100 2 2 1\n")
    write(pets / "label_map.pbtxt", label_map("Abyssinian", "american_bulldog", "pug"))


def make_oid(root):
    for index, image_id in enumerate(["00a1", "0f", "10", "ff07"]):
        noise(root / f"oid/images/{image_id}.jpg", 48, 32, 20 + index, quality=80)
    write(
        root / "oid/boxes.csv",
        """ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside
0f,xclick,/m/cat,1,0.125,0.5,0.1,0.953333,1,0,0,0,0
0f,xclick,/m/dog,1,0,1,0.0234375,0.999,0,1,1,0,0
00a1,xclick,/m/cat,1,0.5,0.75,0.25,0.5,0,0,0,1,0
0f,xclick,/m/tree,1,0.1,0.2,0.3,0.4,0,0,0,0,0
10,xclick,/m/tree,1,0.1,0.2,0.3,0.4,0,0,0,0,0
""",
    )
    write(
        root / "oid/labels.csv",
        """ImageID,Source,LabelName,Confidence
0f,verification,/m/cat,1
0f,verification,/m/dog,0
ff07,verification,/m/dog,1
ff07,verification,/m/tree,1
""",
    )
    write(root / "oid/label_map.pbtxt", label_map("/m/cat", "/m/dog"))
    tree = {
        "LabelName": "/m/root",
        "Subcategory": [
            {
                "LabelName": "/m/animal",
                "Subcategory": [{"LabelName": "/m/cat"}, {"LabelName": "/m/dog", "Part": [{"LabelName": "/m/tail"}]}],
            },
            {"LabelName": "/m/pet", "Subcategory": [{"LabelName": "/m/dog"}]},
            {"LabelName": "/m/tree"},
        ],
    }
    write(root / "oid/tree.json", json.dumps(tree))


def make_voc(root):
    objects = [
        ("dog", "Left", 1, 0, (1, 2, 30, 28)),
        ("cat", "Unspecified", 0, 1, (10, 3, 20, 13)),
        ("dog", "Rear", 0, 0, (5, 6, 5, 20)),  # empty
        ("cat", "Frontal", 0, 0, (30, 1, 41, 9)),  # leaves the image
    ]
    for year, stems in (("VOC2007", ["000005", "000007"]), ("VOC2012", ["2008_000002"])):
        for index, stem in enumerate(stems):
            noise(root / f"voc/{year}/JPEGImages/{stem}.jpg", 40, 32, 30 + len(year) + index, quality=80)
            write(root / f"voc/{year}/Annotations/{stem}.xml", voc_xml(year, f"{stem}.jpg", (40, 32), objects[: 4 - 4 * index]))
        write(root / f"voc/{year}/ImageSets/Main/aeroplane_train.txt", "".join(f"{stem} -1\n" for stem in stems))
        write(root / f"voc/{year}/ImageSets/Main/train.txt", "".join(f"{stem}\n" for stem in stems))
    write(root / "voc/label_map.pbtxt", label_map("cat", "dog"))


def make_coco(root):
    """Boxes that the original drops, a crowd, a hole between category ids, an image without annotations; keypoints of one person."""
    for index, name in enumerate(["a.jpg", "b.jpg", "c.jpg"]):
        noise(root / f"coco/images/{name}", 40, 32, 40 + index, quality=80)
    boxes = [
        (11, 1, 1, [2.5, 3.25, 20.5, 16.0]),
        (11, 18, 0, [30.0, 8.0, 10.0, 24.0]),  # ends at both edges
        (11, 18, 0, [30.0, 8.0, 10.5, 8.0]),  # leaves the image
        (11, 18, 0, [5.0, 5.0, 0.0, 8.0]),  # empty
        (11, 1, 0, [4.0, 4.0, 8.0, 8.0]),
        (7, 18, 0, [1.0, 2.0, 3.0, 4.0]),
    ]
    annotations = []
    for id_, (image_id, category_id, is_crowd, (x, y, width, height)) in enumerate(boxes, start=100):
        polygon = [x, y, x + width, y, x + width, y + height, x + width / 2, y + height / 2]
        crowd = {"size": [32, 40], "counts": [70, 10, 22, 10, 32 * 40 - 112]}
        annotations.append(
            {
                "id": id_,
                "image_id": image_id,
                "category_id": category_id,
                "iscrowd": is_crowd,
                "bbox": [x, y, width, height],
                "area": width * height / 2,
                "segmentation": crowd if is_crowd else [polygon],
            }
        )
    content = {
        "images": [{"id": id_, "file_name": name, "height": 32, "width": 40} for id_, name in ((11, "a.jpg"), (7, "b.jpg"), (9, "c.jpg"))],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    }
    write(root / "coco/instances.json", json.dumps(content))
    points = [value for index in range(17) for value in ((4 + index / 4, 5 + index / 8, 1 + index % 2) if index % 5 else (0, 0, 0))]
    person = {**annotations[4], "keypoints": points, "num_keypoints": 13}
    category = {**content["categories"][0], "keypoints": [name.decode() for name in create_coco_tf_record._COCO_KEYPOINT_NAMES]}
    content = {**content, "annotations": [person], "categories": [category]}
    write(root / "coco/person_keypoints.json", json.dumps(content))
    del content["annotations"]
    write(root / "coco/image_info.json", json.dumps(content))


def run(name, out, *flags):
    out.mkdir(parents=True)
    script = str(SCRIPTS / f"create_{name}_tf_record.py")
    command = [sys.executable, *(["-c", MEND_OID, script] if name == "oid" else [script]), *map(str, flags)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr[-3000:])
    records = {str(path.relative_to(out)): [features(record) for record in read(path)] for path in sorted(out.rglob("*")) if path.is_file()}
    print(out.name, sum(map(len, records.values())), "records")
    return {path: found for path, found in records.items() if found}


def read(path):
    return [record.numpy() for record in tf.data.TFRecordDataset(str(path))]


def features(record):
    example = tf.train.Example.FromString(record)
    found = {}
    for key, feature in sorted(example.features.feature.items()):
        values = list(getattr(feature, feature.WhichOneof("kind")).value) if feature.WhichOneof("kind") else []
        if key == "image/encoded":
            values = [hashlib.sha256(value).hexdigest() for value in values]
        elif key == "image/object/mask":
            values = [mask_digest(value) for value in values]
        found[key] = [value.decode() if isinstance(value, bytes) else value for value in values]
    return found


def mask_digest(png):
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    return f"{hashlib.sha256(np.ascontiguousarray(pixels, np.uint8).tobytes()).hexdigest()} {pixels.shape[0]}x{pixels.shape[1]}"


def voc_tree_of_bccd(data, root):
    """The original looks for DATA_DIR/<folder>/JPEGImages/<filename>; bccd's XML files call the folder JPEGImages, one of them RBC."""
    voc = root / "bccd/VOC2007"
    for path in (data / "bccd/BCCD/Annotations").glob("*.xml"):
        write(voc / "Annotations" / path.name, re.sub("<folder>.*</folder>", "<folder>VOC2007</folder>", path.read_text()))
    (voc / "JPEGImages").symlink_to((data / "bccd/BCCD/JPEGImages").resolve())
    (voc / "ImageSets/Main").mkdir(parents=True)
    shutil.copy(data / "bccd/BCCD/ImageSets/Main/trainval.txt", voc / "ImageSets/Main/aeroplane_trainval.txt")
    write(root / "bccd/label_map.pbtxt", label_map("Platelets", "RBC", "WBC"))


def coco_flags(train_images, train, val_images, val, more):
    flags = [f"--train_image_dir={train_images}", f"--train_annotations_file={train}", f"--val_image_dir={val_images}"]
    flags += [
        f"--val_annotations_file={val}",
        f"--test_image_dir={more / 'images'}",
        f"--testdev_annotations_file={more / 'image_info.json'}",
    ]
    return flags


def run_all(data, root, chosen):
    out, coco, tiny = root / "out", root / "coco", data / "tinycoco"
    small = coco_flags(coco / "images", coco / "instances.json", coco / "images", coco / "instances.json", coco)
    real = coco_flags(
        tiny / "images/train2017",
        tiny / "annotations/instances_train2017.json",
        tiny / "images/val2017",
        tiny / "annotations/instances_val2017.json",
        coco,
    )
    points = [f"--{part}_keypoint_annotations_file={coco / 'person_keypoints.json'}" for part in ("train", "val")]
    voc = [f"--data_dir={root / 'voc'}", f"--label_map_path={root / 'voc/label_map.pbtxt'}"]
    pets = [f"--data_dir={root / 'pets'}", f"--label_map_path={root / 'pets/label_map.pbtxt'}", "--num_shards=2"]
    kitti = [f"--data_dir={root / 'kitti'}", f"--label_map_path={root / 'kitti/label_map.pbtxt'}", "--validation_set_size=1"]
    oid = [f"--input_box_annotations_csv={root / 'oid/boxes.csv'}", f"--input_images_directory={root / 'oid/images'}"]
    oid += [f"--input_label_map={root / 'oid/label_map.pbtxt'}", "--num_shards=3"]
    bccd = [f"--data_dir={root / 'bccd'}", f"--label_map_path={root / 'bccd/label_map.pbtxt'}", "--set=trainval"]
    cases = {
        "coco_tinycoco_masks": ("coco", [*real, "--include_masks", f"--output_dir={out / 'coco_tinycoco_masks'}"]),
        "coco_small_masks_keypoints": ("coco", [*small, *points, "--include_masks", f"--output_dir={out / 'coco_small_masks_keypoints'}"]),
        "coco_small_persons": (
            "coco",
            [*small, "--remove_non_person_annotations", "--remove_non_person_images", f"--output_dir={out / 'coco_small_persons'}"],
        ),
        "coco_small_person_images": ("coco", [*small, "--remove_non_person_images", f"--output_dir={out / 'coco_small_person_images'}"]),
        "pascal_bccd": ("pascal", [*bccd, f"--output_path={out / 'pascal_bccd/a.record'}"]),
        "pascal_merged": ("pascal", [*voc, "--year=merged", f"--output_path={out / 'pascal_merged/a.record'}"]),
        "pascal_not_difficult": (
            "pascal",
            [*voc, "--ignore_difficult_instances", f"--output_path={out / 'pascal_not_difficult/a.record'}"],
        ),
        "pet_faces": ("pet", [*pets, f"--output_dir={out / 'pet_faces'}"]),
        "pet_masks": ("pet", [*pets, "--nofaces_only", f"--output_dir={out / 'pet_masks'}"]),
        "kitti": ("kitti", [*kitti, f"--output_path={out / 'kitti/a'}"]),
        "kitti_classes": ("kitti", [*kitti, "--classes_to_use=car", f"--output_path={out / 'kitti_classes/a'}"]),
        "oid": ("oid", [*oid, f"--output_tf_record_path_prefix={out / 'oid/a.record'}"]),
        "oid_labels": (
            "oid",
            [
                *oid,
                f"--input_image_label_annotations_csv={root / 'oid/labels.csv'}",
                f"--output_tf_record_path_prefix={out / 'oid_labels/a.record'}",
            ],
        ),
    }
    return {case: run(name, out / case, *flags) for case, (name, flags) in cases.items() if not chosen or case in chosen}


def expand(root):
    """Open Images' boxes and labels with parents and children, by the original's script: its rows, sorted."""
    expanded = {}
    for name, kind in (("boxes", 1), ("labels", 2)):
        out = root / f"expanded_{name}.csv"
        flags = [f"--json_hierarchy_file={root / 'oid/tree.json'}", f"--input_annotations={root / f'oid/{name}.csv'}"]
        flags += [f"--output_annotations={out}", f"--annotation_type={kind}"]
        subprocess.run([sys.executable, str(SCRIPTS / "oid_hierarchical_labels_expansion.py"), *flags], check=True)
        expanded[name] = sorted(out.read_text().splitlines()[1:])
    return expanded


if __name__ == "__main__":
    data = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for make in (make_kitti, make_pets, make_oid, make_voc, make_coco):
            make(root)
        with zipfile.ZipFile(HERE / "api_scripts_input.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(root.rglob("*")):
                if path.is_file():
                    archive.writestr(zipfile.ZipInfo(str(path.relative_to(root))), path.read_bytes(), zipfile.ZIP_DEFLATED)
        voc_tree_of_bccd(data, root)
        path, chosen = HERE / "api_scripts.json.gz", sys.argv[2:]
        golden = json.loads(gzip.decompress(path.read_bytes())) if chosen and path.exists() else {}
        golden |= {"tf": tf.__version__, "expanded": expand(root), **run_all(data, root, chosen)}
        path.write_bytes(gzip.compress(json.dumps(golden).replace(name, "ROOT").encode(), mtime=0))
    for file in ("api_scripts_input.zip", "api_scripts.json.gz"):
        print(file, (HERE / file).stat().st_size)
