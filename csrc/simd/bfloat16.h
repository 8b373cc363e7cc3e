// Vectors of bfloat16 pairs: two values of 16 bits in each 32-bit lane, the first in the lower half.
#pragma once

#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

// The upper half of each lane is the value rounded to bfloat16, ties to even; the lower half is not cleared.
// A NaN keeps its sign and becomes quiet. (The processors' own instructions would take subnormal values for
// zeros.)
inline Mask<float> rounded_bits(Vec<float> value) {
  typedef uint32_t Words __attribute__((vector_size(vector_bytes)));
  const Words bits = (Words)as_bits<float>(value);
  const Words up = bits + 0x7fffu + ((bits >> 16) & 1u);
  const Mask<float> nan = value != value;
  return (Mask<float>)(((Words)nan & (bits | 0x400000u)) | (~(Words)nan & up));
}

// Values rounded to bfloat16, side by side.
inline void store_rounded(uint16_t* to, Vec<float> value) {
  typedef uint32_t Words __attribute__((vector_size(vector_bytes)));
  typedef uint16_t Halves __attribute__((vector_size(vector_bytes / 2)));
  const Halves halves = __builtin_convertvector((Words)rounded_bits(value) >> 16, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

// Words of two vectors' values, rounded.
inline Mask<float> rounded_pairs(Vec<float> first, Vec<float> second) {
  typedef uint32_t Words __attribute__((vector_size(vector_bytes)));
  return (Mask<float>)(((Words)rounded_bits(first) >> 16) | ((Words)rounded_bits(second) & 0xffff0000u));
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

}  // namespace chainrule::CHAINRULE_ISA
