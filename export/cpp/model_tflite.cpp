// The model in TFLite's interpreter, built from the sources of TensorFlow or LiteRT.
#include <algorithm>
#include <cstring>
#include <map>

#include "error.h"
#include "model.h"
#include "tensorflow/lite/interpreter.h"
#include "tensorflow/lite/kernels/register.h"
#include "tensorflow/lite/model.h"

namespace {
constexpr char kPostprocess[] = "TFLite_Detection_PostProcess";
}

struct Model::State {
  std::string path;
  std::unique_ptr<tflite::FlatBufferModel> model;
  std::unique_ptr<tflite::Interpreter> interpreter;
  int outputs[4];  // tensors of boxes, classes, scores and count
  InputSpec input;

  std::vector<float> Values(int output) const {
    const TfLiteTensor* tensor = interpreter->tensor(outputs[output]);
    return std::vector<float>(tensor->data.f, tensor->data.f + tensor->bytes / sizeof(float));
  }
};

Model::Model(const std::string& path, int num_threads) : state_(new State) {
  State& state = *state_;
  state.path = path;
  state.model = tflite::FlatBufferModel::VerifyAndBuildFromFile(path.c_str());
  if (!state.model) throw InputError(path + " is not a .tflite model");
  tflite::ops::builtin::BuiltinOpResolver resolver;
  if (tflite::InterpreterBuilder(*state.model, resolver)(&state.interpreter, num_threads) != kTfLiteOk ||
      state.interpreter->AllocateTensors() != kTfLiteOk) {
    throw InputError(path + ": TFLite cannot run this model");
  }
  const std::map<TfLiteType, ElementType> types = {
      {kTfLiteFloat32, ElementType::kFloat32}, {kTfLiteUInt8, ElementType::kUint8}, {kTfLiteInt8, ElementType::kInt8}};
  if (state.interpreter->inputs().size() != 1) throw InputError(path + ": expected one input, an image");
  const TfLiteTensor* image = state.interpreter->input_tensor(0);
  const TfLiteIntArray* shape = image->dims;
  if (shape->size != 4 || shape->data[0] != 1 || shape->data[1] < 1 || shape->data[2] < 1 || shape->data[3] != 3) {
    throw InputError(path + " is not a detector for photos: its input must be [1, height, width, 3]");
  }
  if (types.count(image->type) == 0) throw InputError(path + ": the input must be float32, uint8 or int8");
  state.input = {types.at(image->type), shape->data[1], shape->data[2], image->params.scale, image->params.zero_point};
  // Which output is which is told by the operation that makes them, whatever a converter made of names.
  for (std::size_t index = 0; index < state.interpreter->nodes_size(); ++index) {
    const auto* node = state.interpreter->node_and_registration(static_cast<int>(index));
    const char* name = node->second.custom_name;
    if (name != nullptr && std::strcmp(name, kPostprocess) == 0 && node->first.outputs->size == 4) {
      std::copy_n(node->first.outputs->data, 4, state.outputs);
      return;
    }
  }
  throw InputError(path + " is not a detector: it has no " + kPostprocess);
}

Model::~Model() = default;

const InputSpec& Model::input() const { return state_->input; }

RawDetections Model::Run(const void* input, std::size_t num_bytes) {
  TfLiteTensor* image = state_->interpreter->input_tensor(0);
  if (image->bytes != num_bytes) throw InputError(state_->path + ": the input has another size than its shape says");
  std::memcpy(image->data.raw, input, num_bytes);
  if (state_->interpreter->Invoke() != kTfLiteOk) throw InputError(state_->path + ": TFLite cannot run this model");
  const std::vector<float> count = state_->Values(3);
  return {state_->Values(0), state_->Values(1), state_->Values(2), count.empty() ? 0 : static_cast<int>(count[0] + 0.5f)};
}
