// exp, expm1, log, tanh and sigmoid on vectors, in float32 and float64, to about two units in the last place.
//
// exp and log reduce their argument by powers of two (Cody and Waite, Software Manual for the Elementary
// Functions, 1980) and sum the Taylor series, whose remainder is below the rounding error on what is left.
#pragma once

#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
struct Constants;

template <>
struct Constants<float> {
  static constexpr int mantissa_bits = 23, exponent_bias = 127;
  static constexpr int exp_terms = 7, log_terms = 5;  // series lengths: remainders of 5e-9 and 2e-9
  static constexpr float ln2_high = 0.693359375f;     // few bits, so that n * ln2_high is exact
  static constexpr float ln2_low = -2.12194440e-4f;
  static constexpr float log2_e = 1.44269504f;
  // Beyond these exp is +inf and 0, denormals included.
  static constexpr float exp_most = 89.0f, exp_least = -104.0f;
  static constexpr float tanh_saturates = 10.0f;
  static constexpr float round_shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  static constexpr float smallest_normal = 1.17549435e-38f;
  static constexpr float denormal_scale = 8388608.0f;  // 2^23
};

template <>
struct Constants<double> {
  static constexpr int mantissa_bits = 52, exponent_bias = 1023;
  static constexpr int exp_terms = 13, log_terms = 11;  // remainders of 4e-18 and 6e-19
  static constexpr double ln2_high = 6.93147180369123816490e-01;
  static constexpr double ln2_low = 1.90821492927058770002e-10;
  static constexpr double log2_e = 1.44269504088896340736;
  static constexpr double exp_most = 710.0, exp_least = -746.0;
  static constexpr double tanh_saturates = 20.0;
  static constexpr double round_shift = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double smallest_normal = 2.2250738585072014e-308;
  static constexpr double denormal_scale = 4503599627370496.0;  // 2^52
};

// x = n ln 2 + r with integer n and |r| <= ln(2) / 2; returns n as a float, r by reference.
template <class T>
inline Vec<T> reduce_by_ln2(Vec<T> x, Vec<T>& r) {
  using C = Constants<T>;
  Vec<T> n = (x * C::log2_e + C::round_shift) - C::round_shift;
  r = (x - n * C::ln2_high) - n * C::ln2_low;
  return n;
}

// e^r - 1 for small r: r + r^2/2! + r^3/3! + ..., without the cancellation of subtracting 1.
template <class T>
inline Vec<T> expm1_series(Vec<T> r) {
  T factor = 1;
  T inverse_factorial[Constants<T>::exp_terms + 1];
#pragma GCC unroll 16
  for (int k = 1; k <= Constants<T>::exp_terms; ++k) {
    factor /= static_cast<T>(k);
    inverse_factorial[k] = factor;
  }
  Vec<T> sum = broadcast<T>(inverse_factorial[Constants<T>::exp_terms]);
#pragma GCC unroll 16
  for (int k = Constants<T>::exp_terms - 1; k >= 2; --k) sum = sum * r + inverse_factorial[k];
  return r + (r * r) * sum;
}

// 2^n for integers n within the exponents of normal numbers.
template <class T>
inline Vec<T> power_of_two(Vec<T> n) {
  // Adding round_shift leaves n in the low mantissa bits; shifting it up makes it the exponent.
  Mask<T> bits = as_bits<T>(n + (Constants<T>::round_shift + Constants<T>::exponent_bias));
  return from_bits<T>(bits << Constants<T>::mantissa_bits);
}

template <class T>
inline Vec<T> exp(Vec<T> x) {
  using C = Constants<T>;
  Vec<T> bounded = x > C::exp_most ? broadcast<T>(C::exp_most) : x;
  bounded = bounded < C::exp_least ? broadcast<T>(C::exp_least) : bounded;
  Vec<T> r, n = reduce_by_ln2<T>(bounded, r);
  Vec<T> sum = expm1_series<T>(r) + T(1);
  // 2^n may lie outside the normal numbers, so it is multiplied in halves: the product then overflows to
  // infinity or rounds to a denormal as it should.
  Vec<T> half = (n * T(0.5) + C::round_shift) - C::round_shift;
  return sum * power_of_two<T>(half) * power_of_two<T>(n - half);  // NaN stays NaN through r
}

