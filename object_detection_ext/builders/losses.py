"""`model.ssd.loss`, with the matcher, similarity and box coder beside it -> the detection loss."""

from __future__ import annotations

from object_detection_ext.builders.box_coder import build_box_coder
from object_detection_ext.builders.fields import chosen, errors_at
from object_detection_ext.builders.matcher import build_matcher
from object_detection_ext.builders.similarity import build_similarity
from object_detection_ext.errors import InputError
from object_detection_ext.losses.classification import (
    BootstrappedSigmoidLoss,
    ClassificationLoss,
    SigmoidFocalLoss,
    SigmoidLoss,
    SoftmaxLoss,
)
from object_detection_ext.losses.detection import DetectionLoss
from object_detection_ext.losses.hard_negatives import HardExampleMiner, RankingLoss
from object_detection_ext.losses.localization import GiouLoss, IouLoss, L1Loss, L2Loss, LocalizationLoss, SmoothL1Loss
from object_detection_ext.protos import losses_pb2, ssd_pb2
from object_detection_ext.targets.assigner import TargetAssigner

FIELD = "model.ssd.loss"


def build_detection_loss(config: ssd_pb2.Ssd) -> DetectionLoss:
    """The loss that the SSD `config` describes; raises `InputError` with the field's path where a value is impossible or not supported."""
    _refuse_unsupported(config)
    loss = config.loss
    with errors_at(FIELD):
        return DetectionLoss(
            assigner=build_target_assigner(config),
            classification=build_classification_loss(loss.classification_loss),
            localization=build_localization_loss(loss.localization_loss),
            hard_example_miner=_build_hard_example_miner(loss) if loss.HasField("hard_example_miner") else None,
            classification_weight=loss.classification_weight,
            localization_weight=loss.localization_weight,
            normalize_by_num_matches=config.normalize_loss_by_num_matches,
            normalize_localization_by_code_size=config.normalize_loc_loss_by_codesize,
        )


def build_target_assigner(config: ssd_pb2.Ssd) -> TargetAssigner:
    """The target assigner that the SSD `config` describes."""
    if config.add_background_class:
        background = "zeros" if config.encode_background_as_zeros else "class"
    elif config.encode_background_as_zeros:
        background = "none"
    else:
        raise InputError("model.ssd.encode_background_as_zeros must be true where add_background_class is false")
    with errors_at("model.ssd"):
        return TargetAssigner(
            similarity=build_similarity(config.similarity_calculator),
            matcher=build_matcher(config.matcher),
            box_coder=build_box_coder(config.box_coder),
            negative_class_weight=config.negative_class_weight,
            background=background,
        )


def build_classification_loss(config: losses_pb2.ClassificationLoss) -> ClassificationLoss:
    """The classification loss that `config` describes."""
    kind = chosen(config, f"{FIELD}.classification_loss", allowed=tuple(_CLASSIFICATION_LOSSES))
    with errors_at(f"{FIELD}.classification_loss.{kind}"):
        return _CLASSIFICATION_LOSSES[kind](getattr(config, kind))


def build_localization_loss(config: losses_pb2.LocalizationLoss) -> LocalizationLoss:
    """The localisation loss that `config` describes."""
    kind = chosen(config, f"{FIELD}.localization_loss", allowed=tuple(_LOCALIZATION_LOSSES))
    with errors_at(f"{FIELD}.localization_loss.{kind}"):
        return _LOCALIZATION_LOSSES[kind](getattr(config, kind))


def _build_hard_example_miner(config: losses_pb2.Loss) -> HardExampleMiner:
    if config.classification_loss.HasField("weighted_sigmoid_focal"):
        raise InputError(f"{FIELD}.hard_example_miner must not be used with weighted_sigmoid_focal, which weighs hard examples itself")
    message = config.hard_example_miner
    with errors_at(f"{FIELD}.hard_example_miner"):
        return HardExampleMiner(
            num_hard_examples=message.num_hard_examples if message.num_hard_examples > 0 else None,
            iou_threshold=message.iou_threshold,
            loss_type=_LOSS_TYPES[message.loss_type],
            classification_weight=config.classification_weight,
            localization_weight=config.localization_weight,
            max_negatives_per_positive=message.max_negatives_per_positive if message.max_negatives_per_positive > 0 else None,
            min_negatives_per_image=message.min_negatives_per_image,
        )


def _refuse_unsupported(config: ssd_pb2.Ssd) -> None:
    loss = config.loss
    refused = {
        "model.ssd.use_confidences_as_targets": config.use_confidences_as_targets,
        "model.ssd.explicit_background_class": config.explicit_background_class,
        "model.ssd.mask_head_config": config.HasField("mask_head_config"),
        f"{FIELD}.random_example_sampler": loss.HasField("random_example_sampler"),
        f"{FIELD}.equalization_loss": loss.equalization_loss.weight != 0.0,
        f"{FIELD}.expected_loss_weights": loss.expected_loss_weights != losses_pb2.Loss.NONE,
    }
    for path, is_set in refused.items():
        if is_set:
            raise InputError(f"{path} is not supported; remove it")


_LOSS_TYPES: dict[losses_pb2.HardExampleMiner.LossType, RankingLoss] = {
    losses_pb2.HardExampleMiner.BOTH: "both",
    losses_pb2.HardExampleMiner.CLASSIFICATION: "classification",
    losses_pb2.HardExampleMiner.LOCALIZATION: "localization",
}

_CLASSIFICATION_LOSSES = {
    "weighted_sigmoid": lambda m: SigmoidLoss(),
    "weighted_sigmoid_focal": lambda m: SigmoidFocalLoss(gamma=m.gamma, alpha=m.alpha if m.HasField("alpha") else None),
    "weighted_softmax": lambda m: SoftmaxLoss(logit_scale=m.logit_scale),
    "bootstrapped_sigmoid": lambda m: BootstrappedSigmoidLoss(alpha=m.alpha, hard=m.hard_bootstrap),
}

_LOCALIZATION_LOSSES = {
    "weighted_l2": lambda m: L2Loss(),
    "weighted_smooth_l1": lambda m: SmoothL1Loss(delta=m.delta),
    "weighted_iou": lambda m: IouLoss(),
    "weighted_giou": lambda m: GiouLoss(),
    "l1_localization_loss": lambda m: L1Loss(),
}
