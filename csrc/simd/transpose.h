// Squares of as many rows as a vector has lanes, transposed in registers.
#pragma once

#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

#if defined(__clang__)
#define CHAINRULE_SHUFFLE(T, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CHAINRULE_SHUFFLE(T, a, b, ...) __builtin_shuffle(a, b, Mask<T>{__VA_ARGS__})
#endif

// The lanes of two vectors in turn: those of their lower, and of their upper halves.
template <class T>
inline Vec<T> alternate_low(Vec<T> a, Vec<T> b) {
  if constexpr (lanes<T> == 2)
    return CHAINRULE_SHUFFLE(T, a, b, 0, 2);
  else if constexpr (lanes<T> == 4)
    return CHAINRULE_SHUFFLE(T, a, b, 0, 4, 1, 5);
  else if constexpr (lanes<T> == 8)
    return CHAINRULE_SHUFFLE(T, a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  else
    return CHAINRULE_SHUFFLE(T, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
template <class T>
inline Vec<T> alternate_high(Vec<T> a, Vec<T> b) {
  if constexpr (lanes<T> == 2)
    return CHAINRULE_SHUFFLE(T, a, b, 1, 3);
  else if constexpr (lanes<T> == 4)
    return CHAINRULE_SHUFFLE(T, a, b, 2, 6, 3, 7);
  else if constexpr (lanes<T> == 8)
    return CHAINRULE_SHUFFLE(T, a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  else
    return CHAINRULE_SHUFFLE(T, a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#undef CHAINRULE_SHUFFLE

// rows[i][j] becomes rows[j][i]. Each round deals rows i and i + half into rows 2i and 2i + 1; after
// log2(lanes) rounds every value has met its place.
template <class T>
inline void transpose_square(Vec<T> (&rows)[lanes<T>]) {
  constexpr int n = lanes<T>, half = n / 2;
  Vec<T> dealt[n];
#pragma GCC unroll 4
  for (int round = 1; round < n; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) {
      dealt[2 * i] = alternate_low<T>(rows[i], rows[i + half]);
      dealt[2 * i + 1] = alternate_high<T>(rows[i], rows[i + half]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = dealt[i];
  }
}

}  // namespace chainrule::CHAINRULE_ISA
