package org.example.detector

import android.graphics.BitmapFactory
import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import kotlin.math.abs
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** On a phone (src/androidTest): the boxes on golden.png are those that Python found, within {{box_tolerance}} of the image's size. */
@RunWith(AndroidJUnit4::class)
class InterpreterGoldenTest {
    @Test
    fun sameBoxesAsPython() {
        val context = InstrumentationRegistry.getInstrumentation().targetContext
        val golden = JSONObject(context.assets.open("golden.json").bufferedReader().readText())
        val bitmap = context.assets.open("golden.png").use { BitmapFactory.decodeStream(it) }
        val found = InterpreterDetector(context).use { it.detect(bitmap, golden.getDouble("min_score").toFloat()) }
        val expected = golden.getJSONArray("objects")
        assertEquals(expected.length(), found.size)
        for (i in found.indices) { // in any order: scores that are almost equal may change places
            val wanted = expected.getJSONObject(i)
            val box = wanted.getJSONArray("box")
            assertTrue("$wanted in $found", found.any { one ->
                val sides = listOf(one.box.top, one.box.left, one.box.bottom, one.box.right)
                one.label == wanted.getString("label") &&
                    abs(one.score - wanted.getDouble("score")) <= {{score_tolerance}} &&
                    sides.withIndex().all { (side, value) ->
                        abs(value - box.getDouble(side)) <= {{box_tolerance}} * (if (side % 2 == 0) bitmap.height else bitmap.width)
                    }
            })
        }
    }
}
