// For app/build.gradle.kts, with InterpreterDetector.kt
android {
    androidResources { noCompress += "tflite" } // the model is mapped, not unpacked
}
dependencies {
    implementation("com.google.ai.edge.litert:litert:1.4.0") // or newer 1.x: org.tensorflow.lite.Interpreter
    androidTestImplementation("androidx.test.ext:junit:1.2.1")
    androidTestImplementation("androidx.test:runner:1.6.2")
}
