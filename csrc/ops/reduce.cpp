#include "ops/reduce.h"

#include <algorithm>

#include "kernels/table.h"
#include "runtime/allocator.h"
#include "runtime/checked.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

constexpr int64_t values_per_chunk = 1 << 15;
constexpr int64_t columns_per_chunk = 256;

// Runs body(outer index, first column, columns) over all columns, in chunks worth handing out.
template <class Body>
void over_columns(const ReduceShape& s, const Body& body) {
  const int64_t strips = (s.inner + columns_per_chunk - 1) / columns_per_chunk;
  const int64_t items = s.outer * strips;
  const int64_t width = std::min(s.inner, columns_per_chunk);
  const int64_t chunks = chunk_count(items, s.n * width, values_per_chunk);
  parallel_for(chunks, [&](int64_t chunk) {
    for (int64_t item = items * chunk / chunks; item < items * (chunk + 1) / chunks; ++item) {
      int64_t first = item % strips * columns_per_chunk;
      body(item / strips, first, std::min(columns_per_chunk, s.inner - first));
    }
  });
}

void check_indices(const char* operation, const int64_t* indices, const ReduceShape& s) {
  for (int64_t i = 0; i < s.outer * s.inner; ++i)
    if (indices[i] < 0 || indices[i] >= s.n)
      throw std::invalid_argument(std::string(operation) + ": index " + std::to_string(indices[i]) +
                                  " at position " + std::to_string(i) + " is not in [0, " +
                                  std::to_string(s.n) + ")");
}

// One contiguous row, in partial sums of fixed length that are added in order.
template <class T>
void sum_row(const T* x, int64_t n, T* out) {
  auto kernel = kernels<T>().reduce.sum;
  const int64_t partials = (n + values_per_chunk - 1) / values_per_chunk;
  if (partials <= 1) {
    *out = static_cast<T>(kernel(x, n));
    return;
  }
  Scratch<double> sums(partials);
  parallel_for(partials, [&](int64_t i) {
    int64_t first = i * values_per_chunk;
    sums[i] = kernel(x + first, std::min(values_per_chunk, n - first));
  });
  double total = 0;
  for (int64_t i = 0; i < partials; ++i) total += sums[i];
  *out = static_cast<T>(total);
}

// Columns of one outer slice: partial sums of rows_per_partial rows, added in order.
template <class T>
void sum_columns(const T* x, const ReduceShape& s, T* out) {
  auto kernel = kernels<T>().reduce.sum_rows;
  const int64_t partials = (s.n + rows_per_partial - 1) / rows_per_partial;
  if (partials <= 1) {
    over_columns(s, [&](int64_t o, int64_t first, int64_t columns) {
      kernel(x + o * s.n * s.inner + first, s.n, s.inner, out + o * s.inner + first, columns);
    });
    return;
  }
  Scratch<T> sums(checked_multiply(partials, s.inner, "sum"));
  for (int64_t o = 0; o < s.outer; ++o) {
    const T* slice = x + o * s.n * s.inner;
    const int64_t chunks = chunk_count(partials, rows_per_partial * s.inner, values_per_chunk);
    parallel_for(chunks, [&](int64_t chunk) {
      for (int64_t i = partials * chunk / chunks; i < partials * (chunk + 1) / chunks; ++i) {
        int64_t first = i * rows_per_partial;
        kernel(slice + first * s.inner, std::min(rows_per_partial, s.n - first), s.inner,
               sums.data() + i * s.inner, s.inner);
      }
    });
    kernel(sums.data(), partials, s.inner, out + o * s.inner, s.inner);
  }
}

}  // namespace

void check_reduce_shape(const char* operation, const ReduceShape& shape, int64_t elements) {
  if (element_count({shape.outer, shape.n, shape.inner}, operation) != elements)
    throw std::invalid_argument(std::string(operation) +
                                ": (outer, n, inner) = " + shape_text({shape.outer, shape.n, shape.inner}) +
                                " does not hold " + std::to_string(elements) + " elements");
}

template <class T>
void reduce_sum(const T* x, const ReduceShape& s, T* out) {
  if (s.n == 0) {
    std::fill(out, out + s.outer * s.inner, T(0));
  } else if (s.inner != 1) {
    sum_columns(x, s, out);
  } else if (s.n > values_per_chunk) {
    for (int64_t o = 0; o < s.outer; ++o) sum_row(x + o * s.n, s.n, out + o);
  } else {
    auto kernel = kernels<T>().reduce.sum;
    const int64_t chunks = chunk_count(s.outer, s.n, values_per_chunk);
    parallel_for(chunks, [&](int64_t chunk) {
      for (int64_t o = s.outer * chunk / chunks; o < s.outer * (chunk + 1) / chunks; ++o)
        out[o] = static_cast<T>(kernel(x + o * s.n, s.n));
    });
  }
}

template <class T>
void reduce_extreme(Extreme extreme, const T* x, const ReduceShape& s, T* values, int64_t* indices) {
  const char* name = extreme == Extreme::max ? "max" : "min";
  if (s.outer * s.inner == 0) return;
  if (s.n == 0)
    throw std::invalid_argument(std::string(name) + ": no values along the reduced axes: it has no " + name +
                                "imum");
  const auto& kernel = kernels<T>().reduce;
  if (s.inner == 1) {
    auto row = extreme == Extreme::max ? kernel.max : kernel.min;
    const int64_t chunks = chunk_count(s.outer, s.n, values_per_chunk);
    parallel_for(chunks, [&](int64_t chunk) {
      for (int64_t o = s.outer * chunk / chunks; o < s.outer * (chunk + 1) / chunks; ++o)
        row(x + o * s.n, s.n, values + o, indices + o);
    });
  } else {
    auto rows = extreme == Extreme::max ? kernel.max_rows : kernel.min_rows;
    over_columns(s, [&](int64_t o, int64_t first, int64_t columns) {
      rows(x + o * s.n * s.inner + first, s.n, s.inner, values + o * s.inner + first,
           indices + o * s.inner + first, columns);
    });
  }
}

template <class T>
void scatter(const T* g, const int64_t* indices, const ReduceShape& s, T* out) {
  check_indices("scatter", indices, s);
  std::fill(out, out + s.outer * s.n * s.inner, T(0));
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.inner; ++i)
      out[(o * s.n + indices[o * s.inner + i]) * s.inner + i] = g[o * s.inner + i];
}

template <class T>
void gather(const T* x, const int64_t* indices, const ReduceShape& s, T* out) {
  check_indices("gather", indices, s);
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.inner; ++i)
      out[o * s.inner + i] = x[(o * s.n + indices[o * s.inner + i]) * s.inner + i];
}

#define CHAINRULE_INSTANTIATE(T)                                                        \
  template void reduce_sum<T>(const T*, const ReduceShape&, T*);                        \
  template void reduce_extreme<T>(Extreme, const T*, const ReduceShape&, T*, int64_t*); \
  template void scatter<T>(const T*, const int64_t*, const ReduceShape&, T*);           \
  template void gather<T>(const T*, const int64_t*, const ReduceShape&, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
