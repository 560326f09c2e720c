"""`model.ssd.box_coder` -> a box coder."""

from __future__ import annotations

from object_detection_ext.builders.fields import chosen, errors_at
from object_detection_ext.protos import box_coder_pb2
from object_detection_ext.targets.box_coder import BoxCoder, FasterRcnnBoxCoder, MeanStddevBoxCoder, SquareBoxCoder

FIELD = "model.ssd.box_coder"


def build_box_coder(config: box_coder_pb2.BoxCoder) -> BoxCoder:
    """The box coder that `config` describes; raises `InputError` with the field's path where a value is impossible."""
    kind = chosen(config, FIELD, allowed=tuple(_BOX_CODERS))
    with errors_at(f"{FIELD}.{kind}"):
        return _BOX_CODERS[kind](getattr(config, kind))


def _faster_rcnn(m: box_coder_pb2.FasterRcnnBoxCoder) -> BoxCoder:
    return FasterRcnnBoxCoder(y_scale=m.y_scale, x_scale=m.x_scale, height_scale=m.height_scale, width_scale=m.width_scale)


def _square(m: box_coder_pb2.SquareBoxCoder) -> BoxCoder:
    return SquareBoxCoder(y_scale=m.y_scale, x_scale=m.x_scale, length_scale=m.length_scale)


_BOX_CODERS = {
    "faster_rcnn_box_coder": _faster_rcnn,
    "mean_stddev_box_coder": lambda m: MeanStddevBoxCoder(stddev=m.stddev),
    "square_box_coder": _square,
}
