// gelu, silu, softplus, leaky_relu and elu with their slopes: precision over dense sweeps, and what they give
// at infinity, NaN and 0.
#include <cstring>

#include "ops/elementwise.h"
#include "reference.h"
#include "reference_activations.h"

using namespace chainrule;
using namespace reference;

namespace {

template <class T>
T apply(UnaryOp op, T x) {
  T y;
  apply_unary<T>(op, &x, &y, 1);
  return y;
}

template <class T>
T apply(BinaryOp op, T a, T b) {
  T y;
  apply_binary<T>(op, {&a, {}}, {&b, {}}, &y);
  return y;
}

// Evenly spaced, and then by bit patterns so that every exponent is met.
template <class T>
std::vector<T> sweep() {
  std::vector<T> x;
  for (double limit : {0.01, 1.0, 6.0, 14.0, 40.0, 110.0, 800.0})
    for (int i = 0; i <= 20011; ++i) x.push_back(static_cast<T>(limit * (2 * i - 20011) / 20011));
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  const Bits step = sizeof(T) == 4 ? Bits{40009} : static_cast<Bits>(0x0000fffffffffd5);
  Bits bits = 0;
  for (int i = 0; i < 100003; ++i, bits = static_cast<Bits>(bits + step)) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    x.push_back(value);
  }
  return x;
}

// The worst error over the sweep, in multiples of unit(x, exact).
template <class T, class Exact, class Unit>
std::string worst_over(const std::vector<T>& x, const std::vector<T>& y, long double most, const Exact& exact,
                       const Unit& unit) {
  long double worst = 0;
  size_t where = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const long double expected = exact(x[i]);
    if (agree(y[i], expected, 0)) continue;
    // What overflows may round up to infinity, and nothing else.
    const bool overflow = std::isinf(y[i]) && std::fabs(expected) > 0.999L * std::numeric_limits<T>::max();
    const long double off = overflow ? 0
                            : std::isnan(y[i]) || std::isnan(expected)
                                ? infinity<long double>
                                : std::fabs(y[i] - expected) / unit(x[i], expected);
    if (off > worst) worst = off, where = i;
  }
  if (worst <= most) return "";
  std::ostringstream text;
  text.precision(20);
  text << "at " << x[where] << ": " << y[where] << ", expected " << exact(x[where]) << ", off by " << worst;
  return text.str();
}

template <class T, class Exact, class Unit>
std::string worst_unary(UnaryOp op, long double most, const Exact& exact, const Unit& unit) {
  const std::vector<T> x = sweep<T>();
  std::vector<T> y(x.size());
  apply_unary<T>(op, x.data(), y.data(), static_cast<int64_t>(x.size()));
  return worst_over(x, y, most, exact, unit);
}

template <class T, class Exact, class Unit>
std::string worst_binary(BinaryOp op, T number, bool number_first, long double most, const Exact& exact,
                         const Unit& unit) {
  const std::vector<T> x = sweep<T>();
  std::vector<T> y(x.size());
  const ArrayView<T> xs{x.data(), {static_cast<int64_t>(x.size())}}, one{&number, {}};
  apply_binary<T>(op, number_first ? one : xs, number_first ? xs : one, y.data());
  return worst_over(x, y, most, exact, unit);
}

template <class T>
bool is_zero(T x, bool negative) {
  return x == T(0) && std::signbit(x) == negative;
}

}  // namespace

TEST_CASE_TEMPLATE("softplus and elu are off by few units in the last place", T, float, double) {
  auto ulp = [](T, long double expected) { return unit_in_last_place<T>(expected); };
  CHECK(worst_unary<T>(UnaryOp::softplus, 4, softplus, ulp) == "");
  for (double alpha : {1.0, 0.3, 2.5}) {
    const T a = static_cast<T>(alpha);
    CHECK(worst_binary<T>(
              BinaryOp::elu, a, false, 4, [&](long double x) { return x > 0 ? x : a * std::expm1(x); },
              ulp) == "");
    CHECK(worst_binary<T>(
              BinaryOp::elu_slope, a, false, 4,
              [&](long double x) { return x > 0    ? 1
                                          : x != x ? x
                                                   : a * std::exp(x); }, ulp) == "");
  }
}

TEST_CASE_TEMPLATE("leaky_relu is rounded once", T, float, double) {
  for (double slope : {0.01, 0.3, 0.0, 1.0, -0.5}) {
    const T s = static_cast<T>(slope);
    CHECK(worst_binary<T>(
              BinaryOp::leaky_relu, s, false, 0,
              [&](T x) -> long double { return x > T(0) ? x : static_cast<T>(x * s); },
              [](T, long double) { return 1e-300L; }) == "");
    CHECK(worst_binary<T>(
              BinaryOp::leaky_relu_slope, s, false, 0,
              [&](T x) -> long double { return x > T(0) ? T(1)
                                               : x != x ? x
                                                        : s; },
              [](T, long double) { return 1e-300L; }) == "");
  }
}

