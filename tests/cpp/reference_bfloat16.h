// bfloat16 by arithmetic, and the errors that its products may have.
#pragma once

#include <algorithm>
#include <cstring>

#include "reference.h"

namespace reference {

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The nearest number of 8 bits of significand and float32's exponents; of two as near, the one whose last bit
// is 0. What is nearer to 2^128 than to the largest such number is infinite.
inline float to_bfloat16(float value) {
  if (!std::isfinite(value) || value == 0) return value;
  int exponent;
  std::frexp(value, &exponent);
  const int unit = std::max(exponent, std::numeric_limits<float>::min_exponent) - 8;  // of the last place
  const double steps = std::ldexp(std::fabs(static_cast<double>(value)), -unit), below = std::floor(steps);
  const double rest = steps - below;
  const bool up = rest > 0.5 || (rest == 0.5 && std::fmod(below, 2) != 0);
  const double nearest = std::ldexp(below + up, unit);
  return std::copysign(
      nearest > std::numeric_limits<float>::max() ? infinity<float> : static_cast<float>(nearest), value);
}

inline uint16_t bfloat16_bits(float value) {
  return static_cast<uint16_t>(bits_of(to_bfloat16(value)) >> 16);
}

inline std::vector<float> to_bfloat16(std::vector<float> values) {
  for (float& value : values) value = to_bfloat16(value);
  return values;
}

// How far a sum of `terms` products of bfloat16 numbers may be from the true one, their absolute values
// having the sum `size`: each is exact in float32, and each addition rounds.
inline long double bfloat16_sum_bound(int64_t terms, long double size) {
  return static_cast<long double>(terms) * std::ldexp(1.0L, -24) * size * (1 + 1e-3L);
}

// The same for numbers that were still to be rounded: both of a product's by at most 2^-8 of themselves.
inline long double rounded_sum_bound(int64_t terms, long double size) {
  return (std::ldexp(1.0L, -7) + std::ldexp(1.0L, -16)) * size + bfloat16_sum_bound(terms, size * 1.01L);
}

}  // namespace reference
