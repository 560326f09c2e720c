"""Which settings of a pipeline config are not honoured, as data. `config.check_supported` walks a config along these tables.

Keys are `Message.field`. A scalar that is set to its default is always accepted. Whoever makes a field work removes it here; a test
compares the tables with what the builders read, so that no field is ignored in silence.
"""

from __future__ import annotations

_OTHER_TASK = "this project detects boxes only"
_NO_CONFIDENCES = "class targets are one-hot"
_DRAWN_SO = "the pictures of evaluation show detections beside ground truth, with names and scores"
_FIRST_STAGE = "it belongs to a two-stage detector; use convolutional_box_predictor"
_OTHER_BOX_METRICS = (
    "pascal_voc_detection_metrics",
    "weighted_pascal_voc_detection_metrics",
    "oid_V2_detection_metrics",
    "open_images_V2_detection_metrics",
    "oid_challenge_detection_metrics",
)

# Refused when set (to anything but the default): why, and what to do instead.
NOT_SUPPORTED: dict[str, str] = {
    # The detector
    "Ssd.explicit_background_class": "background needs no boxes of its own; use add_background_class",
    "Ssd.use_confidences_as_targets": _NO_CONFIDENCES,
    "Ssd.return_raw_detections_during_predict": "detections are what NMS leaves",
    "Ssd.mask_head_config": _OTHER_TASK,
    "ImageResizer.identity_resizer": "it gives images of different sizes; use fixed_shape_resizer",
    "ImageResizer.conditional_shape_resizer": "it gives images of different sizes; use fixed_shape_resizer",
    "ImageResizer.pad_to_multiple_resizer": "it gives images of different sizes; use fixed_shape_resizer",
    "AnchorGenerator.grid_anchor_generator": "use ssd_anchor_generator",
    "AnchorGenerator.flexible_grid_anchor_generator": "use ssd_anchor_generator",
    "BoxCoder.keypoint_box_coder": _OTHER_TASK,
    "Matcher.bipartite_matcher": "use argmax_matcher",
    "BoxPredictor.mask_rcnn_box_predictor": _FIRST_STAGE,
    "BoxPredictor.rfcn_box_predictor": _FIRST_STAGE,
    "ConvolutionalBoxPredictor.apply_sigmoid_to_scores": "set post_processing.score_converter: SIGMOID instead",
    "Hyperparams.op": "an SSD has no fully connected layers",
    "Hyperparams.group_norm": "use batch_norm or sync_batch_norm",
    # Losses and detections
    "Loss.random_example_sampler": "use hard_example_miner or weighted_sigmoid_focal",
    "Loss.equalization_loss": "use weighted_sigmoid_focal",
    "Loss.expected_loss_weights": "use hard_example_miner or weighted_sigmoid_focal",
    "ClassificationLoss.weighted_logits_softmax": _NO_CONFIDENCES,
    "ClassificationLoss.penalty_reduced_logistic_focal_loss": "it belongs to CenterNet; use weighted_sigmoid_focal",
    "ClassificationLoss.weighted_dice_classification_loss": _OTHER_TASK,
    "BatchNonMaxSuppression.use_combined_nms": "it keeps boxes outside of the image",
    "BatchNonMaxSuppression.max_classes_per_detection": "a detection has one class",
    "PostProcessing.calibration_config": "scores are not calibrated",
    # Training
    "TrainConfig.bias_grad_multiplier": "biases are trained as the other weights",
    "TrainConfig.merge_multiple_label_boxes": "a box has one class",
    "TrainConfig.use_multiclass_scores": _NO_CONFIDENCES,
    "PreprocessingStep.scale_boxes_to_pixel_coordinates": "anchors are normalised, and match no box in pixels; remove it",
    "PreprocessingStep.convert_class_logits_to_softmax": "it works on multiclass scores, which training does not read; remove it",
    # Evaluation
    "EvalConfig.parameterized_metric": _OTHER_TASK,
    "EvalConfig.ignore_groundtruth": "python -m pipelines.detect predicts without ground truth",
    "EvalConfig.eval_instance_masks": _OTHER_TASK,
    "EvalConfig.retain_original_image_additional_channels": "images have 3 channels",
    "EvalConfig.super_categories": "classes are judged one by one",
    "EvalConfig.recall_lower_bound": "it belongs to PASCAL VOC's metric",
    "EvalConfig.recall_upper_bound": "it belongs to PASCAL VOC's metric",
    "EvalConfig.force_no_resize": "the network has one input size",
    "EvalConfig.keypoint_edge": _OTHER_TASK,
    "EvalConfig.skip_predictions_for_unlabeled_class": "it belongs to Open Images' metric",
    # Records
    "InputReader.external_input_reader": "use tf_record_input_reader",
    "InputReader.num_additional_channels": "images have 3 channels",
    "InputReader.num_keypoints": _OTHER_TASK,
    "InputReader.keypoint_type_weight": _OTHER_TASK,
    "InputReader.use_keypoint_label_map": _OTHER_TASK,
    "InputReader.load_keypoint_depth_features": _OTHER_TASK,
    "InputReader.load_instance_masks": _OTHER_TASK,
    "InputReader.load_dense_pose": _OTHER_TASK,
    "InputReader.load_track_id": _OTHER_TASK,
    "InputReader.load_multiclass_scores": _NO_CONFIDENCES,
    "InputReader.load_context_features": "an SSD has no context features",
    "InputReader.load_context_image_ids": "an SSD has no context features",
    "InputReader.expand_labels_hierarchy": "expand the labels when the records are written",
    "InputReader.sample_from_datasets_weights": "all records are drawn equally often; name a file twice to draw it twice as often",
}

