#include "kernels/losses.h"

#include "kernels/softmax_row.h"
#include "kernels/table.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

template <class T>
void cross_entropy(const T* x, const int64_t* labels, int64_t rows, int64_t classes, T smoothing, T* losses) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* row = x + i * classes;
    // ln sum_k e^(x_k - x_j) = (shift - x_j) + ln sum: first the difference of the scores, which may be
    // large, so that the logarithm keeps its digits.
    const RowSum<T> s = shifted_exponentials<T>(row, classes, nullptr);
    const T log_total = log_scalar(s.sum);
    T loss = (s.shift - row[labels[i]]) + log_total;
    if (smoothing != T(0)) {
      T sum = 0;
      for (int64_t j = 0; j < classes; ++j) sum += (s.shift - row[j]) + log_total;
      loss = (T(1) - smoothing) * loss + smoothing / static_cast<T>(classes) * sum;
    }
    losses[i] = loss;
  }
}

template <class T>
void cross_entropy_gradient(const T* x, const int64_t* labels, int64_t rows, int64_t classes, T smoothing,
                            const T* gradients, int64_t step, T* dx) {
  for (int64_t i = 0; i < rows; ++i) {
    T* out = dx + i * classes;
    T g = gradients[i * step];
    RowSum<T> s = shifted_exponentials<T>(x + i * classes, classes, out);
    T factor = s.sum == T(0) ? T(0) : g / s.sum;
    T everywhere = g * smoothing / static_cast<T>(classes);
    for_vectors<T>(classes,
                   [&](int64_t j, auto get, auto put) { put(out + j, get(out + j) * factor - everywhere); });
    out[labels[i]] -= g * (T(1) - smoothing);
  }
}

// max(0, margin) that lets NaN through.
template <class T>
inline T positive_part(T margin) {
  return margin <= T(0) ? T(0) : margin;
}

template <class T>
void hinge(const T* x, const int64_t* labels, int64_t rows, int64_t classes, T delta, bool squared,
           T* losses) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* row = x + i * classes;
    T correct = row[labels[i]], loss = 0;
    for (int64_t j = 0; j < classes; ++j) {
      if (j == labels[i]) continue;
      T violation = positive_part(row[j] - correct + delta);
      loss += squared ? violation * violation : violation;
    }
    losses[i] = loss;
  }
}

template <class T>
void hinge_gradient(const T* x, const int64_t* labels, int64_t rows, int64_t classes, T delta, bool squared,
                    const T* gradients, int64_t step, T* dx) {
  for (int64_t i = 0; i < rows; ++i) {
    const T* row = x + i * classes;
    T* out = dx + i * classes;
    T correct = row[labels[i]], g = gradients[i * step], total = 0;
    for (int64_t j = 0; j < classes; ++j) {
      T margin = row[j] - correct + delta;
      T slope = squared ? 2 * positive_part(margin) : margin > T(0) ? T(1) : margin == margin ? T(0) : margin;
      if (j == labels[i]) slope = 0;
      total += slope;
      out[j] = g * slope;
    }
    out[labels[i]] = -g * total;
  }
}

template <class T>
void fill(LossKernels<T>& kernels) {
  kernels = {cross_entropy<T>, cross_entropy_gradient<T>, hinge<T>, hinge_gradient<T>};
}

}  // namespace

void fill_losses(KernelTable& table) {
  fill(table.float32.losses);
  fill(table.float64.losses);
}

}  // namespace chainrule::CHAINRULE_ISA
