// What register tiles share: a block of sums, as many rows as the register file allows by one or two vectors,
// goes to memory with bias and activation applied on the way.
#pragma once

#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

// Accumulators for `tile_rows` x 2 vectors, two vectors of the right side and one broadcast of the left fill
// the register file.
constexpr int tile_rows = vector_registers == 32 ? 12 : 6;

template <class T, int rows, int vectors>
inline void clear_tile(Vec<T> (&sums)[rows][vectors]) {
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sums[i][v] = Vec<T>{};
}

// sums[i][v] += left[i * row] * right[v], the vectors `second` values apart.
template <class T, int rows, int vectors>
inline void multiply_add(Vec<T> (&sums)[rows][vectors], const T* left, int64_t row, const T* right,
                         int64_t second = lanes<T>) {
  Vec<T> columns[vectors];
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v) columns[v] = load(right + v * second);
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i) {
    const Vec<T> value = broadcast(left[i * row]);
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sums[i][v] += value * columns[v];
  }
}

// The first `columns` of the sums to rows of consecutive values, each passed through finish(value, v); 0
// where the mask, which lies as they do and may be nullptr, is not positive.
template <class T, int rows, int vectors, class Finish>
inline void store_rows(const Vec<T> (&sums)[rows][vectors], T* to, int64_t to_row, int columns, Finish finish,
                       const T* mask = nullptr) {
  constexpr int L = lanes<T>;
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      T* at = to + i * to_row + v * L;
      const int left = columns - v * L;
      if (left >= L) {
        Vec<T> value = finish(sums[i][v], load(at), v);
        if (mask != nullptr) value = where_positive<T>(load(mask + (at - to)), value);
        store<T>(at, value);
      } else if (left > 0) {
        Vec<T> value = finish(sums[i][v], load_first(at, left), v);
        if (mask != nullptr) value = where_positive<T>(load_first(mask + (at - to), left), value);
        store_first<T>(at, value, left);
      }
    }
}

}  // namespace chainrule::CHAINRULE_ISA
