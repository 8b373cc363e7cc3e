#include "kernels/softmax.h"

#include "kernels/softmax_row.h"
#include "kernels/table.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

template <class T>
void forward_row(SoftmaxOutput output, const T* x, int64_t n, T* out) {
  if (output == SoftmaxOutput::softmax) {
    RowSum<T> s = shifted_exponentials(x, n, out);
    T factor = s.sum > T(0) ? T(1) / s.sum : s.sum == T(0) ? T(0) : s.sum;
    for_vectors<T>(n, [&](int64_t i, auto get, auto put) { put(out + i, get(out + i) * factor); });
    return;
  }
  RowSum<T> s = shifted_exponentials<T>(x, n, nullptr);
  T log_total = log_scalar(s.sum);
  if (output == SoftmaxOutput::logsumexp) {
    *out = log_total + s.shift;
  } else {
    // Where everything is masked the sum is 0, and -inf - (-inf) must not become NaN.
    if (log_total == -infinity<T>) log_total = 0;
    // The difference of the scores first: it may be large, and the logarithm keeps its digits.
    for_vectors<T>(n,
                   [&](int64_t i, auto get, auto put) { put(out + i, (get(x + i) - s.shift) - log_total); });
  }
}

// A run of columns: the same steps with one lane a column, running along n.
template <class T>
void forward_columns(SoftmaxOutput output, const T* x, int64_t n, int64_t stride, int64_t columns, T* out,
                     T* largest, T* total) {
  for_vectors<T>(columns, [&](int64_t j, auto get, auto put) {
    Vec<T> top = get(x + j);
    for (int64_t i = 1; i < n; ++i) top = maximum<T>(top, get(x + i * stride + j));
    Vec<T> shift = top == -infinity<T> ? Vec<T>{} : top, sum = {};
    for (int64_t i = 0; i < n; ++i) {
      Vec<T> e = exp<T>(get(x + i * stride + j) - shift);
      sum += e;
      if (output == SoftmaxOutput::softmax) put(out + i * stride + j, e);
    }
    put(largest + j, shift);
    put(total + j, sum);
  });
  for_vectors<T>(columns, [&](int64_t j, auto get, auto put) {
    Vec<T> sum = get(total + j), shift = get(largest + j), log_total = log<T>(sum);
    if (output == SoftmaxOutput::logsumexp) {
      put(out + j, log_total + shift);
    } else if (output == SoftmaxOutput::log_softmax) {
      log_total = log_total == -infinity<T> ? Vec<T>{} : log_total;
      for (int64_t i = 0; i < n; ++i)
        put(out + i * stride + j, (get(x + i * stride + j) - shift) - log_total);
    } else {
      Vec<T> factor = sum == T(0) ? Vec<T>{} : T(1) / sum;
      for (int64_t i = 0; i < n; ++i) put(out + i * stride + j, get(out + i * stride + j) * factor);
    }
  });
}

template <class T>
void forward(SoftmaxOutput output, const T* x, int64_t n, int64_t stride, int64_t columns, T* out,
             T* scratch) {
  if (stride == 1 && columns == 1)
    forward_row(output, x, n, out);
  else
    forward_columns(output, x, n, stride, columns, out, scratch, scratch + columns);
}

// softmax:     dx = y (g - sum_k g_k y_k)
// log_softmax: dx = g - exp(y) sum_k g_k, and 0 where the score is masked
template <class T>
inline Vec<T> score_gradient(bool plain, Vec<T> y, Vec<T> g, Vec<T> total) {
  if (plain) return y * (g - total);
  return y == -infinity<T> ? Vec<T>{} : g - exp<T>(y) * total;
}

template <class T>
void backward(SoftmaxOutput output, const T* y, const T* g, int64_t n, int64_t stride, int64_t columns,
              T* out, T* scratch) {
  const bool plain = output == SoftmaxOutput::softmax;
  if (stride == 1 && columns == 1) {
    Vec<T> parts = {};
    for_vectors<T>(n,
                   [&](int64_t i, auto get, auto) { parts += plain ? get(g + i) * get(y + i) : get(g + i); });
    Vec<T> total = broadcast(sum_lanes<T>(parts));
    for_vectors<T>(n, [&](int64_t i, auto get, auto put) {
      put(out + i, score_gradient<T>(plain, get(y + i), get(g + i), total));
    });
    return;
  }
  for_vectors<T>(columns, [&](int64_t j, auto get, auto put) {
    Vec<T> total = {};
    for (int64_t i = 0; i < n; ++i) {
      int64_t at = i * stride + j;
      total += plain ? get(g + at) * get(y + at) : get(g + at);
    }
    put(scratch + j, total);
  });
  for_vectors<T>(columns, [&](int64_t j, auto get, auto put) {
    Vec<T> total = get(scratch + j);
    for (int64_t i = 0; i < n; ++i) {
      int64_t at = i * stride + j;
      put(out + at, score_gradient<T>(plain, get(y + at), get(g + at), total));
    }
  });
}

}  // namespace

void fill_softmax(KernelTable& table) {
  table.float32.softmax = {forward<float>, backward<float>};
  table.float64.softmax = {forward<double>, backward<double>};
}

}  // namespace chainrule::CHAINRULE_ISA
