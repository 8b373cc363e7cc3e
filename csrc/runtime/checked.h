// Sizes that cannot wrap, and the one way that errors are worded.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace chainrule {

using Shape = std::vector<int64_t>;

inline int64_t checked_multiply(int64_t a, int64_t b, const char* operation) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product))
    throw std::invalid_argument(std::string(operation) + ": " + std::to_string(a) + " x " +
                                std::to_string(b) + " elements overflow 64 bits: use smaller shapes");
  return product;
}

inline int64_t checked_add(int64_t a, int64_t b, const char* operation) {
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum))
    throw std::invalid_argument(std::string(operation) + ": " + std::to_string(a) + " + " +
                                std::to_string(b) + " overflows 64 bits: use smaller shapes");
  return sum;
}

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t unit) { return divide_up(a, unit) * unit; }

// The number of elements of a shape. As in NumPy, sizes of 0 do not hide what the others overflow: the
// product of any of the sizes fits as well.
inline int64_t element_count(const Shape& shape, const char* operation) {
  int64_t count = 1;
  bool empty = false;
  for (int64_t size : shape) {
    if (size < 0)
      throw std::invalid_argument(std::string(operation) + ": negative size " + std::to_string(size));
    if (size == 0)
      empty = true;
    else
      count = checked_multiply(count, size, operation);
  }
  return empty ? 0 : count;
}

// As Python prints it: (2, 3), (4,), ().
inline std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  if (shape.size() == 1) text += ",";
  return text + ")";
}

}  // namespace chainrule
