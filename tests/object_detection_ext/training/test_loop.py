"""The loop on a tiny task that is no detection: steps, checkpoints, resuming, signals, evaluation, errors."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from object_detection_ext.errors import InputError
from object_detection_ext.training import checkpoints, loop
from object_detection_ext.training.averages import averages, start_averages
from object_detection_ext.training.evaluator import Evaluator
from object_detection_ext.training.trainer import Trainer

L2 = 0.01


def make_network(units=1, seed=0, regularizer=None):
    tf_keras.utils.set_random_seed(seed)
    inputs = tf_keras.Input((3,))
    hidden = tf_keras.layers.Dense(4, kernel_regularizer=regularizer or tf_keras.regularizers.L2(L2), name="hidden")(inputs)
    hidden = tf_keras.layers.BatchNormalization(name="norm")(hidden)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(units, name="out")(hidden))


@dataclass
class Averages:
    seen: list = field(default_factory=list)

    def update(self, batch, outputs):
        self.seen.append(float(np.mean(outputs)))

    def result(self):
        return {"mean_output": float(np.mean(self.seen))}

    def images(self):
        return {"picture": np.zeros((1, 4, 4, 3), np.uint8)}

    def summary(self):
        return "table of the tiny task"


@dataclass
class TinyTask:
    network: tf_keras.Model = field(default_factory=make_network)
    scale: float = 1.0
    on_step: object = None
    loss_tags = ("Loss/fit_loss",)

    def train_dataset(self, start_step):
        def batch(step):
            x = tf.random.stateless_normal([8, 3], seed=[7, step])
            return x, tf.reduce_sum(x, axis=1, keepdims=True)

        return tf.data.Dataset.range(start_step, 2**40).map(batch)

    def eval_dataset(self):
        return tf.data.Dataset.from_tensors((tf.ones([2, 3]), tf.ones([2, 1])))

    def losses(self, batch, *, training):
        x, y = batch
        return {"Loss/fit_loss": self.scale * tf.reduce_mean((self.network(x, training=training) - y) ** 2)}

    def predict(self, batch):
        return self.network(batch[0], training=False), self.losses(batch, training=False)

    def evaluation(self):
        return Averages()

    def draw(self, batch):
        return tf.zeros([1, 4, 4, 3], tf.uint8)

    def batch_size(self):
        return 8

    def raise_input_errors(self):
        if self.on_step:
            self.on_step()


def sgd():
    return tf_keras.optimizers.legacy.SGD(tf_keras.optimizers.schedules.PolynomialDecay(0.05, 100), momentum=0.9)


def run(tmp_path, *, steps, task=None, optimizer=None, **settings):
    task = task or TinyTask()
    defaults = {"checkpoint_every_n": 4, "eval_every_n": 0, "summary_every_n": 3}
    return task, loop.train(
        task, optimizer or sgd(), model_dir=tmp_path, settings=loop.LoopSettings(num_steps=steps, **{**defaults, **settings})
    )


def scalars(folder):
    found = {}
    for path in sorted(folder.glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


def test_checkpoints_are_named_by_step_and_one_is_written_at_the_end(tmp_path):
    _, result = run(tmp_path, steps=10)
    assert result.step == 10
    assert sorted(p.name for p in tmp_path.glob("ckpt-*.index")) == ["ckpt-10.index", "ckpt-4.index", "ckpt-8.index"]
    assert checkpoints.step_of(result.checkpoint) == 10


@pytest.mark.parametrize("layers", [("hidden", "norm", "out"), ("out",)], ids=["all trained", "the rest frozen"])
def test_a_resumed_run_ends_bit_for_bit_where_an_unbroken_one_does(tmp_path, layers):
    def phase(folder, steps, seed):
        task = TinyTask(network=make_network(seed=seed))
        trained = [variable for name in layers for variable in task.network.get_layer(name).trainable_variables]
        settings = loop.LoopSettings(num_steps=steps, checkpoint_every_n=4, eval_every_n=0, summary_every_n=3)
        loop.train(task, sgd(), model_dir=tmp_path / folder, settings=settings, trained=trained)
        return task.network.weights

    whole = phase("whole", 9, seed=0)
    phase("parts", 4, seed=0)
    for a, b in zip(whole, phase("parts", 9, seed=5), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.name)


def test_summaries_carry_the_tags_of_the_api(tmp_path):
    run(tmp_path, steps=7)
    tags = scalars(tmp_path / "train")
    for tag in ("Loss/fit_loss", "Loss/regularization_loss", "Loss/total_loss", "learning_rate", "steps_per_sec"):
        assert tags[tag] == [3, 6, 7], tag
    assert tags["train_input_images"] == [3, 6]


def test_no_pictures_without_record_summaries(tmp_path):
    run(tmp_path, steps=3, record_pictures=False)
    assert "train_input_images" not in scalars(tmp_path / "train")


def test_evaluation_runs_at_its_interval_and_at_the_end(tmp_path, capsys):
    task = TinyTask()
    evaluator = Evaluator(task, summary_dir=tmp_path / "eval")
    settings = loop.LoopSettings(num_steps=5, checkpoint_every_n=100, eval_every_n=2, summary_every_n=100)
    result = loop.train(task, sgd(), model_dir=tmp_path, settings=settings, evaluator=evaluator)
    assert scalars(tmp_path / "eval")["mean_output"] == [2, 4, 5]
    assert scalars(tmp_path / "eval")["Loss/fit_loss"] == [2, 4, 5]
    assert set(result.metrics) == {"mean_output", "Loss/fit_loss", "Loss/regularization_loss", "Loss/total_loss"}
    assert capsys.readouterr().out.count("table of the tiny task") == 3


def test_evaluation_adds_the_networks_own_losses_as_the_api_does():
    task = TinyTask()
    metrics = Evaluator(task, summary_dir=None, quiet=True).run(0)
    kernel = task.network.get_layer("hidden").kernel.numpy()
    assert metrics["Loss/regularization_loss"] == pytest.approx(L2 * np.square(kernel).sum(), rel=1e-6)
    assert metrics["Loss/total_loss"] == pytest.approx(metrics["Loss/fit_loss"] + metrics["Loss/regularization_loss"], rel=1e-6)
    without = Evaluator(task, summary_dir=None, add_regularization=False, quiet=True).run(0)
    assert without["Loss/total_loss"] == without["Loss/fit_loss"]
    assert "Loss/regularization_loss" not in without


def test_sigterm_saves_and_says_so(tmp_path, capsys):
    calls = []

    def stop_at_third_call():
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(loop.Interrupted) as stopped:
        run(tmp_path, steps=1000, task=TinyTask(on_step=stop_at_third_call), seconds_per_call=0.0)
    assert stopped.value.exit_code == 143
    assert checkpoints.step_of(checkpoints.find_checkpoint(tmp_path)) == 3
    assert "stopped at step 3" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path):
    run(tmp_path, steps=4)
    with pytest.raises(InputError, match=r"no longer finite at step 5 \(Loss/fit_loss nan, Loss/total_loss nan\)"):
        run(tmp_path, steps=8, task=TinyTask(scale=float("nan")))
    assert checkpoints.step_of(checkpoints.find_checkpoint(tmp_path)) == 4


def test_a_model_dir_of_another_model_is_refused(tmp_path):
    run(tmp_path, steps=4)
    with pytest.raises(InputError, match=r"belongs to another model: out/kernel:0 has shape \(4, 1\) there and \(4, 2\) in the config"):
        run(tmp_path, steps=8, task=TinyTask(network=make_network(units=2)))


def test_the_line_says_what_a_resumed_run_does_not_start_from(tmp_path, capsys):
    run(tmp_path, steps=4)
    settings = loop.LoopSettings(num_steps=4)
    loop.train(TinyTask(), sgd(), model_dir=tmp_path, settings=settings, instead_of="train_config.fine_tune_checkpoint there/ckpt-0")
    assert f"going on from {tmp_path}/ckpt-4 (step 4), not from train_config.fine_tune_checkpoint there/ckpt-0\n" in capsys.readouterr().err


def test_a_checkpoint_without_optimizer_is_gone_on_with(tmp_path, capsys):
    """As `python -m pipelines.checkpoint import` writes it."""
    other = make_network(seed=6)
    checkpoints.save_network(other, tmp_path, step=30)
    task, result = run(tmp_path, steps=30)
    assert result.step == 30
    assert "ckpt-30 (step 30, " in capsys.readouterr().err
    for a, b in zip(task.network.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.name)


def test_averages_go_on_and_those_of_what_was_frozen_begin_at_the_weights(tmp_path):
    """Two phases in one model_dir: first `hidden` is frozen, then everything trains."""
    from official.modeling.optimization import ExponentialMovingAverage

    def phase(task, trained, steps):
        optimizer = ExponentialMovingAverage(sgd(), average_decay=0.5)
        start_averages(optimizer, trained)
        settings = loop.LoopSettings(num_steps=steps)
        loop.train(task, optimizer, model_dir=tmp_path, settings=settings, trained=trained)
        return {variable.name: (variable.numpy(), average.numpy()) for variable, average in averages(optimizer)}

    first = TinyTask()
    frozen = first.network.get_layer("hidden").kernel.numpy()
    before = phase(first, first.network.get_layer("out").trainable_variables, 3)
    second = TinyTask(network=make_network(seed=5))
    after = phase(second, second.network.trainable_variables, 3)
    np.testing.assert_array_equal(after["out/kernel:0"], before["out/kernel:0"])
    np.testing.assert_array_equal(after["hidden/kernel:0"], [frozen, frozen])


def test_a_checkpoint_without_averages_is_refused_where_they_are_asked_for(tmp_path):
    from official.modeling.optimization import ExponentialMovingAverage

    run(tmp_path, steps=1)
    task, optimizer = TinyTask(), ExponentialMovingAverage(sgd(), average_decay=0.5)
    start_averages(optimizer, task.network.trainable_variables)
    with pytest.raises(InputError, match=r"ckpt-1 was trained with train_config\.optimizer\.use_moving_average: false; set that, or take"):
        run(tmp_path, steps=2, task=task, optimizer=optimizer)


def test_a_finished_run_has_nothing_to_do(tmp_path):
    _, first = run(tmp_path, steps=4)
    _, again = run(tmp_path, steps=4)
    assert again.checkpoint == first.checkpoint


@pytest.mark.parametrize("regularizer", [tf_keras.regularizers.L2(L2), tf_keras.regularizers.L1(L2)], ids=["L2, closed form", "L1"])
def test_regularisation_is_what_keras_would_add(regularizer):
    """Loss and gradients through Keras's own `network.losses` and through the trainer."""
    plain, ours = (TinyTask(network=make_network(regularizer=regularizer)) for _ in range(2))
    batch = next(iter(plain.train_dataset(0)))
    with tf.GradientTape() as tape:
        loss = tf.add_n(list(plain.losses(batch, training=True).values())) + tf.add_n(plain.network.losses)
    variables = plain.network.trainable_variables
    rate = 0.5
    expected = [v.numpy() - rate * g.numpy() for v, g in zip(variables, tape.gradient(loss, variables), strict=True)]
    trainer = Trainer(ours, tf_keras.optimizers.legacy.SGD(rate))
    losses = trainer.train(tf.constant(1))
    assert losses["Loss/total_loss"] == pytest.approx(float(loss), rel=1e-6)
    for variable, value in zip(ours.network.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-7, err_msg=variable.name)


