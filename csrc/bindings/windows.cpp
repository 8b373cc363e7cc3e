#include "bindings/windows.h"

namespace chainrule::bindings {

Conv2dShape conv2d_shape(const char* operation, const Shape& x, const Shape& weights, const Conv2dWindow& w) {
  auto fail = [&](const std::string& what) {
    return std::invalid_argument(std::string(operation) + ": x " + shape_text(x) + ", weights " +
                                 shape_text(weights) + ": " + what);
  };
  if (x.size() != 4) throw fail("x has the shape (N, height, width, channels)");
  if (weights.size() != 4) throw fail("weights have the shape (height, width, channels / groups, filters)");
  Conv2dShape s;
  s.batch = x[0];
  s.channels = x[3];
  s.filters = weights[3];
  s.groups = w[8];
  s.height = {x[1], weights[0], w[0], w[6], w[2], w[3]};
  s.width = {x[2], weights[1], w[1], w[7], w[4], w[5]};
  if (s.groups < 1) throw fail(std::to_string(s.groups) + " groups: give 1 or more");
  if (x[3] % s.groups != 0 || weights[3] % s.groups != 0)
    throw fail(std::to_string(s.groups) + " groups do not divide " + std::to_string(x[3]) + " channels and " +
               std::to_string(weights[3]) + " filters evenly");
  if (weights[2] != s.group_channels())
    throw fail("weights of " + std::to_string(weights[2]) + " channels for x of " + std::to_string(x[3]) +
               " in " + std::to_string(s.groups) + (s.groups == 1 ? " group" : " groups"));
  check_conv2d(operation, s);
  return s;
}

Pool2dShape pool2d_shape(const char* operation, const Shape& x, const Pool2dWindow& w, bool is_max) {
  if (x.size() != 4)
    throw std::invalid_argument(std::string(operation) + ": x " + shape_text(x) +
                                " is not (N, height, width, channels)");
  Pool2dShape s;
  s.batch = x[0];
  s.channels = x[3];
  s.height = {x[1], w[0], w[2], 1, w[4], w[4]};
  s.width = {x[2], w[1], w[3], 1, w[5], w[5]};
  (is_max ? s.ceil_mode : s.count_include_pad) = w[6] != 0;
  check_pool2d(operation, s);
  return s;
}

Activation activation_of(const char* operation, const std::optional<std::string>& name) {
  if (!name) return Activation::none;
  if (*name == "relu") return Activation::relu;
  if (*name == "gelu") return Activation::gelu;
  throw std::invalid_argument(std::string(operation) + ": activation '" + *name +
                              "' is not one of None, 'relu', 'gelu'");
}

}  // namespace chainrule::bindings
