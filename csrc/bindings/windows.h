// What layers' settings are to the core: the shapes of convolutions and poolings from numbers, activations
// from their names.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "bindings/arrays.h"
#include "kernels/normalise.h"
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

// What follows a normalisation: none for nothing. Throws std::invalid_argument for another name.
Activation activation_of(const char* operation, const std::optional<std::string>& name);

}  // namespace chainrule::bindings
