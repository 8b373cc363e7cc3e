// Vectors of bfloat16 pairs: two values of 16 bits in each 32-bit lane, the first in the lower half.
#pragma once

#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

// The upper half of each lane is the value rounded to bfloat16, ties to even; the lower half is not cleared.
// A NaN keeps its sign and becomes quiet.
inline Mask<float> rounded_bits(Vec<float> value) {
  typedef uint32_t Words __attribute__((vector_size(vector_bytes)));
  const Words bits = (Words)as_bits<float>(value);
  const Words up = bits + 0x7fffu + ((bits >> 16) & 1u);
  const Mask<float> nan = value != value;
  return (Mask<float>)(((Words)nan & (bits | 0x400000u)) | (~(Words)nan & up));
}

// Words of the upper halves of two vectors of rounded bits.
inline Mask<float> joined(Mask<float> first, Mask<float> second) {
  typedef uint32_t Words __attribute__((vector_size(vector_bytes)));
  return (Mask<float>)(((Words)first >> 16) | ((Words)second & 0xffff0000u));
}

// The upper halves of all lanes side by side.
inline void store_halves(uint16_t* to, Mask<float> bits) {
  typedef uint32_t Words __attribute__((vector_size(vector_bytes)));
  typedef uint16_t Halves __attribute__((vector_size(vector_bytes / 2)));
  const Halves halves = __builtin_convertvector((Words)bits >> 16, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

inline Mask<float> load_words(const uint16_t* pairs) {
  Mask<float> words;
  std::memcpy(&words, pairs, sizeof words);
  return words;
}

inline Mask<float> broadcast_word(const uint16_t* pair) {
  int32_t word;
  std::memcpy(&word, pair, sizeof word);
  return word - Mask<float>{};
}

// sums + a0 b0 + a1 b1 in each lane, for pairs (a0, a1) and (b0, b1).
inline Vec<float> dot_pairs(Vec<float> sums, Mask<float> a, Mask<float> b) {
#if defined(__AVX512BF16__)
  return (Vec<float>)_mm512_dpbf16_ps((__m512)sums, (__m512bh)a, (__m512bh)b);
#else
  const Mask<float> upper = int32_t(0xffff0000u) - Mask<float>{};
  sums += from_bits<float>(a << 16) * from_bits<float>(b << 16);
  return sums + from_bits<float>(a & upper) * from_bits<float>(b & upper);
#endif
}

// ---- Transposing a square of words
// --------------------------------------------------------------------------

#if defined(__clang__)
#define CHAINRULE_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CHAINRULE_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Mask<float>{__VA_ARGS__})
#endif

// The lanes of two vectors in turn: those of their lower, and of their upper halves.
inline Mask<float> alternate_low(Mask<float> a, Mask<float> b) {
#if defined(__AVX512F__)
  return CHAINRULE_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif defined(__AVX2__)
  return CHAINRULE_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return CHAINRULE_SHUFFLE(a, b, 0, 4, 1, 5);
#endif
}
inline Mask<float> alternate_high(Mask<float> a, Mask<float> b) {
#if defined(__AVX512F__)
  return CHAINRULE_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
  return CHAINRULE_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return CHAINRULE_SHUFFLE(a, b, 2, 6, 3, 7);
#endif
}
#undef CHAINRULE_SHUFFLE

// to(j, i) = from(i, j) for a square of as many words as a vector has lanes. Each round deals rows i and i +
// half into rows 2i and 2i + 1; after log2(lanes) rounds every word has met its place.
inline void transpose_block(const uint32_t* from, int64_t from_row, uint32_t* to, int64_t to_row) {
  constexpr int n = lanes<float>, half = n / 2;
  Mask<float> rows[n], dealt[n];
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) std::memcpy(&rows[i], from + i * from_row, sizeof rows[i]);
#pragma GCC unroll 4
  for (int round = 1; round < n; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) {
      dealt[2 * i] = alternate_low(rows[i], rows[i + half]);
      dealt[2 * i + 1] = alternate_high(rows[i], rows[i + half]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = dealt[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) std::memcpy(to + i * to_row, &rows[i], sizeof rows[i]);
}

}  // namespace chainrule::CHAINRULE_ISA
