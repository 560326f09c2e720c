#include "drawing.h"

#include <algorithm>
#include <cmath>

namespace {

using Color = std::array<std::uint8_t, 3>;

// Steps of the golden ratio around the colour circle keep neighbouring ids far apart in hue.
Color ClassColor(int class_id) {
  const double hue = std::fmod(class_id * (std::sqrt(5.0) - 1.0) / 2.0, 1.0);
  constexpr double kSaturationAndValue[3][2] = {{0.85, 1.0}, {0.65, 0.9}, {1.0, 0.75}};
  const double saturation = kSaturationAndValue[class_id % 3][0], value = kSaturationAndValue[class_id % 3][1];
  Color color;
  for (int channel = 0; channel < 3; ++channel) {  // HSV to RGB, channel by channel: red, green and blue are a third of the circle apart
    const double offset = std::fmod(hue * 6.0 + (channel == 0 ? 5.0 : channel == 1 ? 3.0 : 1.0), 6.0);
    const double share = std::max(0.0, std::min({offset, 4.0 - offset, 1.0}));
    color[static_cast<std::size_t>(channel)] = static_cast<std::uint8_t>(std::nearbyint(255.0 * value * (1.0 - saturation * share)));
  }
  return color;
}

void Fill(Image& image, int top, int left, int bottom, int right, const Color& color) {
  for (int y = std::max(top, 0); y < std::min(bottom, image.height); ++y) {
    for (int x = std::max(left, 0); x < std::min(right, image.width); ++x) {
      std::copy(color.begin(), color.end(), image.pixels.begin() + 3 * (static_cast<std::ptrdiff_t>(y) * image.width + x));
    }
  }
}

}  // namespace

void DrawBox(Image& image, const Box& box, int class_id) {
  const int thickness = std::max(1, static_cast<int>(std::nearbyint(std::max(image.height, image.width) / 200.0)));
  const int top = static_cast<int>(box[0]), left = static_cast<int>(box[1]);
  const int bottom = static_cast<int>(std::ceil(box[2])), right = static_cast<int>(std::ceil(box[3]));
  const Color color = ClassColor(class_id);
  Fill(image, top, left, std::min(top + thickness, bottom), right, color);
  Fill(image, std::max(bottom - thickness, top), left, bottom, right, color);
  Fill(image, top, left, bottom, std::min(left + thickness, right), color);
  Fill(image, top, std::max(right - thickness, left), bottom, right, color);
}
