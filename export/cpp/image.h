// JPEG and PNG files as upright RGB pixels, and the resize of training.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

struct Image {
  int height = 0;
  int width = 0;
  std::vector<std::uint8_t> pixels;  // [height, width, 3], RGB
};

// Reads a JPEG or PNG, told by its content. The EXIF orientation of a JPEG is applied, transparency is dropped.
// Throws InputError: it is none, broken, or has more than 178 million pixels.
Image ReadImage(const std::string& path);

// Writes JPEG (.jpg, .jpeg; quality 92) or PNG (any other suffix), whole or not at all. Throws InputError.
void WriteImage(const Image& image, const std::string& path);

// TensorFlow 1's bilinear resize (align_corners=False, half_pixel_centers=False), as the models are trained: output pixel i lies at
// i * input size / output size. Returns [height, width, 3], 0 to 255. Source: tensorflow/core/kernels/image/resize_bilinear_op.cc
std::vector<float> ResizeBilinear(const Image& image, int height, int width);
