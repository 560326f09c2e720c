// The model in LiteRT's shared library, through its C API.
//
// The wheel ships no headers, so that the prototypes needed stand here, those of version 2.3 (tested with 2.3.0; they differ before and may
// after). Source: litert/c/*.h of github.com/google-ai-edge/LiteRT.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>

#include <fcntl.h>
#include <unistd.h>

#include "error.h"
#include "model.h"

extern "C" {

typedef int LiteRtStatus;  // 0: done
typedef std::size_t LiteRtParamIndex;
typedef struct LiteRtEnvironmentT* LiteRtEnvironment;
typedef struct LiteRtModelT* LiteRtModel;
typedef struct LiteRtOptionsT* LiteRtOptions;
typedef struct LiteRtOpaqueOptionsT* LiteRtOpaqueOptions;
typedef struct LiteRtCompiledModelT* LiteRtCompiledModel;
typedef struct LiteRtSubgraphT* LiteRtSubgraph;
typedef struct LiteRtSignatureT* LiteRtSignature;
typedef struct LiteRtOpT* LiteRtOp;
typedef struct LiteRtTensorT* LiteRtTensor;
typedef struct LiteRtTensorBufferT* LiteRtTensorBuffer;
typedef struct LiteRtTensorBufferRequirementsT* LiteRtTensorBufferRequirements;

typedef struct {
  unsigned int rank : 7;
  bool has_strides : 1;
  std::int32_t dimensions[8];
  std::uint32_t strides[8];
} LiteRtLayout;

typedef struct {
  int element_type;
  LiteRtLayout layout;
} LiteRtRankedTensorType;

typedef struct {
  float scale;
  std::int64_t zero_point;
} LiteRtQuantizationPerTensor;

LiteRtStatus LiteRtCreateEnvironment(int, const void* options, LiteRtEnvironment*);
void LiteRtDestroyEnvironment(LiteRtEnvironment);
LiteRtStatus LiteRtCreateModelFromFile(LiteRtEnvironment, const char* path, LiteRtModel*);
void LiteRtDestroyModel(LiteRtModel);
LiteRtStatus LiteRtCreateOptions(LiteRtOptions*);
void LiteRtDestroyOptions(LiteRtOptions);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions, int accelerators);
LiteRtStatus LiteRtCreateOpaqueOptions(const char* identifier, void* payload, void (*destroy)(void*), LiteRtOpaqueOptions*);
LiteRtStatus LiteRtAddOpaqueOptions(LiteRtOptions, LiteRtOpaqueOptions);
LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment, LiteRtModel, LiteRtOptions, LiteRtCompiledModel*);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel);
LiteRtStatus LiteRtGetModelSignature(LiteRtModel, LiteRtParamIndex, LiteRtSignature*);
LiteRtStatus LiteRtGetSignatureSubgraph(LiteRtSignature, LiteRtSubgraph*);
LiteRtStatus LiteRtGetNumSignatureInputs(LiteRtSignature, LiteRtParamIndex*);
LiteRtStatus LiteRtGetNumSignatureOutputs(LiteRtSignature, LiteRtParamIndex*);
LiteRtStatus LiteRtGetSignatureInputTensorByIndex(LiteRtSignature, LiteRtParamIndex, LiteRtTensor*);
LiteRtStatus LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature, LiteRtParamIndex, LiteRtTensor*);
LiteRtStatus LiteRtGetNumSubgraphOps(LiteRtSubgraph, LiteRtParamIndex*);
LiteRtStatus LiteRtGetSubgraphOp(LiteRtSubgraph, LiteRtParamIndex, LiteRtOp*);
LiteRtStatus LiteRtGetCustomCode(LiteRtOp, const char**);
LiteRtStatus LiteRtGetOpCode(LiteRtOp, int*);
LiteRtStatus LiteRtGetNumOpOutputs(LiteRtOp, LiteRtParamIndex*);
LiteRtStatus LiteRtGetOpOutput(LiteRtOp, LiteRtParamIndex, LiteRtTensor*);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor, LiteRtRankedTensorType*);
LiteRtStatus LiteRtGetQuantizationTypeId(LiteRtTensor, int*);
LiteRtStatus LiteRtGetPerTensorQuantization(LiteRtTensor, LiteRtQuantizationPerTensor*);
LiteRtStatus LiteRtGetCompiledModelInputBufferRequirements(
    LiteRtCompiledModel, LiteRtParamIndex signature, LiteRtParamIndex, LiteRtTensorBufferRequirements*);
