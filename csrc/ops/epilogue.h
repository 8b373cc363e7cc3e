// What products and convolutions share beside their operands.
#pragma once

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

}  // namespace chainrule
