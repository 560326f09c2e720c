"""An SSD detector: the network with its anchors, and the way from images to detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from object_detection_ext.data.resize import ImageResizer
from object_detection_ext.models.normalization import PixelScaling
from object_detection_ext.postprocess import PostProcessing
from object_detection_ext.targets.box_coder import BoxCoder
from object_detection_ext.types import Detections, Predictions


@dataclass(frozen=True)
class SsdDetector:
    """Everything that inference needs; training adds a loss.

    Attributes:
        network: one flat functional model, [B, H, W, C] float32 to box encodings [B, A, code size] and class logits [B, A, K + 1],
            column 0 the background's ([B, A, K] where the config has no background class).
        anchors: [A, 4] float32, normalised.
        box_coder: between boxes and encodings.
        image_resizer: from any image to the input size.
        normalize: from pixels in [0, 255] to the network's input.
        postprocessing: from decoded boxes and logits to detections.
        num_classes: without background.
        feature_map_shapes: height and width of the feature maps, finest first.
        box_encodings_clip_range: the range that `predict` clips encodings to; None for no clipping.
    """

    network: tf_keras.Model
    anchors: np.ndarray
    box_coder: BoxCoder
    image_resizer: ImageResizer
    normalize: PixelScaling
    postprocessing: PostProcessing
    num_classes: int
    feature_map_shapes: tuple[tuple[int, int], ...] = ()
    box_encodings_clip_range: tuple[float, float] | None = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the network's input."""
        return tuple(self.network.input_shape[1:])

    def preprocess(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes the network's input. Normalises before it resizes, as the API does: padding is 0 in the network's input.

        Args:
            images: [B, H, W, 3] uint8 or float32 in [0, 255].

        Returns:
            The input, [B, h, w, C] float32, and [B, 2] int32: height and width of the content in it.
        """
        inputs, true_shape = self.image_resizer(self.normalize(tf.cast(images, tf.float32)))
        inputs = tf.ensure_shape(inputs, (None, *self.input_shape))
        return inputs, tf.tile(true_shape[tf.newaxis], [tf.shape(images)[0], 1])

    def denormalize(self, inputs: tf.Tensor) -> tf.Tensor:
        """The network's input, [..., h, w, C] float32, as pixels in [0, 255]."""
        return self.normalize.inverse(inputs)

    def predict(self, inputs: tf.Tensor, *, training: bool = False) -> Predictions:
        """Runs the network.

        Args:
            inputs: [B, h, w, C] float32, from `preprocess`.
            training: use batch statistics in batch normalisation and update the moving ones, and apply dropout.
        """
        encodings, logits = self.network(inputs, training=training)
        if self.box_encodings_clip_range is not None:
            encodings = tf.clip_by_value(encodings, *self.box_encodings_clip_range)
        return Predictions(encodings, logits)

    def decode(self, box_encodings: tf.Tensor) -> tf.Tensor:
        """Box encodings [B, A, code size] -> boxes [B, A, 4] float32, normalised to the padded input, not clipped."""
        return self.box_coder.decode(box_encodings, tf.constant(self.anchors))

    def postprocess(self, predictions: Predictions, true_shapes: tf.Tensor | None = None) -> Detections:
        """Turns raw predictions into detections.

        Args:
            true_shapes: [B, 2] int32, from `preprocess`: detections are clipped to the content. None: to the whole input.
        """
        clip_window = None if true_shapes is None else self.clip_window(true_shapes)
        return self.postprocessing(self.decode(predictions.box_encodings), predictions.class_logits, clip_window=clip_window)

    def detect(self, images: tf.Tensor) -> Detections:
        """Detects objects.

        Args:
            images: [B, H, W, 3] uint8 or float32 in [0, 255].

        Returns:
            Detections, boxes normalised as `postprocessing` says: without padding, to the image.
        """
        inputs, true_shapes = self.preprocess(images)
        return self.postprocess(self.predict(inputs), true_shapes)

    def clip_window(self, true_shapes: tf.Tensor) -> tf.Tensor:
        """What the content covers of the input: [B, 2] int32 from `preprocess` -> [B, 4] float32 boxes, normalised."""
        share = tf.cast(true_shapes, tf.float32) / tf.constant(self.input_shape[:2], tf.float32)  # [B, 2]
        return tf.concat([tf.zeros_like(share), share], axis=-1)  # [B, 4]
