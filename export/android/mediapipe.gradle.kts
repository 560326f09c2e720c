// For app/build.gradle.kts, with MediaPipeDetector.kt
android {
    androidResources { noCompress += "tflite" } // the model is mapped, not unpacked
}
dependencies {
    implementation("com.google.mediapipe:tasks-vision:0.10.20") // or newer
}
