// Activations and their slopes in long double, from their definitions.
#pragma once

#include <cmath>

namespace reference {

// The normal distribution's share below x, and its density.
inline long double normal_share(long double x) { return 0.5L * std::erfc(-x * std::sqrt(0.5L)); }
inline long double normal_density(long double x) {
  return std::exp(-0.5L * x * x) * 0.398942280401432677939946059934L;
}

inline long double logistic(long double x) {
  const long double e = std::exp(-std::fabs(x));
  return (x < 0 ? e : 1.0L) / (1.0L + e);
}

// At infinity the limits, where the formulas give infinity times 0.
inline long double gelu(long double x) { return x == -INFINITY ? 0 : x * normal_share(x); }
inline long double gelu_slope(long double x) {
  return normal_share(x) + (std::isinf(x) ? 0 : x * normal_density(x));
}
inline long double silu(long double x) { return x == -INFINITY ? 0 : x * logistic(x); }
inline long double silu_slope(long double x) {
  const long double s = logistic(x);
  return s + (std::isinf(x) ? 0 : x * s * logistic(-x));
}
inline long double softplus(long double x) { return (x < 0 ? 0 : x) + std::log1p(std::exp(-std::fabs(x))); }

}  // namespace reference
