"""The three kinds of models behind one call: an image in, raw detections out. A `.tflite` runs without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from export.flavours import OUTPUTS
from export.outside_suppression import OutsideSuppression, flavour_by_names, load_outside_suppression
from export.quiet import native_output_hidden
from object_detection_ext.errors import InputError
from pipelines.model_input import find_input

if TYPE_CHECKING:
    from object_detection_ext.models.detector import SsdDetector

_POSTPROCESS = b"TFLite_Detection_PostProcess"
_OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


class RawDetections(NamedTuple):
    """What a model says about one image, in its own order."""

    boxes: np.ndarray  # [M, 4] float32, normalised to the image, perhaps beyond it
    class_ids: np.ndarray  # [M] int, label ids (from 1)
    scores: np.ndarray  # [M] float32


Runner = Callable[[np.ndarray], RawDetections]  # of an image [H, W, 3] uint8


class TfliteRunner:
    """A `.tflite` that ends in `TFLite_Detection_PostProcess`, or whose outputs carry its names; or one without suppression, which is
    then done here (see `outside_suppression`; that takes TensorFlow).

    The image is fitted and normalised as in training, see `model_input`; for a uint8 or int8 input it is then quantised by the input's own
    scale and zero point. `config` is the model's pipeline.config, for files without metadata.

    Raises:
        InputError: it is not a detector, or cannot be run; says what was found.
    """

    def __init__(self, path: Path, config: Path | None = None) -> None:
        content = path.read_bytes()
        self._interpreter = _interpreter(content, path)
        self._input = self._checked_input(path)
        self._model_input = find_input(content, path, config)
        self._check_fitting(path)
        self._suppression: OutsideSuppression | None = None
        self._outputs = _postprocess_outputs(content) or self._outputs_without_suppression(path) or self._outputs_by_name(path)

    def __call__(self, image: np.ndarray) -> RawDetections:
        _, height, width, _ = self._input["shape"]
        fitted = self._model_input.fit(image, (int(height), int(width)))
        self._interpreter.set_tensor(self._input["index"], self._model_input.values(fitted.pixels, self._input)[np.newaxis])
        self._interpreter.invoke()
        outputs = [self._interpreter.get_tensor(index) for index in self._outputs]
        if self._suppression is not None:
            boxes, classes, scores = self._suppression(*outputs)
            return RawDetections(boxes / fitted.share, classes.astype(np.int64) + 1, scores)
        boxes, classes, scores, count = outputs
        num_detections = round(float(count.reshape(-1)[0]))
        class_ids = classes.reshape(-1)[:num_detections].astype(np.int64) + 1
        return RawDetections(boxes.reshape(-1, 4)[:num_detections] / fitted.share, class_ids, scores.reshape(-1)[:num_detections])

    def _checked_input(self, path: Path) -> dict[str, Any]:
        inputs = self._interpreter.get_input_details()
        found = ", ".join(_describe(tensor) for tensor in inputs)
        if len(inputs) != 1 or len(inputs[0]["shape"]) != 4 or inputs[0]["shape"][0] != 1 or inputs[0]["shape"][-1] != 3:
            raise InputError(f"{path} is not a detector for photos: its input must be one image [1, height, width, 3], found {found}")
        if inputs[0]["dtype"] not in (np.float32, np.uint8, np.int8):
            raise InputError(f"{path}: the input must be float32, uint8 or int8, found {found}")
        return inputs[0]

    def _check_fitting(self, path: Path) -> None:
        fitting, (height, width) = self._model_input.fitting, self._input["shape"][1:3]
        if fitting is not None and not fitting.max_dimension == height == width:
            raise InputError(
                f"{path}: images are to be padded to {fitting.max_dimension}x{fitting.max_dimension} (its metadata or pipeline.config), "
                f"but its input is {_describe(self._input)}"
            )

    def _outputs_without_suppression(self, path: Path) -> list[int] | None:
        """Boxes and scores of the flavours `raw` and `decoded`."""
        outputs = {str(tensor["name"]): tensor for tensor in self._interpreter.get_output_details()}
        flavour = flavour_by_names(list(outputs))
        if flavour is None:
            return None
        boxes, scores = (outputs[name] for name in OUTPUTS[flavour])
        if len(boxes["shape"]) != 3 or len(scores["shape"]) != 3 or boxes["shape"][1] != scores["shape"][1]:
            raise InputError(f"{path}: outputs {_describe(boxes)} and {_describe(scores)} are no boxes [1, A, 4] and scores [1, A, K]")
        self._suppression = load_outside_suppression(path, flavour, num_anchors=int(boxes["shape"][1]))
        return [int(boxes["index"]), int(scores["index"])]

    def _outputs_by_name(self, path: Path) -> list[int]:
        outputs = self._interpreter.get_output_details()
        indices = {str(tensor["name"]).partition(":")[0]: int(tensor["index"]) for tensor in outputs}
        if not all(name in indices for name in _OUTPUTS):
            found = ", ".join(_describe(tensor) for tensor in outputs)
            raise InputError(
                f"{path} is not a detector: it has no {_POSTPROCESS.decode()} and its outputs are {found} (expected {', '.join(_OUTPUTS)})"
            )
        return [indices[name] for name in _OUTPUTS]


def saved_model_runner(folder: Path) -> Runner:
    """A SavedModel with the API's signature: `input_tensor` [1, H, W, 3] uint8 to `detection_*`, class ids from 1.

    Raises:
        InputError: it cannot be loaded or has other inputs or outputs; says what was found.
    """
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f"{folder}: TensorFlow cannot load this SavedModel: {str(error).splitlines()[0]}") from error
    signature = model.signatures.get("serving_default")
    if signature is None:
        raise InputError(f"{folder} is not a detector: no signature serving_default, found {', '.join(model.signatures) or 'none'}")
    missing = [name for name in _OUTPUTS if name not in signature.structured_outputs]
    if missing:
        raise InputError(f"{folder} is not a detector: no output {', '.join(missing)}; found {', '.join(signature.structured_outputs)}")
    inputs = list(signature.structured_input_signature[1].items())
    if len(inputs) != 1 or inputs[0][1].dtype not in (tf.uint8, tf.float32):
        found = ", ".join(f"{name} {spec.dtype.name}" for name, spec in inputs)
        raise InputError(f"{folder}: the input must be one uint8 or float32 image, found {found} (export with --input_type image_tensor)")
    name, spec = inputs[0]

    def run(image: np.ndarray) -> RawDetections:
        # Through `model`, which must stay alive: its signature alone does not keep its variables.
        outputs = model.signatures["serving_default"](**{name: tf.constant(image[np.newaxis], spec.dtype)})
        boxes, classes, scores, count = (outputs[output][0].numpy() for output in _OUTPUTS)
        num_detections = round(float(count))
        return RawDetections(boxes[:num_detections], classes[:num_detections].astype(np.int64), scores[:num_detections])

    return run


def checkpoint_runner(detector: SsdDetector) -> Runner:
    """A detector built from a config, with the weights of a checkpoint."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)], autograph=False)
    def detect(images: tf.Tensor) -> tuple[Any, tf.Tensor]:
        inputs, true_shapes = detector.preprocess(images)
        detections = detector.postprocess(detector.predict(inputs, training=False), true_shapes)
        content = tf.cast(true_shapes, tf.float32) / tf.cast(tf.shape(inputs)[1:3], tf.float32)  # [1, 2], of the padded input
        return detections, tf.tile(content, [1, 2])

    def run(image: np.ndarray) -> RawDetections:
        detections, content = detect(tf.constant(image[np.newaxis]))
        count = int(detections.num_detections[0])
        boxes = detections.boxes[0, :count].numpy() / content[0].numpy()
        return RawDetections(boxes, detections.classes[0, :count].numpy().astype(np.int64) + 1, detections.scores[0, :count].numpy())

    return run


def _interpreter(content: bytes, path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    refusal = None
    with native_output_hidden():  # it announces its delegate on stderr
        try:
            # One thread: with T > 1 threads the regular non-maximum suppression of the runtime skips class T
            # (detection_postprocess.cc starts `next_col` at T and increments before use; tensorflow/tensorflow issue 56058).
            interpreter = Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
            return interpreter
        except (ValueError, RuntimeError) as error:
            refusal = error
    raise InputError(f"{path}: the TFLite runtime refuses this file: {str(refusal).splitlines()[0]}") from refusal


def _postprocess_outputs(content: bytes) -> list[int] | None:
    """Tensor indices of boxes, classes, scores and count: the order of the operation's own outputs, whatever a converter made of names."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        if model.OperatorCodes(operator.OpcodeIndex()).CustomCode() == _POSTPROCESS:
            return [int(index) for index in operator.OutputsAsNumpy()]
    return None


def _describe(tensor: dict[str, Any]) -> str:
    return f"{tensor['name']} {list(map(int, tensor['shape']))} {np.dtype(tensor['dtype']).name}"
