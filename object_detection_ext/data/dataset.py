"""tf.data pipelines whose order and augmentation are a pure function of (seed, step).

Training: step s of batch size B uses the positions p = s B ... s B + B - 1. Position p belongs to epoch p // n, whose permutation of the n
records is a stateless function of (seed, epoch), and its augmentation draws from (seed, p). Records are read by byte offset, so resuming at
any step costs nothing and yields bit-identical batches, and memory holds only the few batches in flight.

A record that cannot be decoded is replaced by one drawn statelessly from (seed, step); the `RecordMonitor` names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from object_detection_ext.augment.pipeline import Augmentation
from object_detection_ext.data.decode import ExampleDecoder
from object_detection_ext.data.record_index import RecordIndex
from object_detection_ext.data.record_monitor import RecordMonitor
from object_detection_ext.data.resize import ImageResizer, boxes_to_padded, image_shape
from object_detection_ext.types import Batch, Example, GroundTruth

_SHUFFLE_ROUNDS = 4  # of the block cipher that permutes; the wrapper's
_MIN_SPARES = 16  # records tried in place of broken ones before a batch counts as impossible

Normalize = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class TrainOrder:
    """Which records a step uses, and which seed each of them is augmented with.

    A step draws `batch_size` records of its own and, in case some of them cannot be decoded, `num_spares` more at random. Own draws are
    numbered by their position, from 0 over all steps; the k-th spare of a step has the number -1 - (step * num_spares + k).
    """

    num_records: int
    batch_size: int
    seed: int
    shuffle: bool = True  # False: the order of the index

    @property
    def num_spares(self) -> int:
        return max(self.batch_size, _MIN_SPARES)

    def draws(self, step: tf.Tensor) -> tf.Tensor:
        """Numbers of a step's draws, own ones first: [batch_size + num_spares] int64."""
        own = step * self.batch_size + tf.range(self.batch_size, dtype=tf.int64)
        spare = -1 - (step * self.num_spares + tf.range(self.num_spares, dtype=tf.int64))
        return tf.concat([own, spare], axis=0)

    def records(self, step: tf.Tensor) -> tf.Tensor:
        """Records of a step's draws: [batch_size + num_spares] int64."""
        positions = self.draws(step)[: self.batch_size]
        # The seeds of the augmentation begin with a number that is not negative: no draw is used twice.
        spare_seed = tf.stack([tf.constant(-1 - self.seed, tf.int64), step])
        spare = tf.random.stateless_uniform([self.num_spares], spare_seed, 0, self.num_records, tf.int64)
        return tf.concat([self._permuted(positions), spare], axis=0)

    def augmentation_seed(self, draw: tf.Tensor) -> tf.Tensor:
        """Seed of one draw: [2] int64."""
        return tf.stack([tf.constant(self.seed, tf.int64), draw])

    def _permuted(self, positions: tf.Tensor) -> tf.Tensor:
        places, epochs = positions % self.num_records, positions // self.num_records
        if not self.shuffle:
            return places
        keys = tf.stack([tf.zeros_like(epochs), tf.fill(tf.shape(epochs), tf.constant(self.seed, tf.int64)), epochs], axis=1)  # [B, 3]
        last = tf.constant(self.num_records - 1, tf.int64)
        # What `tf.random.experimental.index_shuffle` wraps; the wrapper refuses one key for each position (TensorFlow 2.20).
        return tf.raw_ops.RandomIndexShuffle(index=places, seed=keys, max_index=last, rounds=_SHUFFLE_ROUNDS)


