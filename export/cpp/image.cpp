#include "image.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <memory>

#include <jpeglib.h>
#include <png.h>

#include "error.h"

namespace {

constexpr std::uint64_t kMostPixels = 178956970;  // Pillow's limit against decompression bombs
constexpr int kJpegQuality = 92;

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

File Open(const std::string& path, const char* mode) {
  File file(std::fopen(path.c_str(), mode));
  if (!file) throw InputError(path + " cannot be opened");
  return file;
}

void CheckSize(std::uint64_t width, std::uint64_t height, const std::string& path) {
  if (width == 0 || height == 0 || width * height > kMostPixels) {
    throw InputError(path + ": " + std::to_string(width) + " x " + std::to_string(height) + " pixels, at most " +
                     std::to_string(kMostPixels) + " are read");
  }
}

struct JpegError {
  jpeg_error_mgr manager;  // first: libjpeg knows only this part
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX] = {};

  static void Exit(j_common_ptr info) {
    JpegError* self = reinterpret_cast<JpegError*>(info->err);
    info->err->format_message(info, self->message);
    std::longjmp(self->jump, 1);
  }
  static void Silent(j_common_ptr) {}
};

// The orientation tag (0x0112) in an APP1 marker, 1 where there is none. Source: Exif 2.3, 4.6.2 and 4.6.4.
int ExifOrientation(const std::uint8_t* data, std::size_t size) {
  if (size < 14 || std::memcmp(data, "Exif\0\0", 6) != 0) return 1;
  const std::uint8_t* tiff = data + 6;
  const std::size_t length = size - 6;
  const bool is_little = tiff[0] == 'I';
  const auto number = [&](std::size_t offset, int bytes) {
    std::uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= std::uint32_t{tiff[offset + i]} << 8 * (is_little ? i : bytes - 1 - i);
    return value;
  };
  const std::size_t directory = number(4, 4);
  if (directory + 2 > length) return 1;
  const std::size_t num_entries = number(directory, 2);
  for (std::size_t i = 0; i < num_entries; ++i) {
    const std::size_t entry = directory + 2 + 12 * i;
    if (entry + 12 > length) return 1;
    if (number(entry, 2) == 0x0112) {
      const std::uint32_t orientation = number(entry + 8, 2);
      return orientation >= 1 && orientation <= 8 ? static_cast<int>(orientation) : 1;
    }
  }
  return 1;
}

// Orientations 2, 3 and 4 mirror columns, both and rows; 5 to 8 are 1, 4, 2 and 3 after exchanging rows and columns.
Image Upright(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool is_turned = orientation >= 5;
  const bool mirrors_rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool mirrors_columns = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Image upright{is_turned ? image.width : image.height, is_turned ? image.height : image.width, {}};
  upright.pixels.resize(image.pixels.size());
  for (int y = 0; y < upright.height; ++y) {
    for (int x = 0; x < upright.width; ++x) {
      const int row = is_turned ? x : y, column = is_turned ? y : x;  // in the stored image, before mirroring it
      const std::size_t from_row = mirrors_rows ? image.height - 1 - row : row;
      const std::size_t from_column = mirrors_columns ? image.width - 1 - column : column;
      std::memcpy(&upright.pixels[3 * (static_cast<std::size_t>(y) * upright.width + x)],
                  &image.pixels[3 * (from_row * image.width + from_column)], 3);
    }
  }
  return upright;
}

Image ReadJpeg(std::FILE* file, const std::string& path) {
  jpeg_decompress_struct info;
  JpegError error;
  Image image;
  volatile int orientation = 1;  // its value must survive the jump
  info.err = jpeg_std_error(&error.manager);
  error.manager.error_exit = JpegError::Exit;
  error.manager.output_message = JpegError::Silent;
  if (setjmp(error.jump)) {
    jpeg_destroy_decompress(&info);
    throw InputError(path + ": broken JPEG (" + error.message + ")");
  }
  jpeg_create_decompress(&info);
  jpeg_stdio_src(&info, file);
  jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&info, TRUE);
  for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr && orientation == 1; marker = marker->next) {
    orientation = ExifOrientation(marker->data, marker->data_length);
  }
  if (std::uint64_t{info.image_width} * info.image_height > kMostPixels) {
    jpeg_destroy_decompress(&info);
    CheckSize(info.image_width, info.image_height, path);
  }
  info.out_color_space = JCS_RGB;
  jpeg_start_decompress(&info);
  image.height = static_cast<int>(info.output_height);
  image.width = static_cast<int>(info.output_width);
  image.pixels.resize(std::size_t{3} * image.height * image.width);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = &image.pixels[std::size_t{3} * info.output_scanline * image.width];
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return Upright(std::move(image), orientation);
}

void PngError(png_structp png, png_const_charp message) {
  std::snprintf(static_cast<char*>(png_get_error_ptr(png)), 200, "%s", message);
  std::longjmp(png_jmpbuf(png), 1);
}

void PngSilent(png_structp, png_const_charp) {}

