// Frames on a picture.
#pragma once

#include "image.h"

// y_min, x_min, y_max, x_max in pixels.
using Box = std::array<double, 4>;

// A frame around the box, inside the image, as thick as a 200th of the image's longer side, in the colour that the Python commands give the
// class. class_id is from 1.
void DrawBox(Image& image, const Box& box, int class_id);