@tf.autograph.experimental.do_not_convert  # nothing here branches on a tensor in Python; converting it would take seconds
def train_dataset(
    index: RecordIndex,
    *,
    monitor: RecordMonitor,
    decode: ExampleDecoder,
    augmentation: Augmentation,
    resizer: ImageResizer,
    normalize: Normalize,
    batch_size: int,
    max_boxes: int,
    seed: int,
    shuffle: bool = True,
    start_step: int = 0,
    num_parallel_batches: int = 2,
) -> tf.data.Dataset:
    """Endless batches (`Batch`, boxes padded to the most in the batch) from `start_step` on.

    Args:
        index: the records.
        monitor: told about records that are left out; ask `monitor.check()` when iterating fails.
        decode: serialised record -> Example.
        augmentation: (Example, seed) -> Example.
        resizer: image -> network size; its `output_shape` may be None only for batches of one.
        normalize: [H, W, C] float32 in [0, 255] -> network input.
        batch_size: images a step.
        max_boxes: boxes an image keeps at most.
        seed: 0 to 2**31 - 1.
        shuffle: False for the order of the index in every epoch.
        start_step: the first step to yield.
        num_parallel_batches: batches made at the same time, each by one thread.
    """
    if resizer.output_shape is None and batch_size > 1:
        raise ValueError("the image resizer gives every image its own size, which allows a batch size of 1 only")
    order = TrainOrder(num_records=len(index), batch_size=batch_size, seed=seed, shuffle=shuffle)
    read = _reader(index)

    def load(number: tf.Tensor, draw: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, Example]:
        return number, draw, decode(read(record))

    def prepare(number: tf.Tensor, draw: tf.Tensor, example: Example) -> tuple[tf.Tensor, Batch]:
        example = augmentation(example, order.augmentation_seed(draw))
        return number, to_network_input(example, resizer=resizer, normalize=normalize, max_boxes=max_boxes)

    def make_batch(step: tf.Tensor) -> tf.data.Dataset:
        draws = order.draws(step)
        numbers = tf.range(tf.size(draws))
        failed = tf.data.Dataset.from_tensors((tf.constant(-1), tf.constant(0, tf.int64), _empty_example())).repeat(batch_size)
        loaded = tf.data.Dataset.from_tensor_slices((numbers, draws, order.records(step))).map(load).ignore_errors()
        batches = loaded.concatenate(failed).take(batch_size).map(prepare).padded_batch(batch_size, drop_remainder=True)
        return batches.map(lambda numbers, batch: _report_replaced(monitor, order, step, numbers, batch))

    steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    batches = steps.interleave(make_batch, cycle_length=num_parallel_batches, num_parallel_calls=num_parallel_batches, deterministic=True)
    return batches.prefetch(2).with_options(_options(num_parallel_batches))


@tf.autograph.experimental.do_not_convert
def eval_dataset(
    index: RecordIndex,
    *,
    monitor: RecordMonitor,
    decode: ExampleDecoder,
    resizer: ImageResizer,
    normalize: Normalize,
    batch_size: int,
    num_parallel_calls: int = 2,
) -> tf.data.Dataset:
    """Every record once, in order, with all of its ground truth; the last batch may be smaller.

    Records that cannot be decoded are left out and told to the monitor. Arguments as in `train_dataset`; `num_parallel_calls` images are
    made at the same time.
    """
    if resizer.output_shape is None and batch_size > 1:
        raise ValueError("the image resizer gives every image its own size, which allows a batch size of 1 only")
    read = _reader(index)
    count = len(index)

    def report_gap(expected: tf.Tensor, element: tuple[tf.Tensor, Example]) -> tuple[tf.Tensor, tuple[tf.Tensor, Example]]:
        record = element[0]

        def report() -> tf.Tensor:
            return tf.numpy_function(_reporting(monitor), [tf.range(expected, record)], tf.int64)

        noted = tf.cond(record > expected, report, lambda: tf.constant(0, tf.int64))
        return record + 1 + noted, element

    def prepare(_: tf.Tensor, example: Example) -> Batch:
        return to_network_input(example, resizer=resizer, normalize=normalize, max_boxes=None)

    records = tf.data.Dataset.range(count)
    loaded = records.map(lambda record: (record, decode(read(record))), num_parallel_calls=num_parallel_calls).ignore_errors()
    end = tf.data.Dataset.from_tensors((tf.constant(count, tf.int64), _empty_example()))
    checked = loaded.concatenate(end).scan(tf.constant(0, tf.int64), report_gap).filter(lambda record, _: record < count)
    prepared = checked.map(prepare, num_parallel_calls=num_parallel_calls)
    return prepared.padded_batch(batch_size).prefetch(1).with_options(_options(num_parallel_calls))