def test_moving_averages_are_evaluated_and_restored(tmp_path):
    from official.modeling.optimization import ExponentialMovingAverage

    task = TinyTask()
    optimizer = ExponentialMovingAverage(sgd(), average_decay=0.5, dynamic_decay=False)
    optimizer.shadow_copy(task.network)
    evaluator = Evaluator(task, summary_dir=None, optimizer=optimizer, quiet=True)
    settings = loop.LoopSettings(num_steps=6, checkpoint_every_n=6, eval_every_n=6)
    during = loop.train(task, optimizer, model_dir=tmp_path, settings=settings, evaluator=evaluator).metrics
    fresh = TinyTask(network=make_network(seed=9))
    checkpoints.restore_network(fresh.network, tmp_path, use_moving_averages=True)
    assert Evaluator(fresh, summary_dir=None, quiet=True).run(6)["mean_output"] == pytest.approx(during["mean_output"], rel=1e-6)
    checkpoints.restore_network(fresh.network, tmp_path)
    assert Evaluator(fresh, summary_dir=None, quiet=True).run(6)["mean_output"] != pytest.approx(during["mean_output"], rel=1e-3)


@pytest.mark.parametrize(("name", "value"), [("num_steps", 0), ("checkpoint_every_n", 0), ("eval_every_n", -1)])
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be >= ., got {value}"):
        loop.LoopSettings(**{"num_steps": 1, name: value})
