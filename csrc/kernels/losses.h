// Losses of scores (N, C) against labels (N,), a range of rows at a time. Labels were checked to lie in [0,
// C).
#pragma once

#include <cstdint>

namespace chainrule {

template <class T>
struct LossKernels {
  // losses[i] = (1 - s) * (lse_i - x[i][label]) + s / C * sum_j (lse_i - x[i][j]), s the label smoothing
  void (*cross_entropy)(const T* x, const int64_t* labels, int64_t rows, int64_t classes, T smoothing,
                        T* losses);
  // dx[i] = (softmax(x[i]) - target_i) * gradients[i * step]
  void (*cross_entropy_gradient)(const T* x, const int64_t* labels, int64_t rows, int64_t classes,
                                 T smoothing, const T* gradients, int64_t step, T* dx);
  // losses[i] = sum over j != label of max(0, x[i][j] - x[i][label] + delta), or of its square
  void (*hinge)(const T* x, const int64_t* labels, int64_t rows, int64_t classes, T delta, bool squared,
                T* losses);
  void (*hinge_gradient)(const T* x, const int64_t* labels, int64_t rows, int64_t classes, T delta,
                         bool squared, const T* gradients, int64_t step, T* dx);
};

}  // namespace chainrule
