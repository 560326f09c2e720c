"""The zero-mAP autopsy: from records to metrics link by link, with ground truth in place of predictions, then with a checkpoint's own.

A chain is as good as its first broken link; that one is named. Nothing is written, and no weight is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import tensorflow as tf

from object_detection_ext.builders.detection_task import categories_of
from object_detection_ext.builders.detector import build_pipeline_detector
from object_detection_ext.builders.input_reader import EVAL_FIELD, TRAIN_FIELD, build_eval_input
from object_detection_ext.builders.losses import build_detection_loss
from object_detection_ext.config import Config, check_paths_configured, check_supported
from object_detection_ext.data.label_map import LabelMap, load_label_map
from object_detection_ext.data.record_index import index_records
from object_detection_ext.diagnosis.image_scores import Score, score_images
from object_detection_ext.diagnosis.input_variants import input_variants
from object_detection_ext.diagnosis.network_probe import READING_ADVICE, NetworkProbe, NetworkRun, loss_stage, score_stage
from object_detection_ext.diagnosis.stage import Outcome, Stage, first_broken, format_stages
from object_detection_ext.diagnosis.trials import LEARNT, Trial, explaining_trial, format_trials, prediction_stage, run_trials
from object_detection_ext.diagnosis.truth_probe import TruthProbe
from object_detection_ext.diagnosis.truth_stages import (
    TruthTally,
    assignment_stage,
    box_stage,
    ceiling_stage,
    class_stage,
    code_stage,
    evaluation_stage,
    nms_stage,
    resize_stage,
)
from object_detection_ext.diagnosis.weight_stage import weight_stage
from object_detection_ext.errors import InputError
from object_detection_ext.findings import Check, Finding, Severity
from object_detection_ext.losses.detection import DetectionLoss
from object_detection_ext.models.detector import SsdDetector
from object_detection_ext.protos import input_reader_pb2
from object_detection_ext.training import checkpoints
from object_detection_ext.training.detection import DetectionTask
from object_detection_ext.types import Batch

NUM_IMAGES = 100
BATCH_SIZE = 8  # batch statistics need more than one image

BROKEN_CHAIN = Check(
    "broken_chain",
    Severity.ERROR,
    "the first stage between records and metrics that lets nothing through, whatever the network (--autopsy)",
    "each stage says what to do",
)
BROKEN_CHECKPOINT = Check(
    "broken_checkpoint",
    Severity.WARNING,
    "why a checkpoint finds nothing: its weights, or what it was trained to see or say otherwise (--autopsy --checkpoint_dir)",
    "each stage says what to do",
)

_TRAINED = 0.3  # mAP@.5 on training images from which it is the images that differ

Watch = Callable[[Iterable[Batch], int], Iterable[Batch]]  # batches and the number of images -> the same batches, shown going by


@dataclass(frozen=True)
class Autopsy:
    """What was found, stage by stage."""

    chain: tuple[Stage, ...]  # from records to metrics, with ground truth in place of predictions
    checkpoint: tuple[Stage, ...] = ()  # a checkpoint's own predictions
    trials: tuple[Trial, ...] = ()  # of these, "as they are" first

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All of them, in their order."""
        return self.chain + self.checkpoint

    @property
    def first_broken(self) -> Stage | None:
        return first_broken(self.stages)

    def findings(self, where: str) -> list[Finding]:
        """The first broken stage; nothing where the chain holds. Only what is wrong without a checkpoint keeps training from starting."""
        broken = self.first_broken
        if broken is None:
            return []
        check = BROKEN_CHAIN if broken in self.chain else BROKEN_CHECKPOINT
        return [check(where, f"{broken.name}: {broken.message}", advice=broken.advice)]

    def __str__(self) -> str:
        broken = self.first_broken
        if broken is None:
            verdict = "no stage is broken"
        else:
            verdict = f"first broken stage: {self.stages.index(broken) + 1}, {broken.name}: {broken.message}. To do: {broken.advice}"
        return "\n\n".join(part for part in (format_stages(self.stages), format_trials(self.trials), verdict) if part)


