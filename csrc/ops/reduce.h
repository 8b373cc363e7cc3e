// Sums and extremes along the middle axis of a contiguous (outer, n, inner) array. The caller brings any set
// of axes into that form. Sums are taken in one order whatever the number of threads.
#pragma once

#include <cstdint>

namespace chainrule {

struct ReduceShape {
  int64_t outer, n, inner;
};

// Throws std::invalid_argument when a size is negative or the product overflows or is not `elements`.
void check_reduce_shape(const char* operation, const ReduceShape& shape, int64_t elements);

// out: (outer, inner). The sum of nothing is 0.
template <class T>
void reduce_sum(const T* x, const ReduceShape& shape, T* out);

enum class Extreme { max, min };

// values, indices: (outer, inner); indices count along n, the first of equal values; NaN wins. Throws
// std::invalid_argument when n is 0.
template <class T>
void reduce_extreme(Extreme extreme, const T* x, const ReduceShape& shape, T* values, int64_t* indices);

// out (outer, n, inner) = 0 but for out[o, indices[o, i], i] = g[o, i]: the adjoint of gather. Throws
// std::invalid_argument when an index is not in [0, n).
template <class T>
void scatter(const T* g, const int64_t* indices, const ReduceShape& shape, T* out);

// out[o, i] = x[o, indices[o, i], i]. Throws as scatter does.
template <class T>
void gather(const T* x, const int64_t* indices, const ReduceShape& shape, T* out);

}  // namespace chainrule