LiteRtStatus LiteRtGetCompiledModelOutputBufferRequirements(
    LiteRtCompiledModel, LiteRtParamIndex signature, LiteRtParamIndex, LiteRtTensorBufferRequirements*);
LiteRtStatus LiteRtCreateManagedTensorBufferFromRequirements(
    LiteRtEnvironment, const LiteRtRankedTensorType*, LiteRtTensorBufferRequirements, LiteRtTensorBuffer*);
LiteRtStatus LiteRtGetCompiledModelOutputTensorLayouts(
    LiteRtCompiledModel, LiteRtParamIndex signature, std::size_t num_layouts, LiteRtLayout*, bool update_allocation);
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer);
LiteRtStatus LiteRtGetTensorBufferPackedSize(LiteRtTensorBuffer, std::size_t*);
LiteRtStatus LiteRtLockTensorBuffer(LiteRtTensorBuffer, void**, int mode);
LiteRtStatus LiteRtUnlockTensorBuffer(LiteRtTensorBuffer);
LiteRtStatus LiteRtRunCompiledModel(
    LiteRtCompiledModel, LiteRtParamIndex signature, std::size_t, LiteRtTensorBuffer* inputs, std::size_t, LiteRtTensorBuffer* outputs);

}  // extern "C"

namespace {

constexpr int kCpu = 1;                           // kLiteRtHwAcceleratorCpu
constexpr int kRead = 0, kWrite = 1;              // kLiteRtTensorBufferLockMode*
constexpr int kPerTensor = 1;                     // kLiteRtQuantizationPerTensor
constexpr int kCustom = 32;                       // kLiteRtOpCodeTflCustom
constexpr int kFloat32 = 1, kUint8 = 3, kInt8 = 9;  // kLiteRtElementType*
constexpr char kPostprocess[] = "TFLite_Detection_PostProcess";

// Hides what LiteRT writes to stderr about its accelerators, which no exported function turns off. DETECT_LOG in the environment shows it.
class Quiet {
 public:
  Quiet() {
    if (std::getenv("DETECT_LOG") != nullptr) return;
    saved_ = dup(STDERR_FILENO);
    const int nowhere = open("/dev/null", O_WRONLY);
    if (nowhere >= 0) dup2(nowhere, STDERR_FILENO), close(nowhere);
  }
  ~Quiet() {
    if (saved_ >= 0) dup2(saved_, STDERR_FILENO), close(saved_);
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  int saved_ = -1;
};

void Check(LiteRtStatus status, const std::string& path, const char* what) {
  if (status != 0) {
    throw InputError(path + ": LiteRT cannot " + what + " (status " + std::to_string(status) + ")");
  }
}

}  // namespace

struct Model::State {
  std::string path;
  LiteRtEnvironment environment = nullptr;
  LiteRtModel model = nullptr;
  LiteRtOptions options = nullptr;
  LiteRtCompiledModel compiled = nullptr;
  LiteRtTensorBuffer image = nullptr;
  std::vector<LiteRtTensorBuffer> outputs;  // in the order of the signature
  std::size_t places[4];                    // of boxes, classes, scores and count among them
  InputSpec input;

  ~State() {
    for (LiteRtTensorBuffer buffer : outputs) LiteRtDestroyTensorBuffer(buffer);
    if (image) LiteRtDestroyTensorBuffer(image);
    if (compiled) LiteRtDestroyCompiledModel(compiled);
    if (options) LiteRtDestroyOptions(options);
    if (model) LiteRtDestroyModel(model);
    if (environment) LiteRtDestroyEnvironment(environment);
  }