TEST_CASE_TEMPLATE("gelu and silu keep their digits where they matter", T, float, double) {
  // The relative error grows with x^2 on the negative side, where an exponential of it is what is left.
  auto relative = [](T x, long double expected) {
    return (1 + static_cast<long double>(x) * x) * unit_in_last_place<T>(expected);
  };
  CHECK(worst_unary<T>(UnaryOp::gelu, 8, gelu, relative) == "");
  // The sigmoid may be denormal, and x times as far off as its rounding.
  auto denormal = [](T x, long double expected) {
    return unit_in_last_place<T>(expected) + std::fabs(x) * (0.25L * std::numeric_limits<T>::denorm_min());
  };
  CHECK(worst_unary<T>(UnaryOp::silu, 4, silu, denormal) == "");
  // Slopes pass through 0, where only the absolute error can be small.
  auto absolute = [](T, long double) { return epsilon<T>; };
  CHECK(worst_binary<T>(BinaryOp::gelu_gradient, T(1), true, 2, gelu_slope, absolute) == "");
  CHECK(worst_binary<T>(BinaryOp::silu_gradient, T(1), true, 2, silu_slope, absolute) == "");
}

TEST_CASE_TEMPLATE("activations at infinity and NaN", T, float, double) {
  const T inf = infinity<T>, nan = quiet_nan<T>;
  for (UnaryOp op : {UnaryOp::gelu, UnaryOp::silu, UnaryOp::softplus}) {
    CAPTURE(static_cast<int>(op));
    CHECK(apply(op, inf) == inf);
    CHECK(apply(op, -inf) == T(0));
    CHECK(std::isnan(apply(op, nan)));
  }
  for (BinaryOp op : {BinaryOp::gelu_gradient, BinaryOp::silu_gradient}) {
    CAPTURE(static_cast<int>(op));
    CHECK(apply(op, T(3), inf) == T(3));
    CHECK(apply(op, T(3), -inf) == T(0));
    CHECK(std::isnan(apply(op, T(3), nan)));
    CHECK(std::isnan(apply(op, nan, T(1))));
  }
  CHECK(apply(BinaryOp::leaky_relu, inf, T(0.1)) == inf);
  CHECK(apply(BinaryOp::leaky_relu, -inf, T(0.1)) == -inf);
  CHECK(std::isnan(apply(BinaryOp::leaky_relu, nan, T(0.1))));
  CHECK(std::isnan(apply(BinaryOp::leaky_relu_slope, nan, T(0.1))));
  CHECK(apply(BinaryOp::leaky_relu_slope, -inf, T(0.25)) == T(0.25));
  CHECK(apply(BinaryOp::elu, inf, T(2)) == inf);
  CHECK(apply(BinaryOp::elu, -inf, T(2)) == T(-2));
  CHECK(std::isnan(apply(BinaryOp::elu, nan, T(2))));
  CHECK(apply(BinaryOp::elu_slope, inf, T(2)) == T(1));
  CHECK(apply(BinaryOp::elu_slope, -inf, T(2)) == T(0));
  CHECK(std::isnan(apply(BinaryOp::elu_slope, nan, T(2))));
}

TEST_CASE_TEMPLATE("activations at 0", T, float, double) {
  for (bool negative : {false, true}) {
    const T zero = negative ? -T(0) : T(0);
    CHECK(is_zero(apply(UnaryOp::gelu, zero), negative));
    CHECK(is_zero(apply(UnaryOp::silu, zero), negative));
    CHECK(units_apart<T>(apply(UnaryOp::softplus, zero), std::log(2.0L)) <= 1);
    CHECK(apply(BinaryOp::gelu_gradient, T(2), zero) == doctest::Approx(1));
    CHECK(apply(BinaryOp::silu_gradient, T(2), zero) == T(1));
    CHECK(is_zero(apply(BinaryOp::leaky_relu, zero, T(0.1)), negative));
    CHECK(apply(BinaryOp::elu, zero, T(1)) == T(0));
    // At the kink the slope of the left side.
    CHECK(apply(BinaryOp::leaky_relu_slope, zero, T(0.25)) == T(0.25));
    CHECK(apply(BinaryOp::elu_slope, zero, T(3)) == T(3));
  }
}
