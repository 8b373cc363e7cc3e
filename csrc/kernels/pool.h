// Pooling of one NHWC image, a row of outputs or of inputs at a time; lanes run along the channels.
//
// An index is the place of a maximum in its window, row * kernel_width + column: one byte where windows allow
// it.
#pragma once

#include <cstdint>

namespace chainrule {

struct PoolGeometry {
  int64_t height, width, channels;  // of the image
  int64_t out_height, out_width;
  int64_t kernel_height, kernel_width, stride_height, stride_width;
  int64_t top, left;                    // padding before the data; each window meets at least one pixel
  bool count_include_pad;               // whether an average divides by the whole window
  int64_t padded_height, padded_width;  // the padded image: what a window that counts padding may count
};

template <class T, class Index>
struct MaxPoolKernels {
  // Values and indices of output row `row`. The first of equal values; NaN wins.
  void (*forward)(const PoolGeometry& p, const T* image, int64_t row, T* values, Index* indices);
  // Row `row` of the image's gradient: each pixel adds, in the windows' order, the gradients whose index it
  // is.
  void (*scatter)(const PoolGeometry& p, const T* gradient, const Index* indices, int64_t row, T* out);
  // Output row `row`: of each window the value at its index.
  void (*gather)(const PoolGeometry& p, const T* image, const Index* indices, int64_t row, T* out);
};

template <class T>
struct PoolKernels {
  MaxPoolKernels<T, uint8_t> max;
  MaxPoolKernels<T, int32_t> max_wide;  // windows of more than 256 pixels
  void (*average)(const PoolGeometry& p, const T* image, int64_t row, T* out);
  // The adjoint of `average`: row `row` of the image's gradient.
  void (*average_adjoint)(const PoolGeometry& p, const T* gradient, int64_t row, T* out);
};

template <class T, class Index>
const MaxPoolKernels<T, Index>& max_pool_kernels(const PoolKernels<T>& kernels) {
  if constexpr (sizeof(Index) == 1)
    return kernels.max;
  else
    return kernels.max_wide;
}

}  // namespace chainrule
