// Normalisation of (rows, columns) matrices: by column over all rows (batch norm), and by row (layer norm).
#pragma once

#include <cstdint>

namespace chainrule {

// What follows batch norm in the same pass. relu lets NaN through.
enum class Activation { none, relu, gelu };

template <class T>
struct NormaliseKernels {
  // How many sums over rows are kept of each column, which are then added: four where there are few columns.
  static constexpr int64_t sums(int64_t columns) { return columns <= 32 ? 4 : 1; }

  // Of each column of a few rows: the mean, less the first row's value, and the sum of squared deviations
  // from it (two passes, so that it is never negative; and a large mean costs no digits).
  void (*moments)(const T* x, int64_t rows, int64_t columns, T* mean, T* squares);
  // y = activation((x - mean) scale + shift)
  void (*standardise)(const T* x, int64_t rows, int64_t columns, const T* mean, const T* scale,
                      const T* shift, Activation activation, T* y);
  // sum_g = sum over rows of g, sum_gx = of g (x - mean) deviation^-1, where g is first multiplied by the
  // activation's slope: what it was given is found again from x, for to read it would take longer. What gelu
  // lets pass goes to `passed`, to be read again, for that takes less than its slope a second time; none and
  // relu write nothing there.
  void (*gradient_sums)(const T* g, const T* x, Activation activation, int64_t rows, int64_t columns,
                        const T* mean, const T* inverse_deviation, const T* scale, const T* shift, T* passed,
                        T* sum_g, T* sum_gx);
  // dx = scale (g - mean_g - (x - mean) inverse_deviation mean_gx); g as above for relu, and as it is else.
  // dx may be g.
  void (*gradient)(const T* g, const T* x, bool relu, int64_t rows, int64_t columns, const T* mean,
                   const T* inverse_deviation, const T* scale, const T* shift, const T* mean_g,
                   const T* mean_gx, T* dx);
  // Each row on its own: y = (x - mean) inverse_deviation weight + bias. Writes a mean and an inverse
  // deviation a row.
  void (*rows)(const T* x, int64_t rows, int64_t columns, const T* weight, const T* bias, T epsilon, T* y,
               T* mean, T* inverse_deviation);
  // The gradient of `rows` in x; what the rows give for weight and bias is added to dweight and dbias.
  void (*rows_gradient)(const T* g, const T* x, int64_t rows, int64_t columns, const T* weight, const T* mean,
                        const T* inverse_deviation, T* dx, T* dweight, T* dbias);
};

}  // namespace chainrule
