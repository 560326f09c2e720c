package org.example.detector

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.objectdetector.ObjectDetector

/** {{model}} in MediaPipe Tasks, which reads labels and normalisation ({{input_type}} input) from the file's metadata. */
class MediaPipeDetector(context: Context, minScore: Float = 0.5f) : AutoCloseable {
    private val detector = ObjectDetector.createFromOptions(
        context,
        ObjectDetector.ObjectDetectorOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("{{model}}").build())
            .setRunningMode(RunningMode.IMAGE)
            .setScoreThreshold(minScore)
            .setMaxResults({{rows}})
            .build(),
    )

    /** Label, score and box (RectF, pixels) of each object in an upright ARGB_8888 bitmap, best first. */
    fun detect(bitmap: Bitmap) = detector.detect(BitmapImageBuilder(bitmap).build()).detections().map {
        Triple(it.categories()[0].categoryName(), it.categories()[0].score(), it.boundingBox())
    }

    override fun close() = detector.close()
}
