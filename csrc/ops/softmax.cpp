#include "ops/softmax.h"

#include <algorithm>
#include <limits>

#include "kernels/table.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

constexpr int64_t columns_per_strip = 256;
constexpr int64_t work_per_value = 8;  // an exponential, some additions

// Runs body(offset into the array, offset into a reduced array, columns, scratch) for strips of columns.
template <class T, class Body>
void over_strips(const ReduceShape& s, const Body& body) {
  const int64_t strips = (s.inner + columns_per_strip - 1) / columns_per_strip;
  const int64_t items = s.outer * strips;
  const int64_t chunks =
      chunk_count(items, s.n * std::min(s.inner, columns_per_strip) * work_per_value, 1 << 17);
  parallel_for(chunks, [&](int64_t chunk) {
    T scratch[2 * columns_per_strip];
    for (int64_t item = items * chunk / chunks; item < items * (chunk + 1) / chunks; ++item) {
      int64_t o = item / strips, first = item % strips * columns_per_strip;
      body(o * s.n * s.inner + first, o * s.inner + first, std::min(columns_per_strip, s.inner - first),
           scratch);
    }
  });
}

}  // namespace

template <class T>
void softmax_forward(SoftmaxOutput output, const T* x, const ReduceShape& s, T* out) {
  if (s.n == 0) {
    if (output == SoftmaxOutput::logsumexp)
      std::fill(out, out + s.outer * s.inner, -std::numeric_limits<T>::infinity());
    return;
  }
  auto kernel = kernels<T>().softmax.forward;
  over_strips<T>(s, [&](int64_t at, int64_t reduced_at, int64_t columns, T* scratch) {
    T* to = out + (output == SoftmaxOutput::logsumexp ? reduced_at : at);
    kernel(output, x + at, s.n, s.inner, columns, to, scratch);
  });
}

template <class T>
void softmax_backward(SoftmaxOutput output, const T* y, const T* g, const ReduceShape& s, T* out) {
  if (s.n == 0) return;
  auto kernel = kernels<T>().softmax.backward;
  over_strips<T>(s, [&](int64_t at, int64_t, int64_t columns, T* scratch) {
    kernel(output, y + at, g + at, s.n, s.inner, columns, out + at, scratch);
  });
}

#define CHAINRULE_INSTANTIATE(T)                                                     \
  template void softmax_forward<T>(SoftmaxOutput, const T*, const ReduceShape&, T*); \
  template void softmax_backward<T>(SoftmaxOutput, const T*, const T*, const ReduceShape&, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
