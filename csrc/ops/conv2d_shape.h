// The geometry of two-dimensional convolution and pooling: one place that checks it, with arithmetic that
// cannot wrap.
#pragma once

#include <string>

#include "runtime/checked.h"

namespace chainrule {

// One spatial axis: a window of `kernel` samples `dilation` apart slides over `input` values, `before` and
// `after` zeros beside them, by `stride`.
struct WindowAxis {
  int64_t input = 1, kernel = 1, stride = 1, dilation = 1, before = 0, after = 0;

  // From the window's first sample to its last, both included.
  int64_t span() const { return (kernel - 1) * dilation + 1; }
  int64_t output() const { return (input + before + after - span()) / stride + 1; }
};

// Throws std::invalid_argument `operation: ...` unless the axis is sound: no negative size, kernel, stride
// and dilation of at least 1, padding that is not negative, a window that fits, nothing that overflows.
// `axis` is "height" or "width".
void check_window(const char* operation, const char* axis, const WindowAxis& window);

// x (batch, height.input, width.input, channels), weights (height.kernel, width.kernel, channels / groups,
// filters), y (batch, height.output(), width.output(), filters).
struct Conv2dShape {
  int64_t batch = 1, channels = 1, filters = 1, groups = 1;
  WindowAxis height, width;

  int64_t group_channels() const { return channels / groups; }
  int64_t group_filters() const { return filters / groups; }
  Shape x() const { return {batch, height.input, width.input, channels}; }
  Shape weights() const { return {height.kernel, width.kernel, group_channels(), filters}; }
  Shape y() const { return {batch, height.output(), width.output(), filters}; }
  // Multiply-adds of the forward pass.
  int64_t work() const {
    return batch * height.output() * width.output() * filters * height.kernel * width.kernel *
           group_channels();
  }
};

// Throws std::invalid_argument unless all sizes are sound and no array or count of multiply-adds overflows.
void check_conv2d(const char* operation, const Conv2dShape& shape);

}  // namespace chainrule
