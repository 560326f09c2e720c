"""The container of all of TensorFlow's checkpoints: `<prefix>.index` and `<prefix>.data-00000-of-00001`, tensors by key."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_ext.errors import InputError

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # the key that tells TF 2's checkpoints from those of TF 1
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"  # end of the key of a variable in TF 2's

_STEPS = (f"step{VALUE}", f"global_step{VALUE}", "global_step")


@dataclass(frozen=True)
class CheckpointFile:
    """An open checkpoint.

    Attributes:
        shapes: key -> shape, of everything stored.
    """

    prefix: str
    shapes: Mapping[str, tuple[int, ...]]
    reader: Any  # tf.train.CheckpointReader

    @property
    def is_object_based(self) -> bool:
        return OBJECT_GRAPH in self.shapes

    @property
    def step(self) -> int | None:
        """The training step; None where none is stored."""
        key = next((key for key in _STEPS if key in self.shapes), None)
        return None if key is None else int(self.read(key))

    def read(self, key: str) -> np.ndarray:
        """The value of a key.

        Raises:
            KeyError: There is no such key.
            InputError: The file is damaged.
        """
        if key not in self.shapes:
            raise KeyError(key)
        with _damage_named(self.prefix):
            return self.reader.get_tensor(key)


def open_checkpoint_file(prefix: str) -> CheckpointFile:
    """Opens the checkpoint of a prefix, `model_dir/ckpt-1200`, or the single file of TF 1's first format.

    Raises:
        InputError: A file of it is missing or damaged.
    """
    is_single_file = Path(prefix).is_file()
    if not is_single_file and not Path(f"{prefix}.index").is_file():
        raise InputError(f"cannot read checkpoint {prefix}: there is no {prefix}.index")
    if not is_single_file and not glob.glob(f"{glob.escape(prefix)}.data-*"):
        raise InputError(f"cannot read checkpoint {prefix}: there is no {prefix}.data-00000-of-00001 beside its .index")
    import tensorflow as tf  # takes seconds; a missing file must not wait for it

    with _damage_named(prefix):
        reader = tf.train.load_checkpoint(prefix)
        return CheckpointFile(prefix, {key: tuple(shape) for key, shape in reader.get_variable_to_shape_map().items()}, reader)


@contextmanager
def _damage_named(prefix: str) -> Iterator[None]:
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"cannot read checkpoint {prefix}, it is damaged or cut off: {reason}") from error
