#include "ops/conv2d_shape.h"

namespace chainrule {

namespace {

std::invalid_argument wrong(const char* operation, const std::string& what) {
  return std::invalid_argument(std::string(operation) + ": " + what);
}

}  // namespace

void check_window(const char* operation, const char* axis, const WindowAxis& w) {
  const std::string name(axis);
  auto require = [&](bool holds, const char* what, int64_t value, const char* range) {
    if (!holds)
      throw wrong(operation,
                  std::string(what) + " " + std::to_string(value) + " along the " + name + ": give " + range);
  };
  require(w.input >= 0, "size", w.input, "0 or more");
  require(w.kernel >= 1, "kernel size", w.kernel, "1 or more");
  require(w.stride >= 1, "stride", w.stride, "1 or more");
  require(w.dilation >= 1, "dilation", w.dilation, "1 or more");
  require(w.before >= 0, "padding", w.before, "0 or more");
  require(w.after >= 0, "padding", w.after, "0 or more");
  const int64_t span = checked_add(checked_multiply(w.kernel - 1, w.dilation, operation), 1, operation);
  const int64_t padded = checked_add(checked_add(w.input, w.before, operation), w.after, operation);
  if (span > padded)
    throw wrong(operation, "a kernel of " + std::to_string(w.kernel) + " with dilation " +
                               std::to_string(w.dilation) + " spans " + std::to_string(span) +
                               ", the padded " + name + " is " + std::to_string(padded) +
                               ": pad more or use a smaller kernel");
}

void check_conv2d(const char* operation, const Conv2dShape& s) {
  if (s.batch < 0 || s.channels < 0 || s.filters < 0)
    throw wrong(operation,
                "negative size in x " + shape_text({s.batch, s.height.input, s.width.input, s.channels}));
  if (s.groups < 1 || s.channels % s.groups != 0 || s.filters % s.groups != 0)
    throw wrong(operation, std::to_string(s.groups) + " groups do not divide " + std::to_string(s.channels) +
                               " channels and " + std::to_string(s.filters) + " filters evenly");
  check_window(operation, "height", s.height);
  check_window(operation, "width", s.width);
  const int64_t outputs = element_count(s.y(), operation);
  element_count(s.x(), operation);
  const int64_t taps = element_count({s.height.kernel, s.width.kernel, s.group_channels()}, operation);
  element_count(s.weights(), operation);
  // Every offset that a kernel computes stays below these; a factor 64 leaves room for blocks and bytes.
  checked_multiply(checked_multiply(outputs, taps, operation), 64, operation);
  const int64_t padded = element_count({s.height.input + s.height.before + s.height.after,
                                        s.width.input + s.width.before + s.width.after, s.channels},
                                       operation);
  checked_multiply(padded, 64, operation);
  // Padding is copied out beside the image, so an image that is nearly all padding would take memory without
  // end.
  constexpr int64_t always_allowed = int64_t{1} << 26, most_times = 64;
  const int64_t image = s.height.input * s.width.input * s.channels;
  if (padded > always_allowed && padded / most_times > image)
    throw wrong(operation, "padding makes an image of " + std::to_string(s.height.input) + " x " +
                               std::to_string(s.width.input) + " one of " +
                               std::to_string(s.height.input + s.height.before + s.height.after) + " x " +
                               std::to_string(s.width.input + s.width.before + s.width.after) +
                               ", more than " + std::to_string(most_times) + " times its size: pad less");
}

}  // namespace chainrule