  void Load(int num_threads);
  void ReadInput(LiteRtSignature signature);
  void FindOutputs(LiteRtSignature signature);
  std::vector<LiteRtTensor> PostprocessOutputs(LiteRtSignature signature) const;
  std::vector<float> Values(std::size_t place) const;
};

void Model::State::Load(int num_threads) {
  char start[8] = {};
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError(path + " cannot be opened");
  if (!file.read(start, sizeof start) || std::memcmp(start + 4, "TFL3", 4) != 0) throw InputError(path + " is not a .tflite model");
  Check(LiteRtCreateEnvironment(0, nullptr, &environment), path, "start");
  Check(LiteRtCreateModelFromFile(environment, path.c_str(), &model), path, "read this model");
  Check(LiteRtCreateOptions(&options), path, "make options");
  Check(LiteRtSetOptionsHardwareAccelerators(options, kCpu), path, "choose the CPU");
  // The payload is TOML: LrtGetOpaqueCpuOptionsData, which makes it, is not exported.
  const std::string settings = "num_threads = " + std::to_string(num_threads) + "\n";
  LiteRtOpaqueOptions cpu_options = nullptr;
  Check(LiteRtCreateOpaqueOptions("xnnpack", strdup(settings.c_str()), std::free, &cpu_options), path, "make options of the CPU");
  Check(LiteRtAddOpaqueOptions(options, cpu_options), path, "set options of the CPU");
  Check(LiteRtCreateCompiledModel(environment, model, options, &compiled), path, "run this model");

  LiteRtSignature signature = nullptr;
  Check(LiteRtGetModelSignature(model, 0, &signature), path, "read its signature");
  ReadInput(signature);
  FindOutputs(signature);
}

void Model::State::ReadInput(LiteRtSignature signature) {
  LiteRtParamIndex num_inputs = 0;
  Check(LiteRtGetNumSignatureInputs(signature, &num_inputs), path, "read its inputs");
  if (num_inputs != 1) throw InputError(path + " has " + std::to_string(num_inputs) + " inputs, expected one image");
  LiteRtTensor tensor = nullptr;
  LiteRtRankedTensorType type{};
  Check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor), path, "read its input");
  Check(LiteRtGetRankedTensorType(tensor, &type), path, "read the type of its input");
  const std::int32_t* shape = type.layout.dimensions;
  if (type.layout.rank != 4 || shape[0] != 1 || shape[1] < 1 || shape[2] < 1 || shape[3] != 3) {
    throw InputError(path + " is not a detector for photos: its input must be [1, height, width, 3]");
  }
  const std::map<int, ElementType> types = {{kFloat32, ElementType::kFloat32}, {kUint8, ElementType::kUint8}, {kInt8, ElementType::kInt8}};
  if (types.count(type.element_type) == 0) throw InputError(path + ": the input must be float32, uint8 or int8");
  LiteRtQuantizationPerTensor quantization{0.0f, 0};
  int kind = 0;
  Check(LiteRtGetQuantizationTypeId(tensor, &kind), path, "read the quantisation of its input");
  if (kind == kPerTensor) Check(LiteRtGetPerTensorQuantization(tensor, &quantization), path, "read the scale of its input");
  input = {types.at(type.element_type), shape[1], shape[2], quantization.scale, quantization.zero_point};
  LiteRtTensorBufferRequirements requirements = nullptr;
  Check(LiteRtGetCompiledModelInputBufferRequirements(compiled, 0, 0, &requirements), path, "say what its input needs");
  Check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements, &image), path, "allocate its input");
}

// Which output is which is told by the operation that makes them, whatever a converter made of names.
void Model::State::FindOutputs(LiteRtSignature signature) {
  const std::vector<LiteRtTensor> made = PostprocessOutputs(signature);
  LiteRtParamIndex num_outputs = 0;
  Check(LiteRtGetNumSignatureOutputs(signature, &num_outputs), path, "read its outputs");
  // Converters leave the shapes of these outputs open; the runtime knows them.
  std::vector<LiteRtLayout> layouts(num_outputs);
  Check(LiteRtGetCompiledModelOutputTensorLayouts(compiled, 0, num_outputs, layouts.data(), true), path, "say the shapes of its outputs");
  std::size_t num_found = 0;
  for (LiteRtParamIndex index = 0; index < num_outputs; ++index) {
    LiteRtTensor tensor = nullptr;
    LiteRtRankedTensorType type{};
    LiteRtTensorBufferRequirements requirements = nullptr;
    LiteRtTensorBuffer buffer = nullptr;
    Check(LiteRtGetSignatureOutputTensorByIndex(signature, index, &tensor), path, "read its outputs");
    Check(LiteRtGetRankedTensorType(tensor, &type), path, "read the types of its outputs");
    type.layout = layouts[index];
    for (std::size_t role = 0; role < made.size(); ++role) {
      if (made[role] == tensor) places[role] = index, ++num_found;
    }
    Check(LiteRtGetCompiledModelOutputBufferRequirements(compiled, 0, index, &requirements), path, "say what its outputs need");
    Check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements, &buffer), path,
          "allocate its outputs");
    outputs.push_back(buffer);
  }
  if (num_found != 4) throw InputError(path + ": boxes, classes, scores and count of " + kPostprocess + " must all be outputs");
}

