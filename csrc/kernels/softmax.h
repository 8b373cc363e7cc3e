// Softmax, log-softmax and log-sum-exp along the middle axis of (outer, n, inner) arrays: one outer slice of
// rows at a time, either inner == 1 (`row`) or a run of columns (`columns`).
//
// Scores of -inf are masked: they get probability 0 and send no gradient. When all are masked the
// probabilities are 0, the log-sum-exp and the log-probabilities -inf. A score of +inf or NaN gives NaN.
#pragma once

#include <cstdint>

namespace chainrule {

enum class SoftmaxOutput { softmax, log_softmax, logsumexp };

template <class T>
struct SoftmaxKernels {
  // x[i * stride + j] for i < n, j < columns. The output has the layout of the input, or for logsumexp is
  // out[j]. `scratch` holds 2 * columns values.
  void (*forward)(SoftmaxOutput output, const T* x, int64_t n, int64_t stride, int64_t columns, T* out,
                  T* scratch);
  // From the output y and the gradient g of softmax or log_softmax, the gradient of the scores.
  void (*backward)(SoftmaxOutput output, const T* y, const T* g, int64_t n, int64_t stride, int64_t columns,
                   T* out, T* scratch);
};

}  // namespace chainrule
