#include "kernels/reduce.h"

#include "kernels/table.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// Values that one block sums in T before the total goes on in float64: keeps the rounding error of a long
// float32 sum near that of one block, of four additions a lane.
constexpr int64_t block = 16 * lanes<float>;

template <class T>
T sum_block(const T* x, int64_t n) {
  constexpr int L = lanes<T>;
  Vec<T> parts[4] = {};  // four chains hide the latency of the addition
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L)
    for (int k = 0; k < 4; ++k) {
      fetch_ahead(x + i + k * L);
      parts[k] += load(x + i + k * L);
    }
  for (; i + L <= n; i += L) parts[0] += load(x + i);
  if (i < n) parts[1] += load_first(x + i, n - i);
  return sum_lanes<T>((parts[0] + parts[1]) + (parts[2] + parts[3]));
}

template <class T>
double sum(const T* x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i += block) total += sum_block(x + i, n - i < block ? n - i : block);
  return total;
}

template <class T>
void sum_rows(const T* x, int64_t rows, int64_t row_stride, T* out, int64_t columns) {
  constexpr int L = lanes<T>;
  int64_t j = 0;
  for (; j + 4 * L <= columns; j += 4 * L) {
    Vec<T> parts[4] = {};
    for (int64_t i = 0; i < rows; ++i)
      for (int k = 0; k < 4; ++k) {
        const T* from = x + i * row_stride + j + k * L;
        __builtin_prefetch(from + (i + 16 < rows ? 16 * row_stride : 0));
        parts[k] += load(from);
      }
    for (int k = 0; k < 4; ++k) store(out + j + k * L, parts[k]);
  }
  for (; j < columns; j += L) {
    int64_t width = columns - j < L ? columns - j : L;
    Vec<T> part = {};
    if (width == L)
      for (int64_t i = 0; i < rows; ++i) part += load(x + i * row_stride + j);
    else
      for (int64_t i = 0; i < rows; ++i) part += load_first(x + i * row_stride + j, width);
    store_first<T>(out + j, part, width);
  }
}

template <class T>
struct Greater {
  static bool of(T a, T b) { return a > b; }
  static Vec<T> best(Vec<T> a, Vec<T> b) { return maximum<T>(a, b); }
};
template <class T>
struct Less {
  static bool of(T a, T b) { return a < b; }
  static Vec<T> best(Vec<T> a, Vec<T> b) { return minimum<T>(a, b); }
};

template <class T, class Better>
void extreme(const T* x, int64_t n, T* value, int64_t* index) {
  constexpr int L = lanes<T>;
  // First the value, by vectors; then the first place that holds it.
  T best = x[0];
  int64_t i = 0;
  if (n >= L) {
    Vec<T> running = load(x);
    for (i = L; i + L <= n; i += L) running = Better::best(running, load(x + i));
    T parts[L];
    store(parts, running);
    best = parts[0];
    for (int k = 1; k < L; ++k)
      if (Better::of(parts[k], best) || parts[k] != parts[k]) best = parts[k];
  }
  for (; i < n; ++i)
    if (Better::of(x[i], best) || x[i] != x[i]) best = x[i];
  *value = best;
  int64_t at = 0;
  if (best != best)
    while (at < n - 1 && x[at] == x[at]) ++at;
  else
    while (at < n - 1 && x[at] != best) ++at;
  *index = at;
}

template <class T, class Better>
void extreme_rows(const T* x, int64_t rows, int64_t row_stride, T* value, int64_t* index, int64_t columns) {
  for (int64_t j = 0; j < columns; ++j) {
    value[j] = x[j];
    index[j] = 0;
  }
  for (int64_t i = 1; i < rows; ++i) {
    const T* row = x + i * row_stride;
    for (int64_t j = 0; j < columns; ++j) {
      bool better = Better::of(row[j], value[j]) || (row[j] != row[j] && value[j] == value[j]);
      value[j] = better ? row[j] : value[j];
      index[j] = better ? i : index[j];
    }
  }
}

template <class T>
void fill(ReduceKernels<T>& kernels) {
  kernels = {sum<T>,
             sum_rows<T>,
             extreme<T, Greater<T>>,
             extreme<T, Less<T>>,
             extreme_rows<T, Greater<T>>,
             extreme_rows<T, Less<T>>};
}

}  // namespace

void fill_reduce(KernelTable& table) {
  fill(table.float32.reduce);
  fill(table.float64.reduce);
}

}  // namespace chainrule::CHAINRULE_ISA
