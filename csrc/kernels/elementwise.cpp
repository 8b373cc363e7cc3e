#include "kernels/elementwise.h"

#include <cmath>

#include "kernels/table.h"
#include "simd/gelu.h"
#include "simd/math.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

inline float scalar_sin(float x) { return ::sinf(x); }
inline double scalar_sin(double x) { return ::sin(x); }
inline float scalar_cos(float x) { return ::cosf(x); }
inline double scalar_cos(double x) { return ::cos(x); }
inline float scalar_sqrt(float x) { return ::sqrtf(x); }
inline double scalar_sqrt(double x) { return ::sqrt(x); }
inline float scalar_power(float x, float y) { return ::powf(x, y); }
inline double scalar_power(double x, double y) { return ::pow(x, y); }

template <class T>
struct Negate {
  static Vec<T> of(Vec<T> x) { return -x; }
};
template <class T>
struct Absolute {
  static Vec<T> of(Vec<T> x) { return absolute<T>(x); }
};
template <class T>
struct Sign {
  static Vec<T> of(Vec<T> x) { return x > T(0) ? broadcast<T>(1) : x < T(0) ? broadcast<T>(-1) : x; }
};
template <class T>
struct Left {
  static Vec<T> of(Vec<T> a, Vec<T>) { return a; }
};
template <class T>
struct Cube {
  static Vec<T> of(Vec<T> x) { return x * x * x; }
};
template <class T>
struct Reciprocal {
  static Vec<T> of(Vec<T> x) { return T(1) / x; }
};
template <class T>
struct Square {
  static Vec<T> of(Vec<T> x) { return x * x; }
};
template <class T>
struct Sqrt {
  static Vec<T> of(Vec<T> x) {
    return by_lane<T>(x, [](T v) { return scalar_sqrt(v); });
  }
};
template <class T>
struct Exp {
  static Vec<T> of(Vec<T> x) { return exp<T>(x); }
};
template <class T>
struct Log {
  static Vec<T> of(Vec<T> x) { return log<T>(x); }
};
template <class T>
struct Sin {
  static Vec<T> of(Vec<T> x) {
    return by_lane<T>(x, [](T v) { return scalar_sin(v); });
  }
};
template <class T>
struct Cos {
  static Vec<T> of(Vec<T> x) {
    return by_lane<T>(x, [](T v) { return scalar_cos(v); });
  }
};
template <class T>
struct Tanh {
  static Vec<T> of(Vec<T> x) { return tanh<T>(x); }
};
template <class T>
struct Sigmoid {
  static Vec<T> of(Vec<T> x) { return sigmoid<T>(x); }
};
template <class T>
struct Relu {
  // NaN is not above 0 and not below it either: it stays.
  static Vec<T> of(Vec<T> x) { return positive_part<T>(x); }
};

template <class T>
struct Gelu {
  static Vec<T> of(Vec<T> x) { return gelu<T>(x); }
};
template <class T>
struct Silu {
  static Vec<T> of(Vec<T> x) {
    Vec<T> y = x * sigmoid<T>(x);
    return x == T(-__builtin_inf()) ? Vec<T>{} : y;
  }
};
template <class T>
struct Softplus {
  static Vec<T> of(Vec<T> x) {
    // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|); the quotient gives ln(1 + e) the digits that 1 + e loses.
    const Vec<T> e = exp<T>(-absolute<T>(x)), u = e + T(1), d = u - T(1);
    const Vec<T> rest = d == T(0) ? e : log<T>(u) * (e / d);
    return (x < T(0) ? Vec<T>{} : x) + rest;
  }
};

template <class T>
struct Add {
  static Vec<T> of(Vec<T> a, Vec<T> b) { return a + b; }
};
template <class T>
struct Subtract {
  static Vec<T> of(Vec<T> a, Vec<T> b) { return a - b; }
};
template <class T>
struct Multiply {
  static Vec<T> of(Vec<T> a, Vec<T> b) { return a * b; }
};
template <class T>
struct Divide {
  static Vec<T> of(Vec<T> a, Vec<T> b) { return a / b; }
};
template <class T>
struct Power {
  static Vec<T> of(Vec<T> a, Vec<T> b) {
    T x[lanes<T>], y[lanes<T>];
    store(x, a);
    store(y, b);
    for (int i = 0; i < lanes<T>; ++i) x[i] = y[i] == T(2) ? x[i] * x[i] : scalar_power(x[i], y[i]);
    return load(x);
  }
};
template <class T>
struct Maximum {
  static Vec<T> of(Vec<T> a, Vec<T> b) { return maximum<T>(a, b); }
};
template <class T>
struct Minimum {
  static Vec<T> of(Vec<T> a, Vec<T> b) { return minimum<T>(a, b); }
};
template <class T>
struct ReluGradient {
  static Vec<T> of(Vec<T> g, Vec<T> y) { return where_positive<T>(y, g); }
};
template <class T>
struct SigmoidGradient {
  static Vec<T> of(Vec<T> g, Vec<T> y) { return g * (y * (T(1) - y)); }
};
template <class T>
struct TanhGradient {
  static Vec<T> of(Vec<T> g, Vec<T> y) { return g * (T(1) - y * y); }
};

