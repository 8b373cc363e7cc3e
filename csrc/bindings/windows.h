// The shapes of convolutions and poolings from the numbers that Python gives.
#pragma once

#include <array>

#include "bindings/arrays.h"
#include "ops/conv2d_shape.h"
#include "ops/pool.h"

namespace chainrule::bindings {

// Stride (height, width), padding (top, bottom, left, right), dilation (height, width), groups.
using Conv2dWindow = std::array<int64_t, 9>;

// Throws std::invalid_argument unless they fit.
Conv2dShape conv2d_shape(const char* operation, const Shape& x, const Shape& weights,
                         const Conv2dWindow& window);

// Window (height, width), stride (height, width), padding (height, width), and whether ceil_mode or
// count_include_pad is on.
using Pool2dWindow = std::array<int64_t, 7>;

// Throws std::invalid_argument unless they fit.
Pool2dShape pool2d_shape(const char* operation, const Shape& x, const Pool2dWindow& window, bool is_max);

}  // namespace chainrule::bindings
