"""The weights of Keras applications: which, from where, checked how. The server is a local one."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest

from object_detection_ext.errors import InputError
from object_detection_ext.weights.imagenet import PUBLISHED, download, find_imagenet, keras_cache, open_imagenet

CONTENT = b"weights" * 1000
MD5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/absent":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) + (self.path == "/short")))
        if self.path != "/no_hash":
            self.send_header("x-goog-hash", "crc32c=AAAAAA==")
            self.send_header("x-goog-hash", f"md5={MD5 if self.path != '/damaged' else 'A' * 22 + '=='}")
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


class TestDownload:
    @pytest.mark.parametrize("name", ["good", "no_hash"])
    def test_kept(self, server: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        path = tmp_path / "models" / "weights.h5"
        download(f"{server}/{name}", path)
        assert path.read_bytes() == CONTENT
        assert [entry.name for entry in path.parent.iterdir()] == ["weights.h5"]
        assert capsys.readouterr().out == f"Downloading {server}/{name} to {path}\n"

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("damaged", "is damaged: MD5"),
            ("short", "broke off after 7000 of 7001 bytes"),
            ("absent", r"cannot download .*\(.*Not Found.*\)"),
        ],
    )
    def test_not_kept(self, server: str, name: str, message: str, tmp_path: Path):
        with pytest.raises(InputError, match=message):
            download(f"{server}/{name}", tmp_path / "weights.h5")
        assert list(tmp_path.iterdir()) == []

    def test_offline(self, tmp_path: Path):
        path = tmp_path / "weights.h5"
        with pytest.raises(InputError) as raised:
            download("http://127.0.0.1:9/weights.h5", path)  # nobody listens at the discard port
        message = str(raised.value)
        assert message.startswith("imagenet: cannot download http://127.0.0.1:9/weights.h5 (")
        assert message.endswith(f"without a connection, put that file at {path} by hand") and "\n" not in message


class TestFind:
    @pytest.mark.parametrize(
        ("variable", "channels", "path"),
        [
            ("conv_pw_11/kernel", 128, "mobilenet/mobilenet_2_5_224_tf_no_top.h5"),
            ("conv_pw_11/kernel", 384, "mobilenet/mobilenet_7_5_224_tf_no_top.h5"),
            ("block_16_project/kernel", 112, "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"),
            ("block_16_project/kernel", 320, "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
            ("block_16_project/kernel", 448, "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224_no_top.h5"),
        ],
    )
    def test_published(self, variable: str, channels: int, path: str):
        assert find_imagenet({variable: (1, 1, 64, channels)}).url == ADDRESS + path

    def test_every_network_has_its_channels(self):
        assert len({(weights.probe, weights.channels) for weights in PUBLISHED}) == len(PUBLISHED) == 10

    @pytest.mark.parametrize(
        ("shapes", "message"),
        [
            (
                {"block_16_project/kernel": (1, 1, 64, 200)},
                r"with 112 \(depth 0\.35\), .*, 448 \(depth 1\.4\) channels in block_16_project/kernel, not with the 200 of",
            ),
            ({"conv1_conv/kernel": (7, 7, 3, 64)}, "for MobileNet V1 and V2 backbones only"),
        ],
        ids=["multiplier", "architecture"],
    )
    def test_none(self, shapes: dict[str, tuple[int, ...]], message: str):
        with pytest.raises(InputError, match=message):
            find_imagenet(shapes)


class TestCache:
    def test_where(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        assert keras_cache() == tmp_path / "models"
        monkeypatch.delenv("KERAS_HOME")
        monkeypatch.setenv("HOME", "/elsewhere/someone")
        assert keras_cache() == Path("/elsewhere/someone/.keras/models")

    def test_a_file_in_the_cache_is_read(self, tmp_path: Path):
        with h5py.File(tmp_path / "mobilenet_2_5_224_tf_no_top.h5", "w") as file:
            file.attrs["layer_names"] = [b"conv1"]
            file.create_group("conv1").attrs["weight_names"] = [b"conv1/kernel:0"]
            file["conv1/conv1/kernel:0"] = np.ones((3, 3, 3, 8), np.float32)
        source = open_imagenet({"conv_pw_11/kernel": (1, 1, 128, 128)}, folder=tmp_path)
        assert source.shapes == {"conv1/kernel": (3, 3, 3, 8)}
        assert (source.kind, source.scheme) == ("ImageNet weights of Keras's MobileNet V1, depth 0.25", "keras")