template <class T>
struct GeluGradient {
  static Vec<T> of(Vec<T> g, Vec<T> x) { return g * gelu_slope<T>(x); }
};
template <class T>
struct SiluGradient {
  static Vec<T> of(Vec<T> g, Vec<T> x) {
    // 1 - s from e as well: a difference would keep few digits of it where s is near 1.
    const Vec<T> e = exp<T>(-absolute<T>(x)), one = broadcast<T>(1), share = one / (e + one);
    const Vec<T> s = (x < T(0) ? e : one) * share, rest = (x < T(0) ? one : e) * share;
    Vec<T> bend = x * (s * rest);
    bend = absolute<T>(x) == T(__builtin_inf()) ? Vec<T>{} : bend;
    return g * (s + bend);
  }
};
template <class T>
struct LeakyRelu {
  static Vec<T> of(Vec<T> x, Vec<T> slope) { return x > T(0) ? x : x * slope; }
};
template <class T>
struct LeakyReluSlope {
  static Vec<T> of(Vec<T> x, Vec<T> slope) { return x > T(0) ? broadcast<T>(1) : x != x ? x : slope; }
};
template <class T>
struct Elu {
  static Vec<T> of(Vec<T> x, Vec<T> alpha) {
    constexpr T least = -2 * Constants<T>::tanh_saturates;  // e^x - 1 is -1 there
    const Vec<T> bounded = x < least ? broadcast<T>(least) : x > T(0) ? Vec<T>{} : x;
    return x > T(0) ? x : alpha * expm1_bounded<T>(bounded);
  }
};
template <class T>
struct EluSlope {
  static Vec<T> of(Vec<T> x, Vec<T> alpha) { return x > T(0) ? broadcast<T>(1) : alpha * exp<T>(x); }
};

template <class T, template <class> class Op>
void map_unary(const T* x, T* out, int64_t n) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    fetch_ahead(x + i);
    store(out + i, Op<T>::of(load(x + i)));
  }
  if (i < n) store_first<T>(out + i, Op<T>::of(load_first(x + i, n - i)), n - i);
}

template <class T, template <class> class Op>
void map_binary(const T* a, int64_t a_step, const T* b, int64_t b_step, T* out, int64_t n) {
  constexpr int L = lanes<T>;
  if (n == 0) return;
  int64_t i = 0;
  if (a_step == 1 && b_step == 1) {
    for (; i + L <= n; i += L) {
      fetch_ahead(a + i);
      fetch_ahead(b + i);
      store(out + i, Op<T>::of(load(a + i), load(b + i)));
    }
    if (i < n) store_first<T>(out + i, Op<T>::of(load_first(a + i, n - i), load_first(b + i, n - i)), n - i);
  } else if (a_step == 1) {
    Vec<T> right = broadcast(*b);
    for (; i + L <= n; i += L) {
      fetch_ahead(a + i);
      store(out + i, Op<T>::of(load(a + i), right));
    }
    if (i < n) store_first<T>(out + i, Op<T>::of(load_first(a + i, n - i), right), n - i);
  } else if (b_step == 1) {
    Vec<T> left = broadcast(*a);
    for (; i + L <= n; i += L) {
      fetch_ahead(b + i);
      store(out + i, Op<T>::of(left, load(b + i)));
    }
    if (i < n) store_first<T>(out + i, Op<T>::of(left, load_first(b + i, n - i)), n - i);
  } else {
    Vec<T> value = Op<T>::of(broadcast(*a), broadcast(*b));
    for (; i + L <= n; i += L) store(out + i, value);
    if (i < n) store_first<T>(out + i, value, n - i);
  }
}