def to_network_input(example: Example, *, resizer: ImageResizer, normalize: Normalize, max_boxes: int | None) -> Batch:
    """Resizes and normalises one example; the result is a `Batch` without the batch dimension, with at least one (padded) box."""
    if resizer.pads:  # padding is 0 in the network's input, as in the API, so it must come last
        image, true_shape = resizer(normalize(tf.cast(example.image, tf.float32)))
    else:  # the same up to rounding, and cheaper: most images become smaller
        image, true_shape = resizer(example.image)
        image = normalize(image)
    if resizer.output_shape is not None:
        image = tf.ensure_shape(image, [*resizer.output_shape, resizer.num_channels])
    kept = tf.shape(example.boxes)[0] if max_boxes is None else tf.minimum(tf.shape(example.boxes)[0], max_boxes)
    missing = tf.maximum(1 - kept, 0)  # with none at all, reductions over the boxes of a batch would have no value

    def fit(values: tf.Tensor) -> tf.Tensor:
        return tf.pad(values[:kept], [[0, missing]] + [[0, 0]] * (values.shape.rank - 1))

    ground_truth = GroundTruth(
        boxes=fit(boxes_to_padded(example.boxes, true_shape, image_shape(image))),
        classes=fit(example.classes),
        weights=fit(example.weights),
        is_crowd=fit(example.is_crowd),
        difficult=fit(example.difficult),
        area=fit(example.area),
        num_boxes=kept,
    )
    return Batch(image, true_shape, ground_truth, example.original_shape, example.source_id)


def _reader(index: RecordIndex) -> Callable[[tf.Tensor], tf.Tensor]:
    """Record number [] int64 -> its data [] string, without Python; fails for a record whose checksum is wrong."""
    paths, files = tf.constant(index.paths), tf.constant(index.file_ids)
    offsets, lengths = tf.constant(index.offsets), tf.constant(index.lengths)

    def read(record: tf.Tensor) -> tf.Tensor:
        frame = tf.gather(lengths, record) + 16  # header and checksums, so that one read fetches all
        opened = tf.raw_ops.TFRecordDatasetV2(
            filenames=tf.gather(paths, tf.gather(files, record))[tf.newaxis],
            compression_type="",
            buffer_size=frame,
            byte_offsets=tf.gather(offsets, record)[tf.newaxis],
        )
        kind = {"output_types": [tf.string], "output_shapes": [tf.TensorShape([])]}
        first = tf.raw_ops.TakeDataset(input_dataset=opened, count=tf.constant(1, tf.int64), **kind)
        return tf.raw_ops.DatasetToSingleElement(dataset=first, **kind)[0]

    return read


def _report_replaced(monitor: RecordMonitor, order: TrainOrder, step: tf.Tensor, numbers: tf.Tensor, batch: Batch) -> Batch:
    """Tells the monitor which draws of a step failed; `numbers` [B] are those that did not, -1 where no draw was left."""

    def report(step: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        last = numbers.max() if numbers.min() >= 0 else order.batch_size + order.num_spares
        failed = sorted(set(range(last)) - set(numbers.tolist()))
        monitor.report(order.records(tf.constant(step)).numpy()[failed])
        if numbers.min() < 0:
            monitor.fail(f"step {step}: none of {last} records drawn can be read, the last: {list(monitor.broken.values())[-1]}")
        return np.zeros([], np.int64)

    complete = tf.reduce_all((numbers >= 0) & (numbers < order.batch_size))
    noted = tf.cond(complete, lambda: tf.constant(0, tf.int64), lambda: tf.numpy_function(report, [step, numbers], tf.int64))
    with tf.control_dependencies([noted]):
        return batch._replace(true_shapes=tf.identity(batch.true_shapes))


def _reporting(monitor: RecordMonitor) -> Callable[[np.ndarray], np.ndarray]:
    def report(records: np.ndarray) -> np.ndarray:
        monitor.report(records)
        return np.zeros([], np.int64)

    return report


def _empty_example() -> Example:
    """Takes the place of a missing example where the structure of a data set needs one: black, without objects."""
    return Example(
        image=tf.zeros([1, 1, 3], tf.uint8),
        boxes=tf.zeros([0, 4]),
        classes=tf.zeros([0], tf.int32),
        weights=tf.zeros([0]),
        is_crowd=tf.zeros([0], tf.bool),
        difficult=tf.zeros([0], tf.bool),
        area=tf.zeros([0]),
        original_shape=tf.ones([2], tf.int32),
        source_id=tf.constant(""),
    )


def _options(num_threads: int) -> tf.data.Options:
    """A small pool of its own, so that the pipeline takes only what is left of the training step's cores."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_optimization.map_parallelization = False
    options.threading.max_intra_op_parallelism = 1
    options.threading.private_threadpool_size = num_threads
    return options
