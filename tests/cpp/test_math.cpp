// exp, log, tanh and sigmoid against long double over dense sweeps, and what they give at the edges.
#include <algorithm>
#include <cstring>

#include "ops/elementwise.h"
#include "reference.h"

using namespace chainrule;
using namespace reference;

namespace {

struct Function {
  const char* name;
  UnaryOp op;
  long double (*exact)(long double);
  long double most_units;  // the promise: simd/math.h says about two units in the last place
};

const Function functions[] = {
    {"exp", UnaryOp::exp, [](long double x) { return std::exp(x); }, 2},
    {"log", UnaryOp::log, [](long double x) { return std::log(x); }, 2.5},
    {"tanh", UnaryOp::tanh, [](long double x) { return std::tanh(x); }, 3},
    {"sigmoid", UnaryOp::sigmoid,
     [](long double x) {
       long double e = std::exp(-std::fabs(x));
       return (x < 0 ? e : 1.0L) / (1.0L + e);
     },
     2.5},
    {"sqrt", UnaryOp::sqrt, [](long double x) { return std::sqrt(x); }, 0.5L},
    {"sin", UnaryOp::sin, [](long double x) { return std::sin(x); }, 1},
    {"cos", UnaryOp::cos, [](long double x) { return std::cos(x); }, 1},
};

template <class T>
void check_within_units(const std::vector<T>& x) {
  for (const Function& f : functions) {
    // sin and cos of huge numbers are the C library's affair, and slow in long double.
    const bool circular = f.op == UnaryOp::sin || f.op == UnaryOp::cos;
    std::vector<T> y(x.size());
    apply_unary<T>(f.op, x.data(), y.data(), static_cast<int64_t>(x.size()));
    long double worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (circular && std::fabs(x[i]) > T(1e4)) continue;
      long double units = units_apart<T>(y[i], f.exact(static_cast<long double>(x[i])));
      if (units > worst) worst = units, where = i;
    }
    INFO(f.name << " of " << static_cast<double>(x.empty() ? T(0) : x[where]) << " is "
                << static_cast<double>(y.empty() ? T(0) : y[where]) << ", off by "
                << static_cast<double>(worst) << " units in the last place");
    CHECK(worst <= f.most_units);
  }
}

// Evenly spaced over [low, high].
template <class T>
std::vector<T> evenly(double low, double high, int n) {
  std::vector<T> x(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) x[static_cast<size_t>(i)] = static_cast<T>(low + (high - low) * i / (n - 1));
  return x;
}

template <class T>
T apply(UnaryOp op, T x) {
  T y;
  apply_unary<T>(op, &x, &y, 1);
  return y;
}

template <class T>
bool is_zero(T x, bool negative) {
  return x == T(0) && std::signbit(x) == negative;
}

}  // namespace

TEST_CASE("float32: functions hold their precision over the bit patterns of all floats") {
  // 4,093 is prime: the steps meet every exponent and, over the run, every kind of mantissa.
  std::vector<float> x;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 4093 * 3) {
    auto pattern = static_cast<uint32_t>(bits);
    float value;
    std::memcpy(&value, &pattern, sizeof value);
    x.push_back(value);
  }
  check_within_units(x);
}

TEST_CASE("float64: functions hold their precision over the bit patterns of all doubles") {
  std::vector<double> x;
  constexpr uint64_t step = 0x00003fffffffffd5;
  for (uint64_t bits = 0; bits < ~uint64_t{0} - step; bits += step) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    x.push_back(value);
  }
  check_within_units(x);
}

TEST_CASE_TEMPLATE("functions hold their precision where they bend", T, float, double) {
  const double most = sizeof(T) == 4 ? 110 : 760;  // past overflow and underflow of exp
  check_within_units(evenly<T>(-most, most, 50021));
  check_within_units(evenly<T>(-12, 12, 50021));
  check_within_units(evenly<T>(-0.75, 0.75, 30011));  // the first reduction by ln 2 happens within
  check_within_units(evenly<T>(0.5, 2.25, 50021));    // log near 1, where it vanishes
  check_within_units(evenly<T>(1 - 1e-3, 1 + 1e-3, 10007));
}

TEST_CASE_TEMPLATE("neighbours of the limits: overflow, underflow, denormals", T, float, double) {
  using Limits = std::numeric_limits<T>;
  std::vector<T> x;
  auto around = [&](T value) {
    T below = value, above = value;
    x.push_back(value);
    for (int i = 0; i < 200; ++i) {
      below = std::nextafter(below, -infinity<T>);
      above = std::nextafter(above, infinity<T>);
      x.push_back(below);
      x.push_back(above);
    }
  };
  around(std::log(Limits::max()));
  around(std::log(Limits::min()));
  around(std::log(Limits::denorm_min()));
  around(-std::log(Limits::max()));
  for (T value : {T(0), T(1), T(-1), Limits::min(), -Limits::min(), T(0.70710678118654752440),
                  T(1.41421356237309504880), T(0.34657359027997265), T(-0.34657359027997265), T(10), T(20)})
    around(value);
  for (int e = 0; e < Limits::digits; ++e)
    x.push_back(std::ldexp(Limits::denorm_min(), e));  // each denormal bit
  x.push_back(Limits::max());
  x.push_back(-Limits::max());
  check_within_units(x);
}

