// Finds objects in one image with a .tflite detector: boxes as text, as a COCO results list and as a picture.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <limits>
#include <sstream>

#include "drawing.h"
#include "error.h"
#include "image.h"
#include "model.h"

namespace {

constexpr char kUsage[] = R"(usage: detect --model FILE --image FILE [--labels FILE] [--output_json FILE] [--output_image FILE]
              [--threshold S] [--threads N] [--mean M] [--std S]

  --model         a .tflite that ends in TFLite_Detection_PostProcess
  --image         JPEG or PNG
  --labels        text file, line i names class i; without it, classes are called class_<id>
  --output_json   all detections as a COCO results list; category_id is from 1
  --output_image  the image with its boxes, JPEG or PNG by the suffix
  --threshold     print and draw detections from this score on (0.5)
  --threads       threads of the runtime (1; more than one may lose a class, see docs/to-the-phone.md)
  --mean, --std   a float input gets (pixel - mean) / std (127.5 and 127.5)
)";

struct Options {
  std::string model, image, labels, output_json, output_image;
  double threshold = 0.5;
  int threads = 1;
  float mean = 127.5f, std = 127.5f;
};

struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Detection {
  Box box;       // pixels, inside the image
  int class_id;  // from 1
  float score;
};

double ParseNumber(const std::string& flag, const std::string& text, double least, double most) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= least && value <= most)) {
    std::ostringstream message;
    message << flag << " must be from " << least << " to " << most << ", got '" << text << "'";
    throw UsageError(message.str());
  }
  return value;
}

Options ParseOptions(int num_arguments, char** arguments) {
  Options options;
  for (int i = 1; i < num_arguments; i += 2) {
    const std::string flag = arguments[i];
    if (flag == "--help" || flag == "-h") {
      std::cout << kUsage;
      std::exit(0);
    }
    if (i + 1 == num_arguments) throw UsageError(flag + " needs a value");
    const std::string value = arguments[i + 1];
    if (flag == "--model") options.model = value;
    else if (flag == "--image") options.image = value;
    else if (flag == "--labels") options.labels = value;
    else if (flag == "--output_json") options.output_json = value;
    else if (flag == "--output_image") options.output_image = value;
    else if (flag == "--threshold") options.threshold = ParseNumber(flag, value, 0, 1);
    else if (flag == "--threads") options.threads = static_cast<int>(ParseNumber(flag, value, 1, 256));
    else if (flag == "--mean") options.mean = static_cast<float>(ParseNumber(flag, value, -1e6, 1e6));
    else if (flag == "--std") options.std = static_cast<float>(ParseNumber(flag, value, 1e-6, 1e6));
    else throw UsageError("unknown flag " + flag);
  }
  if (options.model.empty() || options.image.empty()) throw UsageError("--model and --image are needed");
  return options;
}

// Names by class, from 0; "???" marks a class without one, and in the first line of old files the background.
std::vector<std::string> ReadLabels(const std::string& path) {
  std::vector<std::string> labels;
  if (path.empty()) return labels;
  std::ifstream file(path);
  if (!file) throw InputError(path + " cannot be opened");
  for (std::string line; std::getline(file, line);) {
    line.erase(line.find_last_not_of(" \t\r\n") + 1);
    line.erase(0, line.find_first_not_of(" \t"));
    labels.push_back(line);
  }
  if (!labels.empty() && labels.front() == "???") labels.erase(labels.begin());
  return labels;
}

std::string NameOf(int class_id, const std::vector<std::string>& labels) {
  const std::size_t line = static_cast<std::size_t>(class_id - 1);
  const bool is_named = class_id >= 1 && line < labels.size() && !labels[line].empty() && labels[line] != "???";
  return is_named ? labels[line] : "class_" + std::to_string(class_id);
}

template <typename Stored>
std::vector<char> Quantise(const std::vector<float>& pixels, const InputSpec& spec, const Options& options) {
  const double least = std::numeric_limits<Stored>::min(), most = std::numeric_limits<Stored>::max();
  const double scale = spec.scale;
  // One step a grey level: the pixels themselves, as an app on a phone passes them.
  const bool is_identity = scale == 0 || std::abs(scale * options.std - 1) < 0.01;
  std::vector<char> stored(pixels.size());
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const double real = (pixels[i] - options.mean) / options.std;
    const double zero = static_cast<double>(spec.zero_point);
    const double value = is_identity ? std::nearbyint(pixels[i]) + least : std::nearbyint(real / scale) + zero;
    const Stored number = static_cast<Stored>(std::clamp(value, least, most));
    std::memcpy(&stored[i], &number, 1);
  }
  return stored;
}

