// A .tflite that ends in TFLite_Detection_PostProcess, behind one call; model_litert.cpp or model_tflite.cpp runs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

enum class ElementType { kFloat32, kUint8, kInt8 };

// The input tensor: [1, height, width, 3].
struct InputSpec {
  ElementType type;
  int height;
  int width;
  float scale;  // of a quantised input: value = scale * (stored - zero_point); 0 where the file does not say
  std::int64_t zero_point;
};

// What the post-processing gives, in its own order.
struct RawDetections {
  std::vector<float> boxes;    // [M, 4]: y_min, x_min, y_max, x_max, normalised, perhaps beyond [0, 1]
  std::vector<float> classes;  // [M]: from 0, line of labels.txt
  std::vector<float> scores;   // [M]
  int count;                   // how many of the M count
};

class Model {
 public:
  // Throws InputError where the file is no model, no detector, or has another input.
  // num_threads: with T > 1 threads and more than T classes, the runtime's regular suppression leaves out class T
  // (https://github.com/tensorflow/tensorflow/issues/56058).
  Model(const std::string& path, int num_threads);
  ~Model();

  const InputSpec& input() const;

  // input: height * width * 3 values of the input's type.
  RawDetections Run(const void* input, std::size_t num_bytes);

 private:
  struct State;
  std::unique_ptr<State> state_;
};
