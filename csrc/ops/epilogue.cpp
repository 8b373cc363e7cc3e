#include "ops/epilogue.h"

#include <algorithm>

#include "kernels/table.h"
#include "runtime/allocator.h"
#include "runtime/threads.h"

namespace chainrule {

template <class T>
void epilogue_gradient(int64_t pixels, int64_t filters, const T* dy, const T* y, T* dz, T* dbias) {
  const auto& kernel = kernels<T>();
  const int64_t parts = std::max<int64_t>(chunk_count(pixels, filters), 1);
  Scratch<T> sums(parts * filters);
  if (pixels == 0) std::fill(sums.data(), sums.data() + filters, T(0));
  parallel_for(pixels == 0 ? 0 : parts, [&](int64_t part) {
    const int64_t first = pixels * part / parts, at = first * filters;
    kernel.conv2d.epilogue_gradient(dy + at, y + at, pixels * (part + 1) / parts - first, filters, dz + at,
                                    sums.data() + part * filters);
  });
  kernel.reduce.sum_rows(sums.data(), parts, filters, dbias, filters);
}

#define CHAINRULE_INSTANTIATE(T) \
  template void epilogue_gradient<T>(int64_t, int64_t, const T*, const T*, T*, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