template <class T, int a_step, int b_step>
void where_rows(const uint8_t* condition, const T* a, const T* b, T* out, int64_t n) {
  // A number that repeats is read once: out might lie over it, for all the compiler knows.
  const T left = *a, right = *b;
  for (int64_t i = 0; i < n; ++i)
    out[i] = condition[i] ? (a_step == 1 ? a[i] : left) : (b_step == 1 ? b[i] : right);
}

template <class T>
void map_copy(const T* x, int64_t x_step, T* out, int64_t n) {
  if (x_step == 1)
    for (int64_t i = 0; i < n; ++i) out[i] = x[i];
  else if (n > 0)
    map_binary<T, Left>(x, 0, x, 0, out, n);
}

template <class T>
void map_where(const uint8_t* condition, int64_t condition_step, const T* a, int64_t a_step, const T* b,
               int64_t b_step, T* out, int64_t n) {
  if (n == 0) return;
  // Steps known to the compiler become vector loops.
  if (condition_step == 0) return *condition ? map_copy(a, a_step, out, n) : map_copy(b, b_step, out, n);
  if (a_step == 1 && b_step == 1) return where_rows<T, 1, 1>(condition, a, b, out, n);
  if (a_step == 1) return where_rows<T, 1, 0>(condition, a, b, out, n);
  if (b_step == 1) return where_rows<T, 0, 1>(condition, a, b, out, n);
  where_rows<T, 0, 0>(condition, a, b, out, n);
}

template <class T>
struct PassesMaximum {
  static bool of(T a, T b) { return (a >= b) | (a != a); }
};
template <class T>
struct PassesMinimum {
  static bool of(T a, T b) { return (a <= b) | (a != a); }
};

template <class T, template <class> class Passes>
void map_chosen(const T* a, int64_t a_step, const T* b, int64_t b_step, uint8_t* out, int64_t n) {
  if (a_step == 1 && b_step == 1) {
    for (int64_t i = 0; i < n; ++i) out[i] = Passes<T>::of(a[i], b[i]);
  } else if (a_step == 1) {
    const T right = n > 0 ? *b : T(0);
    for (int64_t i = 0; i < n; ++i) out[i] = Passes<T>::of(a[i], right);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = Passes<T>::of(a[i * a_step], b[i * b_step]);
  }
}

// Powers with one exponent for all, as in x^2: small whole exponents are products.
template <class T>
void map_power(const T* a, int64_t a_step, const T* b, int64_t b_step, T* out, int64_t n) {
  if (n > 0 && b_step == 0 && a_step == 1) {
    if (*b == T(1)) return map_copy(a, 1, out, n);
    if (*b == T(2)) return map_unary<T, Square>(a, out, n);
    if (*b == T(3)) return map_unary<T, Cube>(a, out, n);
    if (*b == T(-1)) return map_unary<T, Reciprocal>(a, out, n);
  }
  map_binary<T, Power>(a, a_step, b, b_step, out, n);
}

template <class T>
void fill(ElementwiseKernels<T>& kernels) {
  kernels = {{map_unary<T, Negate>, map_unary<T, Absolute>, map_unary<T, Sign>, map_unary<T, Square>,
              map_unary<T, Sqrt>, map_unary<T, Exp>, map_unary<T, Log>, map_unary<T, Sin>, map_unary<T, Cos>,
              map_unary<T, Tanh>, map_unary<T, Sigmoid>, map_unary<T, Relu>, map_unary<T, Gelu>,
              map_unary<T, Silu>, map_unary<T, Softplus>},
             {map_binary<T, Add>, map_binary<T, Subtract>, map_binary<T, Multiply>, map_binary<T, Divide>,
              map_power<T>, map_binary<T, Maximum>, map_binary<T, Minimum>, map_binary<T, ReluGradient>,
              map_binary<T, SigmoidGradient>, map_binary<T, TanhGradient>, map_binary<T, GeluGradient>,
              map_binary<T, SiluGradient>, map_binary<T, LeakyRelu>, map_binary<T, LeakyReluSlope>,
              map_binary<T, Elu>, map_binary<T, EluSlope>},
             map_where<T>,
             map_chosen<T, PassesMaximum>,
             map_chosen<T, PassesMinimum>,
             map_copy<T>};
}

}  // namespace

void fill_elementwise(KernelTable& table) {
  fill(table.float32.elementwise);
  fill(table.float64.elementwise);
}

}  // namespace chainrule::CHAINRULE_ISA
