// What the tests compare with: arrays with guards around them, plain walks over shapes, and comparisons that
// name the first value that differs.
//
// A comparison gives an empty string where all is well, so that one CHECK stands for a whole array.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "ops/matmul.h"
#include "runtime/checked.h"
#include "runtime/threads.h"

namespace reference {

using chainrule::Shape;

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T quiet_nan = std::numeric_limits<T>::quiet_NaN();
// The distance from 1 to the next number; one rounding errs by at most half of it, relatively.
template <class T>
constexpr long double epsilon = std::numeric_limits<T>::epsilon();

// ---- Values -----------------------------------------------------------------------------------------------

template <class T>
std::vector<T> normal(int64_t n, uint64_t seed, double scale = 1) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> distribution(0, scale);
  std::vector<T> values(static_cast<size_t>(n));
  for (T& value : values) value = static_cast<T>(distribution(generator));
  return values;
}

// From -most to most: their products and sums are exact, and ties abound.
template <class T>
std::vector<T> small_integers(int64_t n, uint64_t seed, int most = 4) {
  std::mt19937_64 generator(seed);
  std::vector<T> values(static_cast<size_t>(n));
  for (T& value : values)
    value = static_cast<T>(static_cast<int>(generator() % static_cast<uint64_t>(2 * most + 1)) - most);
  return values;
}

inline std::vector<int64_t> labels(int64_t n, int64_t classes, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<int64_t> values(static_cast<size_t>(n));
  for (int64_t& value : values) value = static_cast<int64_t>(generator() % static_cast<uint64_t>(classes));
  return values;
}

// ---- Guards -----------------------------------------------------------------------------------------------

// n values between guards of an odd length, so that they lie on no vector's boundary. All hold a value that
// no test computes, so that what was not written shows.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t n) : n_(n), all_(static_cast<size_t>(n + 2 * guard), untouched) {}
  explicit Guarded(const std::vector<T>& values) : Guarded(static_cast<int64_t>(values.size())) {
    for (int64_t i = 0; i < n_; ++i) data()[i] = values[static_cast<size_t>(i)];
  }
  T* data() { return all_.data() + guard; }
  T& operator[](int64_t i) { return data()[i]; }
  int64_t size() const { return n_; }
  std::vector<T> values() const { return {all_.begin() + guard, all_.end() - guard}; }
  bool intact() const {
    for (int64_t i = 0; i < guard; ++i)
      if (all_[static_cast<size_t>(i)] != untouched ||
          all_[all_.size() - 1 - static_cast<size_t>(i)] != untouched)
        return false;
    return true;
  }
  static constexpr T untouched = static_cast<T>(std::is_floating_point_v<T> ? -1234567.25
                                                : sizeof(T) == 1            ? 213.0
                                                                            : 54321.0);

 private:
  static constexpr int64_t guard = 67;
  int64_t n_;
  std::vector<T> all_;
};

// Values one element past an aligned address, with nothing allocated behind them: a read past their end is
// what AddressSanitizer sees.
template <class T>
class Unaligned {
 public:
  explicit Unaligned(const std::vector<T>& values) : storage_(values.size() + 1) {
    for (size_t i = 0; i < values.size(); ++i) storage_[i + 1] = values[i];
  }
  const T* data() const { return storage_.data() + 1; }
  T* data() { return storage_.data() + 1; }

 private:
  std::vector<T> storage_;
};

// ---- Threads ----------------------------------------------------------------------------------------------