# Refused from the second element on: only the first is read.
FIRST_ONLY: dict[str, str] = {
    "TrainEvalPipelineConfig.eval_input_reader": "evaluation reads one set; name several files in its input_path",
}

# Accepted, but something else happens, which is said once: none of it changes what is learnt.
DONE_OTHERWISE: dict[str, str] = {
    "TrainConfig.use_bfloat16": "training computes in float32",
    "TrainConfig.retain_original_images": "pictures of training show the network's input",
    "TrainConfig.summarize_gradients": "gradients are not summarised",
    "EvalConfig.visualization_export_dir": "python -m pipelines.detect draws into a folder",
    "EvalConfig.export_path": "python -m pipelines.evaluate --json writes the metrics",
    "EvalConfig.max_num_boxes_to_visualize": _DRAWN_SO,
    "EvalConfig.skip_scores": _DRAWN_SO,
    "EvalConfig.skip_labels": _DRAWN_SO,
    "EvalConfig.visualize_groundtruth_boxes": _DRAWN_SO,
    "EvalConfig.groundtruth_box_visualization_color": _DRAWN_SO,
    "EvalConfig.retain_original_images": "evaluation always counts in pixels of the stored images",
    "EvalConfig.all_metrics_per_category": "average precision is given per class, the other COCO numbers for all classes together",
    "EvalConfig.use_dummy_loss_in_eval": "evaluation computes the losses",
    "InputReader.name": "summaries go to model_dir/eval",
}

# The same for single values of a field.
VALUES_DONE_OTHERWISE: dict[str, dict[str, str]] = {
    "EvalConfig.metrics_set": dict.fromkeys(_OTHER_BOX_METRICS, "evaluation computes COCO's metrics; mAP@.50IOU comes nearest"),
}

# Accepted for these values only.
ALLOWED_VALUES: dict[str, tuple[str, ...]] = {
    "EvalConfig.metrics_set": ("coco_detection_metrics", *_OTHER_BOX_METRICS),
    "InputReader.input_type": ("TF_EXAMPLE", "INPUT_DEFAULT"),
}

# Accepted without effect, named once in the log: they chose between kernels, threads and queues of the API's runtime.
OLD_RUNTIME_ONLY: frozenset[str] = frozenset(
    {
        "Ssd.inplace_batchnorm_update",
        "ArgMaxMatcher.use_matmul_gather",
        "WeightedL2LocalizationLoss.anchorwise_output",
        "WeightedSmoothL1LocalizationLoss.anchorwise_output",
        "WeightedSigmoidClassificationLoss.anchorwise_output",
        "SigmoidFocalClassificationLoss.anchorwise_output",
        "WeightedSoftmaxClassificationLoss.anchorwise_output",
        "BootstrappedSigmoidClassificationLoss.anchorwise_output",
        "BatchNonMaxSuppression.use_static_shapes",
        "BatchNonMaxSuppression.use_partitioned_nms",
        "BatchNonMaxSuppression.use_cpu_nms",
        "BatchNonMaxSuppression.change_coordinate_frame",
        "TrainConfig.sync_replicas",
        "TrainConfig.startup_delay_steps",
        "TrainConfig.replicas_to_aggregate",
        "TrainConfig.batch_queue_capacity",
        "TrainConfig.num_batch_queue_threads",
        "TrainConfig.prefetch_queue_capacity",
        "TrainConfig.unpad_groundtruth_tensors",
        "TrainConfig.run_fine_tune_checkpoint_dummy_computation",
        "TrainConfig.fine_tune_checkpoint_version",  # a checkpoint says itself what it is
        "TrainConfig.max_number_of_boxes",
        "EvalConfig.num_examples",
        "EvalConfig.eval_interval_secs",
        "EvalConfig.max_evals",
        "EvalConfig.save_graph",
        "EvalConfig.eval_master",
        "EvalConfig.include_metrics_per_category",  # always on
        "InputReader.shuffle_buffer_size",  # the whole set is shuffled
        "InputReader.drop_remainder",  # training batches are full, evaluation takes every image
        "InputReader.include_source_id",  # always on
        "InputReader.filenames_shuffle_buffer_size",
        "InputReader.num_readers",
        "InputReader.num_parallel_batches",
        "InputReader.num_prefetch_batches",
        "InputReader.queue_capacity",
        "InputReader.min_after_dequeue",
        "InputReader.read_block_length",
        "InputReader.prefetch_size",
        "InputReader.num_parallel_map_calls",
    }
)

# Say nothing without the field on the right, which is refused or empty by default; accepted as they stand.
ONLY_WITH: dict[str, str] = {
    "Ssd.implicit_example_weight": "Ssd.use_confidences_as_targets",
    "EvalConfig.keep_image_id_for_visualization_export": "EvalConfig.visualization_export_dir",
    "EvalConfig.image_classes_field_map_empty_to_ones": "EvalConfig.skip_predictions_for_unlabeled_class",
    "InputReader.mask_type": "InputReader.load_instance_masks",
    "InputReader.frame_index": "InputReader.input_type",
    "Loss.min_num_negative_samples": "Loss.expected_loss_weights",
    "Loss.desired_negative_sampling_ratio": "Loss.expected_loss_weights",
}