// e^x - 1 for |x| up to 2 tanh_saturates: no overflow handling.
template <class T>
inline Vec<T> expm1_bounded(Vec<T> x) {
  Vec<T> r, n = reduce_by_ln2<T>(x, r);
  Vec<T> scale = power_of_two<T>(n);
  return scale * expm1_series<T>(r) + (scale - T(1));
}

template <class T>
inline Vec<T> absolute(Vec<T> x) {
  using Integer = typename VecOf<T>::integer;
  Integer sign = static_cast<Integer>(~(static_cast<Integer>(1) << (8 * sizeof(T) - 2) << 1));
  return from_bits<T>(as_bits<T>(x) & sign);
}

template <class T>
inline Vec<T> log(Vec<T> x) {
  using C = Constants<T>;
  using Integer = typename VecOf<T>::integer;
  // Of the size, whose bits are never negative: what a negative number gives is known below.
  const Vec<T> size = absolute<T>(x);
  Mask<T> denormal = size < C::smallest_normal;
  Vec<T> scaled = denormal ? size * C::denormal_scale : size;
  Mask<T> bits = as_bits<T>(scaled);
  // Split x = 2^e m with m in [sqrt(1/2), sqrt(2)), so that log m is small and the series short.
  constexpr Integer one_bits = static_cast<Integer>(C::exponent_bias) << C::mantissa_bits;
  constexpr Integer sqrt_half_bits =
      sizeof(T) == 4 ? static_cast<Integer>(0x3f3504f3) : static_cast<Integer>(0x3fe6a09e667f3bcdLL);
  Mask<T> shifted = bits - sqrt_half_bits;
  Mask<T> e = shifted >> C::mantissa_bits;
  Vec<T> m = from_bits<T>(bits - (e << C::mantissa_bits));
  static_assert(one_bits > sqrt_half_bits, "m starts below 1");
  Vec<T> exponent = __builtin_convertvector(e, Vec<T>);
  exponent = denormal ? exponent - T(C::mantissa_bits) : exponent;
  // log m = 2 artanh f = 2 (f + f^3/3 + f^5/5 + ...), f = (m - 1) / (m + 1)
  Vec<T> f = (m - T(1)) / (m + T(1)), f2 = f * f;
  Vec<T> sum = broadcast<T>(T(1) / T(2 * C::log_terms + 1));
#pragma GCC unroll 16
  for (int k = C::log_terms - 1; k >= 1; --k) sum = sum * f2 + T(1) / T(2 * k + 1);
  Vec<T> result = exponent * C::ln2_high + (exponent * C::ln2_low + (f + f) + (f + f) * (f2 * sum));
  constexpr T infinity = static_cast<T>(__builtin_inf()), nan = static_cast<T>(__builtin_nan(""));
  result = x == T(0) ? broadcast<T>(-infinity) : result;
  result = x < T(0) ? broadcast<T>(nan) : result;
  return ((x != x) | (x == infinity)) ? x : result;
}

template <class T>
inline Vec<T> tanh(Vec<T> x) {
  using C = Constants<T>;
  Vec<T> size = absolute<T>(x);
  size = size > C::tanh_saturates ? broadcast<T>(C::tanh_saturates) : size;
  Vec<T> e = expm1_bounded<T>(size + size);
  Vec<T> result = e / (e + T(2));
  return x < T(0) ? -result : x == T(0) ? x : result;
}

// 1 / (1 + e^-x), through e^-|x| so that nothing overflows and small values keep their digits.
template <class T>
inline Vec<T> sigmoid(Vec<T> x) {
  Vec<T> e = exp<T>(-absolute<T>(x));
  return (x < T(0) ? e : broadcast<T>(1)) / (e + T(1));
}

}  // namespace chainrule::CHAINRULE_ISA