TEST_CASE_TEMPLATE("values at the edges: infinities, zeros of both signs, NaN", T, float, double) {
  const T inf = infinity<T>, zero = T(0), tiny = std::numeric_limits<T>::denorm_min();
  CHECK(apply(UnaryOp::exp, inf) == inf);
  CHECK(is_zero(apply(UnaryOp::exp, -inf), false));
  CHECK(apply(UnaryOp::exp, zero) == T(1));
  CHECK(apply(UnaryOp::exp, -zero) == T(1));
  CHECK(apply(UnaryOp::log, inf) == inf);
  CHECK(apply(UnaryOp::log, T(1)) == T(0));
  CHECK(apply(UnaryOp::log, zero) == -inf);
  CHECK(apply(UnaryOp::log, -zero) == -inf);
  CHECK(std::isnan(apply(UnaryOp::log, T(-1))));
  CHECK(std::isnan(apply(UnaryOp::log, -tiny)));
  CHECK(std::isnan(apply(UnaryOp::log, -inf)));
  CHECK(apply(UnaryOp::tanh, inf) == T(1));
  CHECK(apply(UnaryOp::tanh, -inf) == T(-1));
  CHECK(is_zero(apply(UnaryOp::tanh, zero), false));
  CHECK(is_zero(apply(UnaryOp::tanh, -zero), true));
  CHECK(apply(UnaryOp::tanh, tiny) == tiny);
  CHECK(apply(UnaryOp::sigmoid, inf) == T(1));
  CHECK(is_zero(apply(UnaryOp::sigmoid, -inf), false));
  CHECK(apply(UnaryOp::sigmoid, zero) == T(0.5));
  CHECK(apply(UnaryOp::sigmoid, -zero) == T(0.5));
  CHECK(apply(UnaryOp::sigmoid, T(1e4)) == T(1));
  CHECK(apply(UnaryOp::sigmoid, T(-1e4)) == T(0));
  CHECK(std::isnan(apply(UnaryOp::sqrt, T(-1))));
  CHECK(is_zero(apply(UnaryOp::sqrt, -zero), true));
  CHECK(apply(UnaryOp::sqrt, inf) == inf);
  CHECK(is_zero(apply(UnaryOp::negate, zero), true));
  CHECK(is_zero(apply(UnaryOp::absolute, -zero), false));
  CHECK(apply(UnaryOp::absolute, -inf) == inf);
  CHECK(apply(UnaryOp::absolute, -tiny) == tiny);
  CHECK(apply(UnaryOp::sign, tiny) == T(1));
  CHECK(apply(UnaryOp::sign, -inf) == T(-1));
  CHECK(apply(UnaryOp::sign, zero) == T(0));
  CHECK(is_zero(apply(UnaryOp::relu, T(-3)), false));
  CHECK(apply(UnaryOp::relu, -zero) == T(0));
  CHECK(apply(UnaryOp::relu, tiny) == tiny);
  CHECK(apply(UnaryOp::relu, inf) == inf);
  CHECK(apply(UnaryOp::relu, -inf) == T(0));
  for (int op = 0; op < static_cast<int>(UnaryOp::count); ++op) {
    CAPTURE(op);
    CHECK(std::isnan(apply(static_cast<UnaryOp>(op), quiet_nan<T>)));
    CHECK(std::isnan(apply(static_cast<UnaryOp>(op), -quiet_nan<T>)));
  }
}

TEST_CASE("the sigmoid gate at 0.2 has the gradient 0.24751657") {  // issue 3, worked cases
  double y = apply(UnaryOp::sigmoid, 0.2), one = 1, gradient;
  apply_small(BinaryOp::sigmoid_gradient, &one, &y, 1, &gradient, 1);
  CHECK(gradient == doctest::Approx(0.24751657).epsilon(1e-8));
  float single = apply(UnaryOp::sigmoid, 0.2f), unit = 1, slope;
  apply_small(BinaryOp::sigmoid_gradient, &unit, &single, 1, &slope, 1);
  CHECK(slope == doctest::Approx(0.2475165f).epsilon(1e-6));
  CHECK(apply(UnaryOp::sigmoid, 1.0) == doctest::Approx(0.7310585786300049).epsilon(1e-14));
}

TEST_CASE_TEMPLATE("a value gives the same bits wherever it stands in an array", T, float, double) {
  const T special[] = {T(0.3), T(-2.5), infinity<T>, T(1e-40), T(17), quiet_nan<T>};
  for (int op = 0; op < static_cast<int>(UnaryOp::count); ++op)
    for (T value : special) {
      const T alone = apply(static_cast<UnaryOp>(op), value);
      for (int64_t n : {2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33}) {
        std::vector<T> x(static_cast<size_t>(n), value), y(x.size()), expected(x.size(), alone);
        apply_unary<T>(static_cast<UnaryOp>(op), x.data(), y.data(), n);
        CAPTURE(op);
        CAPTURE(n);
        CHECK(difference(y.data(), n, [&](int64_t) { return static_cast<long double>(alone); }) == "");
      }
    }
}
