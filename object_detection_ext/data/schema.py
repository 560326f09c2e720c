"""The keys of a tf.Example in a detection record, as the TF Object Detection API writes and reads them.

Types are those of the tf.Example feature; "per object" lists run in parallel, one value an object. Boxes are normalised to [0, 1] by the
image's width and height. Nothing is imported here, so that tools which only write records do not pay for TensorFlow.
"""

from __future__ import annotations

IMAGE_ENCODED = "image/encoded"  # bytes: the image file as it is
IMAGE_FORMAT = "image/format"  # bytes: b"jpeg" or b"png"
IMAGE_HEIGHT = "image/height"  # int64, pixels
IMAGE_WIDTH = "image/width"  # int64, pixels
IMAGE_FILENAME = "image/filename"  # bytes, UTF-8: the name in the annotation file
IMAGE_SOURCE_ID = "image/source_id"  # bytes, UTF-8: unique in a data set
IMAGE_KEY_SHA256 = "image/key/sha256"  # bytes: hexadecimal digest of the encoded image

OBJECT_XMIN = "image/object/bbox/xmin"  # float per object
OBJECT_XMAX = "image/object/bbox/xmax"  # float per object
OBJECT_YMIN = "image/object/bbox/ymin"  # float per object
OBJECT_YMAX = "image/object/bbox/ymax"  # float per object
OBJECT_CLASS_TEXT = "image/object/class/text"  # bytes per object, UTF-8
OBJECT_CLASS_LABEL = "image/object/class/label"  # int64 per object: label-map id, 1 or more
OBJECT_DIFFICULT = "image/object/difficult"  # int64 per object, 0 or 1
OBJECT_TRUNCATED = "image/object/truncated"  # int64 per object, 0 or 1
OBJECT_VIEW = "image/object/view"  # bytes per object: VOC's pose
OBJECT_IS_CROWD = "image/object/is_crowd"  # int64 per object, 0 or 1
OBJECT_GROUP_OF = "image/object/group_of"  # int64 per object, 0 or 1
OBJECT_OCCLUDED = "image/object/occluded"  # int64 per object, 0 or 1
OBJECT_DEPICTION = "image/object/depiction"  # int64 per object, 0 or 1: a drawing or a model of the object
OBJECT_AREA = "image/object/area"  # float per object, pixels of the stored image
OBJECT_WEIGHT = "image/object/weight"  # float per object
OBJECT_MASK = "image/object/mask"  # bytes per object: PNG of 0 and 1, size of the image
OBJECT_KEYPOINT_X = "image/object/keypoint/x"  # float per object and point, normalised
OBJECT_KEYPOINT_Y = "image/object/keypoint/y"  # float per object and point, normalised
OBJECT_KEYPOINT_NUM = "image/object/keypoint/num"  # int64 per object: labelled points
OBJECT_KEYPOINT_VISIBILITY = "image/object/keypoint/visibility"  # int64 per object and point: COCO's 0, 1, 2
OBJECT_KEYPOINT_TEXT = "image/object/keypoint/text"  # bytes per object and point: the point's name

IMAGE_CLASS_TEXT = "image/class/text"  # bytes: image-level labels, classes that were looked for in the image
IMAGE_CLASS_LABEL = "image/class/label"  # int64: image-level labels
IMAGE_CLASS_CONFIDENCE = "image/class/confidence"  # float: of the image-level labels, 1 verified to be there, 0 verified not to be
IMAGE_NEG_CATEGORY_IDS = "image/neg_category_ids"  # int64: classes verified to be absent
IMAGE_NOT_EXHAUSTIVE_CATEGORY_IDS = "image/not_exhaustive_category_ids"  # int64: classes not fully annotated
