// What products and convolutions share beside their operands.
#pragma once

#include <cstdint>

namespace chainrule {

// What is applied to each output on its way to memory.
template <class T>
struct Epilogue {
  const T* bias = nullptr;  // one value a column, or channel, of the output; or nullptr
  bool relu = false;
  // Values of the output's shape, or nullptr: where they are not positive the output is 0. The way back
  // through a relu whose result they are, for the gradient that is the output. Convolution takes it; matmul
  // does not.
  const T* mask = nullptr;
};

// How operands are multiplied: as they are, or rounded to bfloat16 where that is float32's and the shape
// allows it. Sums are float32's either way.
enum class Precision { full, bfloat16 };

// The way back through bias and relu in one pass, for `pixels` rows of `filters`: dz = dy where y > 0, else
// 0, and dbias its sum over the rows, in an order that the shape fixes.
template <class T>
void epilogue_gradient(int64_t pixels, int64_t filters, const T* dy, const T* y, T* dz, T* dbias);

}  // namespace chainrule