def run_autopsy(
    config: Config, *, checkpoint: str | None = None, num_images: int = NUM_IMAGES, watch: Watch = lambda batches, _: batches
) -> Autopsy:
    """Examines a config, its evaluation records (its training records where it has no others) and, where given, a checkpoint.

    Args:
        checkpoint: folder (the newest counts) or prefix.
        num_images: looked at, evenly spread over the records.
        watch: wraps what is waited for, to show progress.

    Raises:
        InputError: a field of the config is wrong, or there is no such checkpoint. Wrong records are a broken stage instead.
    """
    check_supported(config)
    on_train_records = not config.proto.eval_input_reader
    check_paths_configured(config, for_training=on_train_records, for_evaluation=not on_train_records)
    prefix = checkpoints.find_checkpoint(checkpoint) if checkpoint else None
    with config.locate_errors():
        detector, loss = build_pipeline_detector(config.proto), build_detection_loss(config.proto.model.ssd)
    examiner = _Examiner(config, detector, loss, NetworkProbe(detector, loss), num_images, watch)
    try:
        maps = [examiner.label_map(of_training=of_training) for of_training in (on_train_records, True)]
    except InputError as error:
        return Autopsy((Stage("classes", Outcome.BROKEN, str(error), "mend the label map"),))
    try:
        sample = examiner.sample(of_training=on_train_records)
        batches = examiner.batches(sample)
        stages, truth_holds = examine_truth(sample.task, batches, num_files=sample.num_files, label_map=maps[0], train_map=maps[1])
    except InputError as error:
        return Autopsy((Stage("records", Outcome.BROKEN, str(error), "mend the records; the doctor lists all that is wrong with them"),))
    if prefix is None or not truth_holds:
        return Autopsy(tuple(stages))
    checkpoint_stages, trials = examiner.examine_checkpoint(sample, prefix, may_use_train_records=not on_train_records)
    return Autopsy(tuple(stages), tuple(checkpoint_stages), tuple(trials))


def examine_truth(
    task: DetectionTask, batches: Iterable[Batch], *, num_files: int, label_map: LabelMap | None = None, train_map: LabelMap | None = None
) -> tuple[list[Stage], bool]:
    """The stages that need no network, and whether predictions can be judged at all."""
    tally = TruthTally(TruthProbe(task.detector, task.loss.assigner))
    for batch in batches:
        tally.add(batch)
    if not tally.truths:
        return [Stage("records", Outcome.BROKEN, "no image could be read", "mend the records")], False
    stages = [box_stage(tally.truths, num_files=num_files)]
    if stages[0].outcome is Outcome.BROKEN:
        return stages, False
    categories = task.categories
    stages.append(class_stage(tally.truths, categories, label_map=label_map, train_map=train_map))
    stages += [resize_stage(tally), assignment_stage(tally), evaluation_stage(tally.truths, categories)]
    stages += [nms_stage(tally, categories), code_stage(tally, categories), ceiling_stage(tally, categories)[0]]
    return stages, True


def examine_predictions(
    run: NetworkRun, task: DetectionTask, *, others: Callable[[], list[Trial]] = list
) -> tuple[list[Stage], list[Trial]]:
    """Losses, scores, and the trials of what a network said; `others` makes trials that need another run."""
    trials = run_trials(run.truths, run.found, task.categories)
    advice = READING_ADVICE | {variant.name: variant.advice for variant in input_variants(task.detector)}
    for name, found in run.others.items():
        trials.append(Trial(name, score_images(run.truths, found, task.categories), advice[name]))
    trials += others()
    scores = score_stage(run, task.detector.postprocessing.score_threshold)
    if explaining_trial(trials) is not None and scores.outcome is Outcome.BROKEN:
        scores = replace(scores, outcome=Outcome.NOTE)  # a symptom of what the trial names
    stages = [loss_stage(run), scores, prediction_stage(trials)]
    return stages, trials


class _Sample(NamedTuple):
    """The images that are looked at."""

    task: DetectionTask
    num_files: int
    num_images: int