// Pixels [height, width, 3], 0 to 255, in the type and range of the input.
std::vector<char> AsInput(const std::vector<float>& pixels, const InputSpec& spec, const Options& options) {
  if (spec.type == ElementType::kUint8) return Quantise<std::uint8_t>(pixels, spec, options);
  if (spec.type == ElementType::kInt8) return Quantise<std::int8_t>(pixels, spec, options);
  std::vector<char> stored(pixels.size() * sizeof(float));
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const float value = (pixels[i] - options.mean) / options.std;
    std::memcpy(&stored[i * sizeof(float)], &value, sizeof value);
  }
  return stored;
}

// Best first; boxes clipped to the image, those without area left out.
std::vector<Detection> Detections(const RawDetections& raw, const Image& image) {
  std::vector<Detection> detections;
  const std::size_t count = static_cast<std::size_t>(std::max(raw.count, 0));
  const std::size_t rows = std::min({raw.boxes.size() / 4, raw.classes.size(), raw.scores.size(), count});
  for (std::size_t i = 0; i < rows; ++i) {
    Detection detection{{}, static_cast<int>(raw.classes[i]) + 1, raw.scores[i]};
    for (std::size_t side = 0; side < 4; ++side) {
      const double size = side % 2 == 0 ? image.height : image.width;
      detection.box[side] = std::clamp(static_cast<double>(raw.boxes[4 * i + side]), 0.0, 1.0) * size;
    }
    const Box& box = detection.box;
    if (box[2] > box[0] && box[3] > box[1]) detections.push_back(detection);  // false for NaN
  }
  std::stable_sort(detections.begin(), detections.end(), [](const Detection& a, const Detection& b) { return a.score > b.score; });
  return detections;
}

std::string JsonString(const std::string& text) {
  std::ostringstream out;
  out << '"';
  for (const unsigned char character : text) {
    if (character == '"' || character == '\\') out << '\\' << character;
    else if (character < 0x20) out << "\\u" << std::hex << std::setw(4) << std::setfill('0') << int{character} << std::dec;
    else out << character;
  }
  out << '"';
  return out.str();
}

// The file name without suffix; a number where it is one, as in COCO.
std::string ImageId(const std::string& path) {
  const std::size_t start = path.find_last_of('/') + 1, dot = path.find_last_of('.');
  const std::string stem = path.substr(start, dot == std::string::npos || dot <= start ? std::string::npos : dot - start);
  const bool is_number = !stem.empty() && stem.size() <= 18 && stem.find_first_not_of("0123456789") == std::string::npos;
  return is_number ? std::to_string(std::stoll(stem)) : JsonString(stem);
}

void WriteJson(const std::vector<Detection>& detections, const std::string& image_id, const std::string& path) {
  const std::string temporary = path + ".part";
  {
    std::ofstream file(temporary);
    file << "[" << std::fixed;
    for (std::size_t i = 0; i < detections.size(); ++i) {
      const Box& box = detections[i].box;
      file << (i ? ", " : "") << "{\"image_id\": " << image_id << ", \"category_id\": " << detections[i].class_id << std::setprecision(3)
           << ", \"bbox\": [" << box[1] << ", " << box[0] << ", " << box[3] - box[1] << ", " << box[2] - box[0] << "]"
           << std::setprecision(5) << ", \"score\": " << detections[i].score << "}";
    }
    file << "]\n";
    if (!file.flush()) throw InputError(path + " cannot be written");
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) throw InputError(path + " cannot be written");
}

void Run(const Options& options) {
  const std::vector<std::string> labels = ReadLabels(options.labels);
  Image image = ReadImage(options.image);
  Model model(options.model, options.threads);
  const auto start = std::chrono::steady_clock::now();
  const std::vector<float> pixels = ResizeBilinear(image, model.input().height, model.input().width);
  const std::vector<char> input = AsInput(pixels, model.input(), options);
  const std::vector<Detection> detections = Detections(model.Run(input.data(), input.size()), image);
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;

  const auto is_below = [&](const Detection& found) { return found.score < options.threshold; };
  const std::vector<Detection> shown(detections.begin(), std::find_if(detections.begin(), detections.end(), is_below));
  if (!options.output_json.empty()) WriteJson(detections, ImageId(options.image), options.output_json);
  if (!options.output_image.empty()) {
    for (auto found = shown.rbegin(); found != shown.rend(); ++found) DrawBox(image, found->box, found->class_id);  // the best on top
    WriteImage(image, options.output_image);
  }
  for (const Detection& found : shown) {
    const Box& box = found.box;
    std::printf("%s %.3f [%.1f, %.1f, %.1f, %.1f]\n", NameOf(found.class_id, labels).c_str(), found.score, box[0], box[1], box[2], box[3]);
  }
  std::printf("%zu objects with a score of %g or more, [y_min, x_min, y_max, x_max] in pixels; first call %.1f ms\n", shown.size(),
              options.threshold, elapsed.count());
}

}  // namespace

int main(int num_arguments, char** arguments) {
  try {
    Run(ParseOptions(num_arguments, arguments));
    return 0;
  } catch (const UsageError& error) {
    std::fprintf(stderr, "%serror: %s\n", kUsage, error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
