// Sums and extremes along the middle axis of (outer, n, inner) arrays, and the gather and scatter that are
// each other's adjoints.
#pragma once

#include <cstdint>

namespace chainrule {

// Rows that one partial sum covers, whatever the shape and the number of threads: it fixes the order of sums.
constexpr int64_t rows_per_partial = 512;

template <class T>
struct ReduceKernels {
  // The sum of n contiguous values, in float64 between blocks.
  double (*sum)(const T* x, int64_t n);
  // out[j] = sum over i < rows of x[i * row_stride + j], for j < columns.
  void (*sum_rows)(const T* x, int64_t rows, int64_t row_stride, T* out, int64_t columns);
  // The extreme of n contiguous values and where it first stands. NaN wins; n >= 1.
  void (*max)(const T* x, int64_t n, T* value, int64_t* index);
  void (*min)(const T* x, int64_t n, T* value, int64_t* index);
  // The same for each of `columns` columns of rows that lie row_stride apart.
  void (*max_rows)(const T* x, int64_t rows, int64_t row_stride, T* value, int64_t* index, int64_t columns);
  void (*min_rows)(const T* x, int64_t rows, int64_t row_stride, T* value, int64_t* index, int64_t columns);
};

}  // namespace chainrule