Image ReadPng(std::FILE* file, const std::string& path) {
  char message[200] = {};
  Image image;
  std::vector<png_bytep> rows;
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, message, PngError, PngSilent);
  png_infop info = png_create_info_struct(png);
  if (setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, nullptr);
    throw InputError(path + ": broken PNG (" + message + ")");
  }
  png_init_io(png, file);
  png_read_info(png, info);
  const std::uint64_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  if (width * height > kMostPixels) {
    png_destroy_read_struct(&png, &info, nullptr);
    CheckSize(width, height, path);
  }
  png_set_strip_16(png);
  png_set_expand(png);
  png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  image.height = static_cast<int>(height);
  image.width = static_cast<int>(width);
  image.pixels.resize(3 * height * width);
  for (std::uint64_t y = 0; y < height; ++y) rows.push_back(&image.pixels[3 * y * width]);
  png_read_image(png, rows.data());
  png_destroy_read_struct(&png, &info, nullptr);
  return image;
}

void WriteJpeg(const Image& image, std::FILE* file, const std::string& path) {
  jpeg_compress_struct info;
  JpegError error;
  info.err = jpeg_std_error(&error.manager);
  error.manager.error_exit = JpegError::Exit;
  if (setjmp(error.jump)) {
    jpeg_destroy_compress(&info);
    throw InputError(path + " cannot be written (" + error.message + ")");
  }
  jpeg_create_compress(&info);
  jpeg_stdio_dest(&info, file);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, kJpegQuality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(&image.pixels[std::size_t{3} * info.next_scanline * image.width]);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
}

void WritePng(const Image& image, std::FILE* file, const std::string& path) {
  png_image info{};
  info.version = PNG_IMAGE_VERSION;
  info.width = static_cast<png_uint_32>(image.width);
  info.height = static_cast<png_uint_32>(image.height);
  info.format = PNG_FORMAT_RGB;
  if (!png_image_write_to_stdio(&info, file, 0, image.pixels.data(), 0, nullptr)) {
    throw InputError(path + " cannot be written (" + info.message + ")");
  }
}

bool EndsIn(const std::string& path, const std::string& suffix) {
  return path.size() >= suffix.size() && std::equal(suffix.rbegin(), suffix.rend(), path.rbegin(), [](char expected, char got) {
           return expected == std::tolower(static_cast<unsigned char>(got));
         });
}

// For each output pixel the input pixels before and after it, and the weight of the latter.
struct Position {
  int before, after;
  float weight;
};

std::vector<Position> Positions(int input_size, int output_size) {
  const float step = static_cast<float>(input_size) / static_cast<float>(output_size);
  std::vector<Position> positions;
  for (int i = 0; i < output_size; ++i) {
    const float position = static_cast<float>(i) * step, floor = std::floor(position);
    const int before = std::min(static_cast<int>(floor), input_size - 1);
    positions.push_back({before, std::min(before + 1, input_size - 1), position - floor});
  }
  return positions;
}

float Mix(float first, float second, float weight) { return first + (second - first) * weight; }

}  // namespace

Image ReadImage(const std::string& path) {
  File file = Open(path, "rb");
  std::uint8_t start[8] = {};
  const std::size_t num_read = std::fread(start, 1, sizeof start, file.get());
  std::rewind(file.get());
  if (num_read == 8 && png_sig_cmp(start, 0, 8) == 0) return ReadPng(file.get(), path);
  if (num_read >= 3 && start[0] == 0xFF && start[1] == 0xD8 && start[2] == 0xFF) return ReadJpeg(file.get(), path);
  throw InputError(path + " is neither a JPEG nor a PNG");
}

void WriteImage(const Image& image, const std::string& path) {
  const std::string temporary = path + ".part";
  try {
    File file = Open(temporary, "wb");
    if (EndsIn(path, ".jpg") || EndsIn(path, ".jpeg")) {
      WriteJpeg(image, file.get(), path);
    } else {
      WritePng(image, file.get(), path);
    }
    if (std::fflush(file.get()) != 0) throw InputError(path + " cannot be written");
  } catch (const InputError&) {
    std::remove(temporary.c_str());
    throw;
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) throw InputError(path + " cannot be written");
}

std::vector<float> ResizeBilinear(const Image& image, int height, int width) {
  const std::vector<Position> rows = Positions(image.height, height), columns = Positions(image.width, width);
  std::vector<float> resized(std::size_t{3} * height * width);
  float* out = resized.data();
  for (const Position& row : rows) {
    const std::uint8_t* upper = &image.pixels[std::size_t{3} * row.before * image.width];
    const std::uint8_t* lower = &image.pixels[std::size_t{3} * row.after * image.width];
    for (const Position& column : columns) {
      for (int channel = 0; channel < 3; ++channel) {
        const int left = 3 * column.before + channel, right = 3 * column.after + channel;
        *out++ = Mix(Mix(upper[left], upper[right], column.weight), Mix(lower[left], lower[right], column.weight), row.weight);
      }
    }
  }
  return resized;
}
