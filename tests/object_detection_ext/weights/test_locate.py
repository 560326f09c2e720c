"""What a path means, told without TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from object_detection_ext.errors import InputError
from object_detection_ext.weights.locate import Location, locate_weights


@pytest.fixture
def make(tmp_path):
    """Makes files, with content where there is some: `make("checkpoint", 'model_checkpoint_path: "ckpt-5"')`."""

    def write(name: str, content: str = "") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    return write


@pytest.mark.parametrize("given", ["ckpt-5", "ckpt-5.index", "ckpt-5.data-00000-of-00001"])
def test_a_checkpoint_by_its_prefix_or_one_of_its_files(make, tmp_path, given):
    for suffix in (".index", ".data-00000-of-00001"):
        make(f"ckpt-5{suffix}")
    assert locate_weights(tmp_path / given) == Location("checkpoint", str(tmp_path / "ckpt-5"))


class TestFolder:
    def test_the_newest_checkpoint_counts(self, make, tmp_path):
        make("ckpt-5.index")
        make("ckpt-9.index")
        state = make("checkpoint", 'model_checkpoint_path: "ckpt-5"\nall_model_checkpoint_paths: "ckpt-9"\n')
        assert locate_weights(tmp_path) == locate_weights(state) == Location("checkpoint", str(tmp_path / "ckpt-5"))

    def test_one_that_was_moved_since(self, make, tmp_path):
        make("model.ckpt.index")
        make("checkpoint", 'model_checkpoint_path: "/elsewhere/somebody/train/model.ckpt"\n')
        assert locate_weights(tmp_path).path == str(tmp_path / "model.ckpt")

    def test_the_named_checkpoint_is_gone(self, make, tmp_path):
        make("ckpt-9.index")
        make("checkpoint", 'model_checkpoint_path: "ckpt-5"\n')
        with pytest.raises(InputError, match=r"checkpoint names .*ckpt-5, which does not exist"):
            locate_weights(tmp_path)

    def test_an_only_checkpoint_needs_no_note(self, make, tmp_path):
        make("ckpt-0.index")
        assert locate_weights(tmp_path).path == str(tmp_path / "ckpt-0")

    def test_several_checkpoints_without_a_note(self, make, tmp_path):
        make("ckpt-1.index")
        make("ckpt-2.index")
        with pytest.raises(InputError, match=r"holds 2 checkpoints and does not say which is the newest; give one of .*ckpt-1, .*ckpt-2"):
            locate_weights(tmp_path)

    def test_an_export_of_the_api_holds_a_checkpoint_beside_the_saved_model(self, make, tmp_path):
        make("saved_model/saved_model.pb")
        make("checkpoint/ckpt-0.index")
        make("checkpoint/checkpoint", 'model_checkpoint_path: "ckpt-0"\n')
        assert locate_weights(tmp_path) == Location("checkpoint", str(tmp_path / "checkpoint" / "ckpt-0"))

    @pytest.mark.parametrize("given", ["", "saved_model", "saved_model/saved_model.pb"])
    def test_a_saved_model(self, make, tmp_path, given):
        make("saved_model/saved_model.pb")
        assert locate_weights(tmp_path / given) == Location("saved_model", str(tmp_path / "saved_model"))

    def test_an_only_file(self, make, tmp_path):
        make("frozen_inference_graph.pb")
        make("readme.txt")
        assert locate_weights(tmp_path) == Location("frozen_graph", str(tmp_path / "frozen_inference_graph.pb"))

    def test_nothing(self, make, tmp_path):
        make("train.record")
        with pytest.raises(InputError, match=r"no checkpoint in .*, it holds train\.record; expected a checkpoint's prefix such as"):
            locate_weights(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("graph.pb", "frozen_graph"),
        ("top.h5", "keras"),
        ("a.weights.h5", "keras"),
        ("a.keras", "keras"),
        ("a.pth", "torch"),
        ("a.pt", "torch"),
    ],
)
def test_files(make, name, kind):
    path = make(name)
    assert locate_weights(path) == Location(kind, str(path))


def test_imagenet_is_no_path():
    assert locate_weights("imagenet") == Location("imagenet", "imagenet")


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint at .*absent, there is no such file or folder; expected .* or imagenet$"):
        locate_weights(tmp_path / "absent")


def test_a_file_of_another_kind(make):
    with pytest.raises(InputError, match=r"photo\.jpg is of no kind that can be read; expected a checkpoint's prefix"):
        locate_weights(make("photo.jpg"))


def test_no_tensorflow_is_loaded():
    code = "import sys, object_detection_ext.weights.locate; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0
