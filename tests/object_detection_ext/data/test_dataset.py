"""Batches as a pure function of (seed, step), whole epochs, and what happens to records that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from object_detection_ext.augment.crop import SsdRandomCrop
from object_detection_ext.augment.geometric import RandomHorizontalFlip
from object_detection_ext.augment.pipeline import Augmentation
from object_detection_ext.data.dataset import TrainOrder, eval_dataset, train_dataset
from object_detection_ext.data.decode import ExampleDecoder
from object_detection_ext.data.label_map import LabelMap
from object_detection_ext.data.record_index import RecordIndex, index_records
from object_detection_ext.data.record_monitor import RecordMonitor, check_records
from object_detection_ext.data.resize import FixedShapeResizer, KeepAspectRatioResizer
from object_detection_ext.errors import InputError
from object_detection_ext.types import Batch
from tests.object_detection_ext.data.records import NAMES, example, jpeg, numbered, write

DECODE = ExampleDecoder(num_classes=3, label_map=LabelMap.from_names(NAMES))
AUGMENTATION = Augmentation((RandomHorizontalFlip(), SsdRandomCrop()))


def _train(index: RecordIndex, *, monitor: RecordMonitor | None = None, **settings: Any) -> tf.data.Dataset:
    defaults: dict[str, Any] = {
        "augmentation": Augmentation(),
        "resizer": FixedShapeResizer(16, 20),
        "normalize": lambda image: image / 127.5 - 1.0,
        "batch_size": 4,
        "max_boxes": 10,
        "seed": 5,
    }
    return train_dataset(index, monitor=monitor or RecordMonitor(index, DECODE), decode=DECODE, **(defaults | settings))


def _eval(index: RecordIndex, *, monitor: RecordMonitor | None = None, **settings: Any) -> list[Batch]:
    defaults: dict[str, Any] = {"resizer": FixedShapeResizer(16, 20), "normalize": lambda image: image, "batch_size": 4}
    return list(eval_dataset(index, monitor=monitor or RecordMonitor(index, DECODE), decode=DECODE, **(defaults | settings)))


def _ids(batches: Sequence[Batch]) -> list[int]:
    return [int(source_id) for batch in batches for source_id in batch.source_ids.numpy()]


@pytest.fixture
def index(tmp_path: Path) -> RecordIndex:
    records = numbered(10)
    return index_records([write(tmp_path / "a.record", records[:7]), write(tmp_path / "b.record", records[7:])])


def test_train_batch(index: RecordIndex) -> None:
    batch = next(iter(_train(index, shuffle=False)))
    assert batch.images.shape == (4, 16, 20, 3) and batch.images.dtype == tf.float32
    # Record 0 is (0, 128, 255); JPEG may be off by a few.
    np.testing.assert_allclose(batch.images[0, 0, 0] * 127.5 + 127.5, [0, 128, 255], atol=4)
    np.testing.assert_array_equal(batch.true_shapes, [[16, 20]] * 4)
    np.testing.assert_array_equal(batch.original_shapes, [[24, 32], [25, 32], [26, 32], [24, 32]])
    assert batch.source_ids.numpy().tolist() == [b"0", b"1", b"2", b"3"]
    np.testing.assert_array_equal(batch.ground_truth.boxes, [[[0.25, 0.25, 0.75, 0.75]]] * 4)
    np.testing.assert_array_equal(batch.ground_truth.classes, [[0], [1], [2], [0]])
    np.testing.assert_array_equal(batch.ground_truth.num_boxes, [1] * 4)


def test_every_epoch_is_another_permutation_of_all_records(index: RecordIndex) -> None:
    ids = np.array(_ids(list(_train(index, batch_size=5).take(8)))).reshape(4, 10)
    np.testing.assert_array_equal(np.sort(ids, axis=1), [range(10)] * 4)
    assert len({tuple(epoch) for epoch in ids.tolist()}) == 4


def test_batches_cross_the_end_of_an_epoch(index: RecordIndex) -> None:
    assert _ids(list(_train(index, shuffle=False).take(4))) == [*range(10), *range(6)]


@pytest.mark.parametrize("num_records", [1, 2, 3])
def test_permutations_of_few_records_are_fair(num_records: int) -> None:
    """Each record is first about equally often: 600 epochs, 4.5 standard deviations of a binomial."""
    order = TrainOrder(num_records=num_records, batch_size=1, seed=1)
    firsts = [int(order.records(tf.constant(epoch * num_records, tf.int64))[0]) for epoch in range(600)]
    counts = np.bincount(firsts, minlength=num_records)
    chance = 1 / num_records
    assert np.abs(counts - 600 * chance).max() <= 4.5 * np.sqrt(600 * chance * (1 - chance))


def test_resuming_gives_the_same_batches(index: RecordIndex) -> None:
    """Bit by bit, whatever the parallelism, with augmentation and a record that is replaced."""
    whole = list(_train(index, augmentation=AUGMENTATION).take(9))
    resumed = list(_train(index, augmentation=AUGMENTATION, start_step=5, num_parallel_batches=3).take(4))
    for first, second in zip(whole[5:], resumed, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, first, second)


def test_seeds_differ(index: RecordIndex) -> None:
    first, second = (next(iter(_train(index, batch_size=10, seed=seed))) for seed in (1, 2))
    assert _ids([first]) != _ids([second])


def test_a_record_is_augmented_anew_each_time(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, [24, 32, 3], np.uint8)
    index = index_records([write(tmp_path / "a.record", [example(tf.io.encode_png(noise).numpy())])])
    batch = next(iter(_train(index, augmentation=AUGMENTATION, batch_size=8)))
    assert len({image.tobytes() for image in batch.images.numpy()}) >= 6


def test_boxes_are_limited_and_padded(tmp_path: Path) -> None:
    boxes = [[0.0, 0.0, 0.1 * n, 0.5] for n in range(1, 6)]
    records = [example(jpeg(), boxes, [1] * 5), example(jpeg(), boxes[:2], [2] * 2), example(jpeg())]
    index = index_records([write(tmp_path / "a.record", records)])
    truth = next(iter(_train(index, shuffle=False, batch_size=3, max_boxes=3))).ground_truth
    np.testing.assert_array_equal(truth.num_boxes, [3, 2, 0])
    np.testing.assert_array_equal(truth.weights, [[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(truth.boxes[1], [boxes[0], boxes[1], [0] * 4], rtol=1e-6)
    assert _eval(index)[0].ground_truth.num_boxes.numpy().tolist() == [5, 2, 0]  # evaluation leaves the ground truth alone


def test_a_batch_without_any_box_still_has_one_padded(tmp_path: Path) -> None:
    index = index_records([write(tmp_path / "a.record", [example(jpeg())])])
    for batch in (next(iter(_train(index, batch_size=2))), _eval(index)[0]):
        assert batch.ground_truth.boxes.shape[1:] == (1, 4)
        assert not batch.ground_truth.num_boxes.numpy().any() and not batch.ground_truth.weights.numpy().any()


def test_boxes_are_in_the_frame_of_the_padded_input(tmp_path: Path) -> None:
    index = index_records([write(tmp_path / "a.record", [example(jpeg(size=(20, 40)), [[0.0, 0.5, 1.0, 1.0]], [1])])])
    batch = next(iter(_train(index, batch_size=2, resizer=KeepAspectRatioResizer(10, 20, pad_to_max_dimension=True))))
    assert batch.images.shape == (2, 20, 20, 3)
    np.testing.assert_array_equal(batch.true_shapes, [[10, 20]] * 2)
    np.testing.assert_allclose(batch.ground_truth.boxes[0], [[0.0, 0.5, 0.5, 1.0]])


def test_images_of_many_sizes_need_batches_of_one(index: RecordIndex) -> None:
    resizer = KeepAspectRatioResizer(10, 20)
    assert next(iter(_train(index, batch_size=1, resizer=resizer))).images.shape[0] == 1
    with pytest.raises(ValueError, match="batch size of 1 only"):
        _train(index, batch_size=2, resizer=resizer)


def test_eval_sees_every_record_once_in_order(index: RecordIndex) -> None:
    batches = _eval(index)
    assert _ids(batches) == list(range(10))
    assert [len(batch.images) for batch in batches] == [4, 4, 2]
    assert _ids(_eval(index.every(3))) == [0, 3, 6, 9]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_broken_images_are_replaced_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, batch_size: int) -> None:
    path = write(tmp_path / "a.record", numbered(10, broken=[3, 8]))
    index = index_records([path])
    monitor = RecordMonitor(index, DECODE)
    with caplog.at_level(logging.WARNING):
        batches = list(_train(index, monitor=monitor, batch_size=batch_size, num_parallel_batches=1).take(24 // batch_size))
    assert [len(batch.images) for batch in batches] == [batch_size] * (24 // batch_size)
    assert not {3, 8} & set(_ids(batches))
    assert sorted(monitor.broken) == [3, 8]
    named = [record.getMessage() for record in caplog.records]
    assert len(named) == 2  # once each, however often they are met
    assert any(f"left out record 3 (from 0) of {path} (source id '3'): the image cannot be decoded" in line for line in named)
    monitor.check()
    tf.nest.map_structure(  # the replacement, too, follows from (seed, step)
        np.testing.assert_array_equal, batches[-1], next(iter(_train(index, batch_size=batch_size, start_step=len(batches) - 1)))
    )


def test_broken_images_are_left_out_of_evaluation(tmp_path: Path) -> None:
    index = index_records([write(tmp_path / "a.record", numbered(10, broken=[0, 4, 5, 9]))])
    monitor = RecordMonitor(index, DECODE)
    assert _ids(_eval(index, monitor=monitor)) == [1, 2, 3, 6, 7, 8]
    assert sorted(monitor.broken) == [0, 4, 5, 9]


def test_a_damaged_record_counts_as_broken(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.record", numbered(5)))
    index = index_records([str(path)])
    content = bytearray(path.read_bytes())
    content[int(index.offsets[2]) + 40] ^= 1
    path.write_bytes(content)
    monitor = RecordMonitor(index, DECODE)
    assert _ids(_eval(index, monitor=monitor)) == [0, 1, 3, 4]
    assert "do not match their checksum" in monitor.broken[2]


@pytest.mark.parametrize("evaluate", [False, True], ids=["train", "eval"])
def test_too_many_broken_images_end_the_run(tmp_path: Path, evaluate: bool) -> None:
    index = index_records([write(tmp_path / "a.record", numbered(20, broken=range(12)))])
    monitor = RecordMonitor(index, DECODE)  # allows 10
    with pytest.raises(tf.errors.OpError):
        _eval(index, monitor=monitor) if evaluate else list(_train(index, monitor=monitor).take(50))
    with pytest.raises(InputError, match="11 of 20 images cannot be read, more than the 10 allowed; the last: record"):
        monitor.check()


def test_no_image_at_all_ends_the_run(tmp_path: Path) -> None:
    index = index_records([write(tmp_path / "a.record", numbered(3, broken=range(3)))])
    monitor = RecordMonitor(index, DECODE)
    with pytest.raises(tf.errors.OpError):
        next(iter(_train(index, monitor=monitor)))
    with pytest.raises(InputError, match=r"step \d: none of 20 records drawn can be read, the last: record"):
        monitor.check()


@pytest.mark.parametrize("evaluate", [False, True], ids=["train", "eval"])
def test_wrong_ground_truth_ends_the_run_at_once(tmp_path: Path, evaluate: bool) -> None:
    wrong = example(jpeg(), [[0.0, 0.0, 1.0, 1.0]], [2], object_class_text=[b"green?"], source_id=[b"bad"])
    index = index_records([write(tmp_path / "a.record", [*numbered(6), wrong])])
    monitor = RecordMonitor(index, DECODE)
    with pytest.raises(tf.errors.OpError):
        _eval(index, monitor=monitor) if evaluate else list(_train(index, monitor=monitor).take(2))
    with pytest.raises(
        InputError, match=r"record 6 .from 0. of .*a.record .source id 'bad'.: object 0 .from 0.: class .green\?. is not in"
    ):
        monitor.check()


def test_labels_are_checked_before_training(tmp_path: Path) -> None:
    wrong = example(jpeg(), [[0.0, 0.0, 1.0, 1.0]], [9], source_id=[b"bad"])
    index = index_records([write(tmp_path / "a.record", [*numbered(6), wrong])])
    check_records(index.every(2).every(2), DECODE)  # records 0 and 4
    with pytest.raises(InputError, match=r"record 6 .from 0. of .* .source id 'bad'.: object 0 .from 0.: class label 9 is out of range"):
        check_records(index, DECODE)
    check_records(index, DECODE, max_records=2)  # 0 and 4: the rest is checked when it is met


def test_an_error_in_the_augmentation_is_no_broken_image(index: RecordIndex) -> None:
    def fail(example: Any, seed: tf.Tensor) -> Any:
        return example._replace(image=tf.reshape(example.image, [7, 7, 3]))

    monitor = RecordMonitor(index, DECODE)
    with pytest.raises(tf.errors.InvalidArgumentError, match="reshape"):
        next(iter(_train(index, monitor=monitor, augmentation=fail)))
    assert not monitor.broken and monitor.error is None
