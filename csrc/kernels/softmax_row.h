// What softmax and the cross-entropy loss share: the largest score of a row and the sum of the shifted
// exponentials. Subtracting the largest score keeps every exponential at or below 1 (the lectures' "log C"
// shift).
#pragma once

#include "simd/math.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
constexpr T infinity = static_cast<T>(__builtin_inf());

template <class T>
struct RowSum {
  T shift;  // the largest score, or 0 where all are masked
  T sum;    // sum of exp(x - shift)
};

template <class T>
inline T row_max(const T* x, int64_t n) {
  constexpr int L = lanes<T>;
  Vec<T> running = broadcast(x[0]);
  int64_t i = 0;
  for (; i + L <= n; i += L) running = maximum<T>(running, load(x + i));
  T best = max_lanes<T>(running);
  for (; i < n; ++i)
    if (x[i] > best || x[i] != x[i]) best = x[i];
  return best;
}

// Writes exp(x - shift) to `out` unless that is nullptr. n >= 1.
template <class T>
inline RowSum<T> shifted_exponentials(const T* x, int64_t n, T* out) {
  constexpr int L = lanes<T>;
  T top = row_max(x, n);
  T shift = top == -infinity<T> ? T(0) : top;
  Vec<T> parts = {};
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    Vec<T> e = exp<T>(load(x + i) - shift);
    if (out != nullptr) store<T>(out + i, e);
    parts += e;
  }
  if (i < n) {
    Vec<T> e = exp<T>(load_first(x + i, n - i) - shift);
    T valid[L] = {};  // the lanes past the end hold exp(-shift): drop them
    store_first<T>(valid, e, n - i);
    parts += load(valid);
    if (out != nullptr) store_first<T>(out + i, e, n - i);
  }
  return {shift, sum_lanes<T>(parts)};
}

template <class T>
inline T log_scalar(T x) {
  T result[lanes<T>];
  store(result, log<T>(broadcast(x)));
  return result[0];
}

}  // namespace chainrule::CHAINRULE_ISA
