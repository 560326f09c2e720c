"""`imagenet` as a checkpoint: the weights of Keras applications' MobileNet V1 and V2, downloaded once.

They are cached where Keras caches them (`$KERAS_HOME/models`, else `~/.keras/models`) under Keras's names, so files that Keras has
downloaded, or that were put there by hand, are taken. Keras publishes no checksums for these files; the server sends the MD5 of what it
stores along with it (`x-goog-hash`), and a download is kept only if it has that MD5 and the announced length.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import IO, NamedTuple

from object_detection_ext.errors import InputError
from object_detection_ext.weights.keras_h5 import open_keras_weights
from object_detection_ext.weights.source import WeightSource

# tf_keras/src/applications/mobilenet.py and mobilenet_v2.py. The resolution that an ImageNet model was trained at is not a property of its
# backbone: the largest one is taken.
_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
_V1 = "mobilenet/mobilenet_{}_224_tf_no_top.h5"
_V2 = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_224_no_top.h5"

_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 20


class ImagenetWeights(NamedTuple):
    """Weights that Keras publishes."""

    architecture: str
    depth_multiplier: float
    probe: str  # a variable of ours that tells the networks apart, by
    channels: int  # its output channels
    path: str  # below the address of all

    @property
    def url(self) -> str:
        return f"{_URL}/{self.path}"

    @property
    def file_name(self) -> str:
        return self.path.rpartition("/")[2]


PUBLISHED = (
    *(
        ImagenetWeights("MobileNet V1", multiplier, "conv_pw_11/kernel", round(512 * multiplier), _V1.format(text))
        for multiplier, text in ((0.25, "2_5"), (0.5, "5_0"), (0.75, "7_5"), (1.0, "1_0"))
    ),
    *(
        ImagenetWeights("MobileNetV2", multiplier, "block_16_project/kernel", round(320 * multiplier), _V2.format(multiplier))
        for multiplier in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
    ),
)


def open_imagenet(shapes: Mapping[str, tuple[int, ...]], *, folder: Path | None = None) -> WeightSource:
    """Opens the ImageNet weights of a network's backbone, from the cache or the net.

    Args:
        shapes: of the network's variables by name: they tell architecture and depth multiplier.
        folder: the cache; None for Keras's.

    Raises:
        InputError: there are no such weights, or they are not in the cache and cannot be downloaded; says where to put them by hand.
    """
    weights = find_imagenet(shapes)
    path = (folder or keras_cache()) / weights.file_name
    if not path.is_file():
        download(weights.url, path)
    source = open_keras_weights(path)
    return replace(source, kind=f"ImageNet weights of Keras's {weights.architecture}, depth {weights.depth_multiplier:g}")


def find_imagenet(shapes: Mapping[str, tuple[int, ...]]) -> ImagenetWeights:
    """The published weights of a network with variables of these shapes. Raises `InputError` where there are none."""
    candidates = [weights for weights in PUBLISHED if weights.probe in shapes]
    if not candidates:
        raise InputError("imagenet: there are weights for MobileNet V1 and V2 backbones only, and this network has neither")
    found = next((weights for weights in candidates if shapes[weights.probe][-1] == weights.channels), None)
    if found is None:
        there = ", ".join(f"{weights.channels} (depth {weights.depth_multiplier:g})" for weights in candidates)
        raise InputError(
            f"imagenet: there are weights of {candidates[0].architecture} with {there} channels in {candidates[0].probe}, "
            f"not with the {shapes[candidates[0].probe][-1]} of this depth_multiplier"
        )
    return found


def keras_cache() -> Path:
    """The folder in which Keras caches the weights of its applications."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def download(url: str, path: Path) -> None:
    """Downloads a file, checks it against the server's MD5, and puts it in place at once. Prints one line.

    Raises:
        InputError: it cannot be downloaded or written, or what came is not what the server has.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"Downloading {url} to {path}", flush=True)
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            part = Path(file.name)
            try:
                _copy(response, file, response.headers, url)
                file.flush()
                part.chmod(0o644)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"imagenet: cannot download {url} ({reason}); without a connection, put that file at {path} by hand") from error


def _copy(response: IO[bytes], file: IO[bytes], headers: Message, url: str) -> None:
    """Copies and checks. Raises `InputError` where length or MD5 differ from the announced ones."""
    md5 = hashlib.md5(usedforsecurity=False)
    size = 0
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        md5.update(chunk)
        size += len(chunk)
    announced = headers.get("Content-Length")
    if announced is not None and int(announced) != size:
        raise InputError(f"imagenet: the download of {url} broke off after {size} of {announced} bytes; try again")
    stored = _stored_md5(headers)
    if stored is not None and stored != md5.digest():
        raise InputError(f"imagenet: the download of {url} is damaged: MD5 {md5.hexdigest()}, the server's is {stored.hex()}; try again")


def _stored_md5(headers: Message) -> bytes | None:
    """Of headers such as `x-goog-hash: crc32c=...,md5=<base64>`."""
    hashes = ",".join(headers.get_all("x-goog-hash") or []).split(",")
    encoded = next((entry.strip().removeprefix("md5=") for entry in hashes if entry.strip().startswith("md5=")), None)
    return base64.b64decode(encoded) if encoded else None
