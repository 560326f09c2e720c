package org.example.detector

import android.content.Context
import android.graphics.Bitmap
import android.graphics.RectF
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import kotlin.math.floor
import org.tensorflow.lite.Interpreter

/** One object: [box] in pixels of the bitmap, [score] from 0 to 1. */
data class Found(val label: String, val score: Float, val box: RectF)

/**
 * {{model}}: {{width}} x {{height}} pixels in as {{input_type}}, at most {{rows}} objects of {{num_classes}} classes out.
 *
 * One thread: with more, the runtime's regular suppression may leave out a class (tensorflow/tensorflow issue 56058).
 */
class InterpreterDetector(context: Context, numThreads: Int = 1) : AutoCloseable {
    private val labels = context.assets.open("labels.txt").bufferedReader().readLines()
    private val interpreter = context.assets.openFd("{{model}}").use { asset ->
        val file = FileInputStream(asset.fileDescriptor).channel
        val bytes = file.map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.declaredLength)
        Interpreter(bytes, Interpreter.Options().setNumThreads(numThreads))
    }
    private val input = ByteBuffer.allocateDirect(HEIGHT * WIDTH * 3 * {{bytes_per_value}}).order(ByteOrder.nativeOrder())

    /** The objects in an upright ARGB_8888 bitmap, best first. */
    fun detect(bitmap: Bitmap, minScore: Float = 0.5f): List<Found> {
        fillInput(bitmap)
        val boxes = Array(1) { Array(ROWS) { FloatArray(4) } }
        val classes = Array(1) { FloatArray(ROWS) }
        val scores = Array(1) { FloatArray(ROWS) }
        val count = FloatArray(1)
        val outputs = mapOf<Int, Any>(
            {{boxes_output}} to boxes,
            {{classes_output}} to classes,
            {{scores_output}} to scores,
            {{count_output}} to count,
        )
        interpreter.runForMultipleInputsOutputs(arrayOf<Any>(input), outputs)
        return (0 until count[0].toInt()).filter { scores[0][it] >= minScore }.map { row ->
            val (top, left, bottom, right) = boxes[0][row].map { it.coerceIn(0f, 1f) }
            val box = RectF(left * bitmap.width, top * bitmap.height, right * bitmap.width, bottom * bitmap.height)
            Found(labels[classes[0][row].toInt()], scores[0][row], box)
        }
    }

    override fun close() = interpreter.close()

    /**
     * The resize of training: output pixel i lies at i * input size / output size. Bitmap.createScaledBitmap puts pixel centres elsewhere,
     * which moves boxes and costs accuracy.
     */
    private fun fillInput(bitmap: Bitmap) {
        val pixels = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        val yStep = bitmap.height.toFloat() / HEIGHT
        val xStep = bitmap.width.toFloat() / WIDTH
        input.rewind()
        for (i in 0 until HEIGHT) {
            val y = i * yStep
            val top = floor(y).toInt().coerceAtMost(bitmap.height - 1)
            val bottom = (top + 1).coerceAtMost(bitmap.height - 1)
            for (j in 0 until WIDTH) {
                val x = j * xStep
                val left = floor(x).toInt().coerceAtMost(bitmap.width - 1)
                val right = (left + 1).coerceAtMost(bitmap.width - 1)
                for (channel in 0 until 3) {
                    val shift = 16 - 8 * channel
                    fun at(row: Int, column: Int) = ((pixels[row * bitmap.width + column] shr shift) and 0xFF).toFloat()
                    val upper = at(top, left) + (at(top, right) - at(top, left)) * (x - left)
                    val lower = at(bottom, left) + (at(bottom, right) - at(bottom, left)) * (x - left)
                    put(upper + (lower - upper) * (y - top), channel)
                }
            }
        }
        input.rewind()
    }

    private fun put(value: Float, channel: Int) {
        {{put}}
    }

    private companion object {
        const val HEIGHT = {{height}}
        const val WIDTH = {{width}}
        const val ROWS = {{rows}}
        {{normalization}}
    }
}