// A number of threads for a scope. Grids of small shapes run on one: how work is cut into chunks depends on
// the shape alone, and to start threads costs more than the chunks.
class WithThreads {
 public:
  explicit WithThreads(int threads) : before_(chainrule::num_threads()) {
    chainrule::set_num_threads(threads);
  }
  ~WithThreads() { chainrule::set_num_threads(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

// ---- Shapes -----------------------------------------------------------------------------------------------

inline int64_t count(const Shape& shape) { return chainrule::element_count(shape, "reference"); }

// Strides of a contiguous array; those of a broadcast one come from broadcast_strides.
inline Shape contiguous_strides(const Shape& shape) {
  Shape strides(shape.size());
  int64_t stride = 1;
  for (size_t d = shape.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= shape[d];
  }
  return strides;
}

// Of a contiguous array of shape `own` read as one of shape `out`.
inline Shape broadcast_strides(const Shape& own, const Shape& out) {
  Shape strides(out.size(), 0), plain = contiguous_strides(own);
  for (size_t d = 0; d < own.size(); ++d)
    if (own[d] != 1) strides[out.size() - own.size() + d] = plain[d];
  return strides;
}

// The offset of an element that is the index-th in row order.
inline int64_t offset(int64_t index, const Shape& shape, const Shape& strides) {
  int64_t total = 0;
  for (size_t d = shape.size(); d-- > 0;) {
    total += index % shape[d] * strides[d];
    index /= shape[d];
  }
  return total;
}

// An array with any strides, in memory of just its extent. What lies between its values is NaN.
template <class T>
struct Strided {
  std::vector<T> storage;
  chainrule::StridedArray<T> view;

  // fill(index) gives the index-th value in row order.
  template <class Fill>
  Strided(const Shape& shape, const Shape& strides, const Fill& fill) {
    int64_t lowest = 0, highest = 0, n = count(shape);
    for (size_t d = 0; d < shape.size(); ++d) {
      int64_t reach = (shape[d] - 1) * strides[d];
      (reach < 0 ? lowest : highest) += reach;
    }
    storage.assign(n == 0 ? 0 : static_cast<size_t>(highest - lowest + 1), quiet_nan<T>);
    T* data = n == 0 ? storage.data() : storage.data() - lowest;
    for (int64_t i = 0; i < n; ++i) data[offset(i, shape, strides)] = fill(i);
    view = {data, shape, strides};
  }
  Strided(const Strided&) = delete;
  Strided& operator=(const Strided&) = delete;
};

// ---- Comparisons ------------------------------------------------------------------------------------------

// Whether two numbers agree to an absolute bound. NaN agrees with NaN, infinities with themselves.
inline bool agree(long double got, long double expected, long double bound) {
  if (std::isnan(got) || std::isnan(expected)) return std::isnan(got) && std::isnan(expected);
  if (got == expected) return true;
  if (std::isinf(got) || std::isinf(expected)) return false;
  return std::fabs(got - expected) <= bound;
}

// expected(i) and bound(i) give the value and how far from it the i-th may lie.
template <class T, class Expected, class Bound>
std::string difference(const T* got, int64_t n, const Expected& expected, const Bound& bound) {
  int64_t wrong = 0;
  std::ostringstream text;
  for (int64_t i = 0; i < n; ++i) {
    long double value = expected(i), most = bound(i);
    if (agree(static_cast<long double>(got[i]), value, most)) continue;
    if (wrong++ == 0) {
      text.precision(20);
      text << "value " << i << " of " << n << " is " << got[i] << ", expected " << value << " +- " << most;
    }
  }
  if (wrong > 1) text << " (and " << wrong - 1 << " more)";
  return text.str();
}

template <class T, class Expected>
std::string difference(const T* got, int64_t n, const Expected& expected) {
  return difference(got, n, expected, [](int64_t) { return 0.0L; });
}

// The spacing of numbers of type T at a value.
template <class T>
long double unit_in_last_place(long double value) {
  using Limits = std::numeric_limits<T>;
  if (value == 0 || !std::isfinite(value)) return Limits::denorm_min();
  int exponent;
  std::frexp(value, &exponent);
  if (exponent < Limits::min_exponent) exponent = Limits::min_exponent;
  return std::ldexp(1.0L, exponent - Limits::digits);
}

// How many units in the last place a result is away from the true value; what overflows must be infinite.
template <class T>
long double units_apart(T got, long double expected) {
  using Limits = std::numeric_limits<T>;
  if (std::isnan(expected)) return std::isnan(got) ? 0 : infinity<long double>;
  if (std::isnan(got)) return infinity<long double>;
  long double unit = unit_in_last_place<T>(expected);
  if (std::fabs(expected) > static_cast<long double>(Limits::max())) {
    unit = unit_in_last_place<T>(Limits::max());
    if (std::isinf(got)) return std::signbit(got) == std::signbit(expected) ? 0 : infinity<long double>;
    if (std::isinf(expected)) return infinity<long double>;
  }
  if (std::isinf(got)) {
    long double next = static_cast<long double>(Limits::max()) + unit;
    return std::fabs((got > 0 ? next : -next) - expected) / unit;
  }
  return std::fabs(static_cast<long double>(got) - expected) / unit;
}

// Whether two results are the same to the bit, NaN and the sign of zero included.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  const auto* x = reinterpret_cast<const unsigned char*>(a.data());
  const auto* y = reinterpret_cast<const unsigned char*>(b.data());
  for (size_t i = 0; i < a.size() * sizeof(T); ++i)
    if (x[i] != y[i]) return false;
  return true;
}

}  // namespace reference