std::vector<LiteRtTensor> Model::State::PostprocessOutputs(LiteRtSignature signature) const {
  LiteRtSubgraph graph = nullptr;
  LiteRtParamIndex num_ops = 0, num_outputs = 0;
  Check(LiteRtGetSignatureSubgraph(signature, &graph), path, "read its graph");
  Check(LiteRtGetNumSubgraphOps(graph, &num_ops), path, "read its operations");
  for (LiteRtParamIndex index = 0; index < num_ops; ++index) {
    LiteRtOp op = nullptr;
    int code = 0;
    const char* name = nullptr;
    Check(LiteRtGetSubgraphOp(graph, index, &op), path, "read its operations");
    Check(LiteRtGetOpCode(op, &code), path, "read its operations");
    if (code != kCustom || LiteRtGetCustomCode(op, &name) != 0 || std::strcmp(name, kPostprocess) != 0) continue;
    Check(LiteRtGetNumOpOutputs(op, &num_outputs), path, "read its last operation");
    if (num_outputs != 4) break;
    std::vector<LiteRtTensor> tensors(4);
    for (LiteRtParamIndex output = 0; output < 4; ++output) {
      Check(LiteRtGetOpOutput(op, output, &tensors[output]), path, "read its last operation");
    }
    return tensors;
  }
  throw InputError(path + " is not a detector: it has no " + kPostprocess);
}

std::vector<float> Model::State::Values(std::size_t place) const {
  std::size_t num_bytes = 0;
  void* values = nullptr;
  Check(LiteRtGetTensorBufferPackedSize(outputs[place], &num_bytes), path, "read a result");
  Check(LiteRtLockTensorBuffer(outputs[place], &values, kRead), path, "read a result");
  const float* first = static_cast<const float*>(values);
  std::vector<float> copy(first, first + num_bytes / sizeof(float));
  Check(LiteRtUnlockTensorBuffer(outputs[place]), path, "read a result");
  return copy;
}

Model::Model(const std::string& path, int num_threads) : state_(new State) {
  const Quiet quiet;
  state_->path = path;
  try {
    state_->Load(num_threads);
  } catch (...) {
    state_.reset();  // while it is quiet
    throw;
  }
}

Model::~Model() {
  const Quiet quiet;
  state_.reset();
}

const InputSpec& Model::input() const { return state_->input; }

RawDetections Model::Run(const void* input, std::size_t num_bytes) {
  const Quiet quiet;
  std::size_t expected = 0;
  void* values = nullptr;
  Check(LiteRtGetTensorBufferPackedSize(state_->image, &expected), state_->path, "take the image");
  if (expected != num_bytes) throw InputError(state_->path + ": the input has another size than its shape says");
  Check(LiteRtLockTensorBuffer(state_->image, &values, kWrite), state_->path, "take the image");
  std::memcpy(values, input, num_bytes);
  Check(LiteRtUnlockTensorBuffer(state_->image), state_->path, "take the image");
  Check(LiteRtRunCompiledModel(state_->compiled, 0, 1, &state_->image, state_->outputs.size(), state_->outputs.data()), state_->path,
        "run this model");
  const std::vector<float> count = state_->Values(state_->places[3]);
  return {state_->Values(state_->places[0]), state_->Values(state_->places[1]), state_->Values(state_->places[2]),
          count.empty() ? 0 : static_cast<int>(count[0] + 0.5f)};
}
