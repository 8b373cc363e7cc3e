// x P(x), P the normal distribution function, and its slope.
#pragma once

#include <cmath>

#include "simd/math.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

// The normal distribution below x, and its density there.
template <class T>
struct Normal {
  Vec<T> share, density;
};

// In float32 the share of |x|'s far side is t Q(t) e^(-x^2 / 2) with t = 1 / (1 + 0.55 |x| / sqrt 2): the
// scaled complementary error function is smooth in t (Schonfelder, Chebyshev expansions for the error and
// related functions, 1978). Q is the fit of least relative error, 7e-9, for |x| up to 14.
inline Normal<float> normal(Vec<float> x) {
  const Vec<float> t = 1.0f / (1.0f + 0.388908730f * absolute<float>(x)), e = exp<float>(x * x * -0.5f);
  constexpr float c[] = {-0.168329909f, 0.390626251f, -0.426718384f, 0.181983218f, -0.0474984758f,
                         0.101025648f,  0.129409939f, 0.155331776f,  0.155146047f};
  Vec<float> sum = broadcast(0.0290239062f);
#pragma GCC unroll 9
  for (float k : c) sum = sum * t + k;
  const Vec<float> tail = t * sum * e;
  return {x != x ? x : x < 0.0f ? tail : 1.0f - tail, e * 0.398942280f};
}
inline Normal<double> normal(Vec<double> x) {
  return {by_lane<double>(x, [](double v) { return 0.5 * ::erfc(-v * 0.70710678118654752440); }),
          exp<double>(x * x * -0.5) * 0.39894228040143267794};
}

// x P(x); -inf times its share, 0, is 0 in the limit.
template <class T>
inline Vec<T> gelu(Vec<T> x) {
  const Vec<T> y = x * normal(x).share;
  return x == T(-__builtin_inf()) ? Vec<T>{} : y;
}

// P(x) + x p(x), p the density.
template <class T>
inline Vec<T> gelu_slope(Vec<T> x) {
  const Normal<T> n = normal(x);
  const Vec<T> bend = x * n.density;
  return n.share + (absolute<T>(x) == T(__builtin_inf()) ? Vec<T>{} : bend);
}

}  // namespace chainrule::CHAINRULE_ISA