@dataclass(frozen=True)
class _Examiner:
    """A config with the detector that it describes, and how much to look at."""

    config: Config
    detector: SsdDetector
    loss: DetectionLoss
    probe: NetworkProbe
    num_images: int
    watch: Watch

    def examine_checkpoint(self, sample: _Sample, prefix: str, *, may_use_train_records: bool) -> tuple[list[Stage], list[Trial]]:
        averaged = self.config.proto.eval_config.use_moving_averages
        try:
            checkpoints.restore_network(self.detector.network, prefix, use_moving_averages=averaged)
        except InputError as error:
            return [Stage("weights", Outcome.BROKEN, str(error), "give the checkpoint that was trained with this config")], []
        run = self.probe(self.batches(sample), variants=input_variants(self.detector))
        stages, trials = examine_predictions(run, sample.task, others=lambda: self._other_averages(sample, prefix, averaged))
        stages.insert(0, self._weights(prefix))
        if may_use_train_records and trials[0].score.map_50 < LEARNT and self.config.proto.HasField("train_input_reader"):
            checkpoints.restore_network(self.detector.network, prefix, use_moving_averages=averaged)
            stages.append(self._train_stage())
        return stages, trials

    def _weights(self, prefix: str) -> Stage:
        predictor = self.config.proto.model.ssd.box_predictor
        heads = getattr(predictor, predictor.WhichOneof("box_predictor_oneof") or "")
        return weight_stage(
            {variable.name.partition(":")[0]: variable.numpy() for variable in self.detector.network.weights},
            step=checkpoints.step_of(prefix),
            initial_class_bias=heads.class_prediction_bias_init,
            num_steps=self.config.proto.train_config.num_steps,
        )

    def _other_averages(self, sample: _Sample, prefix: str, averaged: bool) -> list[Trial]:
        """The weights that the config does not evaluate: raw ones in place of moving averages, or the other way round."""
        try:
            checkpoints.restore_network(self.detector.network, prefix, use_moving_averages=not averaged)
        except InputError:  # no averages are stored
            return []
        score = _score(self.probe(self.batches(sample)), sample.task)
        if averaged:
            advice = "set eval_config.use_moving_averages: false, or train until the averages have followed (moving_average_decay)"
            return [Trial("weights instead of their averages", score, advice)]
        return [Trial("averages instead of the weights", score, "set eval_config.use_moving_averages: true")]

    def _train_stage(self) -> Stage:
        """Whether the network knows the images that it was trained on."""
        name = "training images"
        try:
            sample = self.sample(of_training=True)
            score = _score(self.probe(self.batches(sample)), sample.task)
        except InputError as error:
            return Stage(name, Outcome.SKIPPED, str(error))
        message = f"mAP {score.map:.3f}, mAP@.5 {score.map_50:.3f}"
        if score.map_50 >= _TRAINED:
            return Stage(name, Outcome.NOTE, f"{message}: it knows them; those of evaluation differ, or it has learnt these by heart")
        return Stage(name, Outcome.NOTE, f"{message}: it does not know them either")

    def sample(self, *, of_training: bool) -> _Sample:
        """An even sample of the records.

        Raises:
            InputError: the records are wrong.
        """
        reader, field = self._reader(of_training=of_training)
        eval_config = type(self.config.proto.eval_config)(batch_size=BATCH_SIZE)
        with self.config.locate_errors():
            index = index_records(reader.tf_record_input_reader.input_path, where=f"{field}.tf_record_input_reader.input_path")
            records = build_eval_input(
                reader,
                eval_config,
                num_classes=self.detector.num_classes,
                resizer=self.detector.image_resizer,
                normalize=self.detector.normalize,
                sample_1_of_n_examples=max(1, len(index) // self.num_images),
                field=field,
            )
        dataset = records.dataset()  # made once: every pass over it is the same
        task = DetectionTask(
            detector=self.detector,
            loss=self.loss,
            make_train_dataset=None,
            make_eval_dataset=lambda: dataset,
            categories=categories_of(records.label_map, self.detector.num_classes),
            train_batch_size=BATCH_SIZE,
            check_input=records.raise_input_errors,
        )
        return _Sample(task, len(index.paths), min(len(records.index), self._num_batches * BATCH_SIZE))

    def batches(self, sample: _Sample) -> Iterator[Batch]:
        """One pass over the sample; raises `InputError` for a record that stopped it."""
        try:
            yield from self.watch(sample.task.eval_dataset().take(self._num_batches), sample.num_images)
        except tf.errors.OpError:
            sample.task.raise_input_errors()
            raise
        sample.task.raise_input_errors()

    @property
    def _num_batches(self) -> int:
        return -(-self.num_images // BATCH_SIZE)

    def label_map(self, *, of_training: bool) -> LabelMap | None:
        """The label map of a reader; None where it has none."""
        path = self._reader(of_training=of_training)[0].label_map_path
        return load_label_map(path) if os.path.isfile(path) else None

    def _reader(self, *, of_training: bool) -> tuple[input_reader_pb2.InputReader, str]:
        proto = self.config.proto
        return (proto.train_input_reader, TRAIN_FIELD) if of_training else (proto.eval_input_reader[0], EVAL_FIELD)


def _score(run: NetworkRun, task: DetectionTask) -> Score:
    return score_images(run.truths, run.found, task.categories)
