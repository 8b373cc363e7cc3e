#include "kernels/winograd.h"

#include "kernels/table.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// One-dimensional transforms, on `a` values `s` apart. The matrices follow from the points p of each
// frequency: A^T has rows p^0, p^1, ...; G has (p^0, p^1, ...) / prod(p - q) over the other points q; B^T
// takes a polynomial's coefficients to what those products need. Infinity gives the last value alone.

// The element type of a vector.
template <class V>
struct ElementOf;
template <>
struct ElementOf<Vec<float>> {
  using type = float;
};
template <>
struct ElementOf<Vec<double>> {
  using type = double;
};
template <class V>
using Element = typename ElementOf<V>::type;

constexpr int each[] = {0, 1, 2, 3, 4, 5, 6, 7};

// Points 0, 1, -1, 2, -2, infinity.
struct SixPoints {
  static constexpr int samples = 6, frequencies = 6, matrices = 6;
  static constexpr const int* matrix_of = each;
  // v = B^T d
  template <class V>
  static void input(const V* d, int s, V* v, int t) {
    const V d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s], d5 = d[5 * s];
    const V even = d4 - 4 * d2, odd = d3 - 4 * d1, even2 = d4 - d2, odd2 = 2 * (d3 - d1);
    v[0] = 4 * d0 - 5 * d2 + d4;
    v[t] = even + odd;
    v[2 * t] = even - odd;
    v[3 * t] = even2 + odd2;
    v[4 * t] = even2 - odd2;
    v[5 * t] = 4 * d1 - 5 * d3 + d5;
  }
};

struct Outputs4Taps3 : SixPoints {
  static constexpr int taps = 3, outputs = 4, step = 4;
  template <class V>
  static void output(const V* p, int s, V* y, int t) {
    const V sum1 = p[s] + p[2 * s], difference1 = p[s] - p[2 * s];
    const V sum2 = p[3 * s] + p[4 * s], difference2 = p[3 * s] - p[4 * s];
    y[0] = p[0] + sum1 + sum2;
    y[t] = difference1 + 2 * difference2;
    y[2 * t] = sum1 + 4 * sum2;
    y[3 * t] = difference1 + 8 * difference2 + p[5 * s];
  }
  template <class V>
  static void output_adjoint(const V* g, int s, V* z, int t) {
    const V even = g[0] + g[2 * s], odd = g[s] + g[3 * s];
    const V even2 = g[0] + 4 * g[2 * s], odd2 = 2 * g[s] + 8 * g[3 * s];
    z[0] = g[0];
    z[t] = even + odd;
    z[2 * t] = even - odd;
    z[3 * t] = even2 + odd2;
    z[4 * t] = even2 - odd2;
    z[5 * t] = g[3 * s];
  }
  template <class V>
  static void weights(const V* g, int s, V* u, int t) {
    using T = Element<V>;
    const V even = (g[0] + g[2 * s]) * (T(-1) / 6), odd = g[s] * (T(-1) / 6);
    const V even2 = g[0] * (T(1) / 24) + g[2 * s] * (T(1) / 6), odd2 = g[s] * (T(1) / 12);
    u[0] = g[0] * T(0.25);
    u[t] = even + odd;
    u[2 * t] = even - odd;
    u[3 * t] = even2 + odd2;
    u[4 * t] = even2 - odd2;
    u[5 * t] = g[2 * s];
  }
  template <class V>
  static void weights_adjoint(const V* u, int s, V* g, int t) {
    using T = Element<V>;
    const V sum1 = (u[s] + u[2 * s]) * (T(-1) / 6), sum2 = u[3 * s] + u[4 * s];
    g[0] = u[0] * T(0.25) + sum1 + sum2 * (T(1) / 24);
    g[t] = (u[s] - u[2 * s]) * (T(-1) / 6) + (u[3 * s] - u[4 * s]) * (T(1) / 12);
    g[2 * t] = sum1 + sum2 * (T(1) / 6) + u[5 * s];
  }
};

struct Outputs2Taps5 : SixPoints {
  static constexpr int taps = 5, outputs = 2, step = 2;
  template <class V>
  static void output(const V* p, int s, V* y, int t) {
    y[0] = p[0] + (p[s] + p[2 * s]) + (p[3 * s] + p[4 * s]);
    y[t] = (p[s] - p[2 * s]) + 2 * (p[3 * s] - p[4 * s]) + p[5 * s];
  }
  template <class V>
  static void output_adjoint(const V* g, int s, V* z, int t) {
    z[0] = g[0];
    z[t] = g[0] + g[s];
    z[2 * t] = g[0] - g[s];
    z[3 * t] = g[0] + 2 * g[s];
    z[4 * t] = g[0] - 2 * g[s];
    z[5 * t] = g[s];
  }
  template <class V>
  static void weights(const V* g, int s, V* u, int t) {
    using T = Element<V>;
    const V even = (g[0] + g[2 * s] + g[4 * s]) * (T(-1) / 6), odd = (g[s] + g[3 * s]) * (T(-1) / 6);
    const V even2 = (g[0] + 4 * g[2 * s] + 16 * g[4 * s]) * (T(1) / 24);
    const V odd2 = (g[s] + 4 * g[3 * s]) * (T(1) / 12);
    u[0] = g[0] * T(0.25);
    u[t] = even + odd;
    u[2 * t] = even - odd;
    u[3 * t] = even2 + odd2;
    u[4 * t] = even2 - odd2;
    u[5 * t] = g[4 * s];
  }
  template <class V>
  static void weights_adjoint(const V* u, int s, V* g, int t) {
    using T = Element<V>;
    const V sum1 = (u[s] + u[2 * s]) * (T(-1) / 6), difference1 = (u[s] - u[2 * s]) * (T(-1) / 6);
    const V sum2 = (u[3 * s] + u[4 * s]) * (T(1) / 24), difference2 = (u[3 * s] - u[4 * s]) * (T(1) / 24);
    g[0] = u[0] * T(0.25) + sum1 + sum2;
    g[t] = difference1 + 2 * difference2;
    g[2 * t] = sum1 + 4 * sum2;
    g[3 * t] = difference1 + 8 * difference2;
    g[4 * t] = sum1 + 16 * sum2 + u[5 * s];
  }
};

// Points 0, 1, -1, 2, -2, 1/2, -1/2, infinity. Those of one pair share the even and the odd part of a sum.
struct EightPoints {
  static constexpr int samples = 8, frequencies = 8, matrices = 8;
  static constexpr const int* matrix_of = each;
  template <class V>
  static void input(const V* d, int s, V* v, int t) {
    using T = Element<V>;
    const V d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s], d5 = d[5 * s], d6 = d[6 * s];
    const V even = d2 - T(4.25) * d4 + d6, odd = d1 - T(4.25) * d3 + d5;
    const V even2 = T(0.25) * d2 - T(1.25) * d4 + d6, odd2 = T(0.5) * d1 - T(2.5) * d3 + 2 * d5;
    const V even_half = 4 * d2 - 5 * d4 + d6, odd_half = 2 * d1 - T(2.5) * d3 + T(0.5) * d5;
    v[0] = (d[0] - d6) + T(5.25) * (d4 - d2);
    v[t] = even + odd;
    v[2 * t] = even - odd;
    v[3 * t] = even2 + odd2;
    v[4 * t] = even2 - odd2;
    v[5 * t] = even_half + odd_half;
    v[6 * t] = even_half - odd_half;
    v[7 * t] = (d[7 * s] - d1) + T(5.25) * (d3 - d5);
  }

  // What the points' products add up to and differ by, pair by pair.
  template <class V>
  struct Pairs {
    V sum1, difference1, sum2, difference2, sum_half, difference_half;
    Pairs(const V* p, int s)
        : sum1(p[s] + p[2 * s]),
          difference1(p[s] - p[2 * s]),
          sum2(p[3 * s] + p[4 * s]),
          difference2(p[3 * s] - p[4 * s]),
          sum_half(p[5 * s] + p[6 * s]),
          difference_half(p[5 * s] - p[6 * s]) {}
  };
  template <class V>
  static void spread(V even, V odd, V even2, V odd2, V even_half, V odd_half, V* z, int t) {
    z[t] = even + odd;
    z[2 * t] = even - odd;
    z[3 * t] = even2 + odd2;
    z[4 * t] = even2 - odd2;
    z[5 * t] = even_half + odd_half;
    z[6 * t] = even_half - odd_half;
  }
  // One over the product of a point's distances from the others.
  template <class T>
  static constexpr T share1 = T(-2) / 9;
  template <class T>
  static constexpr T share2 = T(1) / 90;
  template <class T>
  static constexpr T share_half = T(32) / 45;
};

struct Outputs4Taps5 : EightPoints {
  static constexpr int taps = 5, outputs = 4, step = 4;
  template <class V>
  static void output(const V* p, int s, V* y, int t) {
    using T = Element<V>;
    const Pairs<V> q(p, s);
    y[0] = p[0] + q.sum1 + q.sum2 + q.sum_half;
    y[t] = q.difference1 + 2 * q.difference2 + T(0.5) * q.difference_half;
    y[2 * t] = q.sum1 + 4 * q.sum2 + T(0.25) * q.sum_half;
    y[3 * t] = q.difference1 + 8 * q.difference2 + T(0.125) * q.difference_half + p[7 * s];
  }
  template <class V>
  static void output_adjoint(const V* g, int s, V* z, int t) {
    using T = Element<V>;
    const V g0 = g[0], g1 = g[s], g2 = g[2 * s], g3 = g[3 * s];
    z[0] = g0;
    spread(g0 + g2, g1 + g3, g0 + 4 * g2, 2 * g1 + 8 * g3, g0 + T(0.25) * g2, T(0.5) * g1 + T(0.125) * g3, z,
           t);
    z[7 * t] = g3;
  }
  template <class V>
  static void weights(const V* g, int s, V* u, int t) {
    using T = Element<V>;
    const V g0 = g[0], g1 = g[s], g2 = g[2 * s], g3 = g[3 * s], g4 = g[4 * s];
    u[0] = g0;
    spread((g0 + g2 + g4) * share1<T>, (g1 + g3) * share1<T>, (g0 + 4 * g2 + 16 * g4) * share2<T>,
           (2 * g1 + 8 * g3) * share2<T>, (g0 + T(0.25) * g2 + T(0.0625) * g4) * share_half<T>,
           (T(0.5) * g1 + T(0.125) * g3) * share_half<T>, u, t);
    u[7 * t] = g4;
  }
  template <class V>
  static void weights_adjoint(const V* u, int s, V* g, int t) {
    using T = Element<V>;
    Pairs<V> q(u, s);
    g[0] = u[0] + share1<T> * q.sum1 + share2<T> * q.sum2 + share_half<T> * q.sum_half;
    g[t] =
        share1<T> * q.difference1 + (2 * share2<T>)*q.difference2 + (share_half<T> / 2) * q.difference_half;
    g[2 * t] = share1<T> * q.sum1 + (4 * share2<T>)*q.sum2 + (share_half<T> / 4) * q.sum_half;
    g[3 * t] =
        share1<T> * q.difference1 + (8 * share2<T>)*q.difference2 + (share_half<T> / 8) * q.difference_half;
    g[4 * t] = share1<T> * q.sum1 + (16 * share2<T>)*q.sum2 + (share_half<T> / 16) * q.sum_half + u[7 * s];
  }
};

struct Outputs6Taps3 : EightPoints {
  static constexpr int taps = 3, outputs = 6, step = 6;
  template <class V>
  static void output(const V* p, int s, V* y, int t) {
    using T = Element<V>;
    const Pairs<V> q(p, s);
    y[0] = p[0] + q.sum1 + q.sum2 + q.sum_half;
    y[t] = q.difference1 + 2 * q.difference2 + T(0.5) * q.difference_half;
    y[2 * t] = q.sum1 + 4 * q.sum2 + T(0.25) * q.sum_half;
    y[3 * t] = q.difference1 + 8 * q.difference2 + T(0.125) * q.difference_half;
    y[4 * t] = q.sum1 + 16 * q.sum2 + T(0.0625) * q.sum_half;
    y[5 * t] = q.difference1 + 32 * q.difference2 + T(0.03125) * q.difference_half + p[7 * s];
  }
  template <class V>
  static void output_adjoint(const V* g, int s, V* z, int t) {
    using T = Element<V>;
    const V g0 = g[0], g1 = g[s], g2 = g[2 * s], g3 = g[3 * s], g4 = g[4 * s], g5 = g[5 * s];
    z[0] = g0;
    spread(g0 + g2 + g4, g1 + g3 + g5, g0 + 4 * g2 + 16 * g4, 2 * g1 + 8 * g3 + 32 * g5,
           g0 + T(0.25) * g2 + T(0.0625) * g4, T(0.5) * g1 + T(0.125) * g3 + T(0.03125) * g5, z, t);
    z[7 * t] = g5;
  }
  template <class V>
  static void weights(const V* g, int s, V* u, int t) {
    using T = Element<V>;
    const V g0 = g[0], g1 = g[s], g2 = g[2 * s];
    u[0] = g0;
    spread((g0 + g2) * share1<T>, g1 * share1<T>, (g0 + 4 * g2) * share2<T>, g1 * (2 * share2<T>),
           (g0 + T(0.25) * g2) * share_half<T>, g1 * (share_half<T> / 2), u, t);
    u[7 * t] = g2;
  }
  template <class V>
  static void weights_adjoint(const V* u, int s, V* g, int t) {
    using T = Element<V>;
    Pairs<V> q(u, s);
    g[0] = u[0] + share1<T> * q.sum1 + share2<T> * q.sum2 + share_half<T> * q.sum_half;
    g[t] =
        share1<T> * q.difference1 + (2 * share2<T>)*q.difference2 + (share_half<T> / 2) * q.difference_half;
    g[2 * t] = share1<T> * q.sum1 + (4 * share2<T>)*q.sum2 + (share_half<T> / 4) * q.sum_half + u[7 * s];
  }
};

// Points 0, 1, -1, infinity.
struct Outputs2Taps3 {
  static constexpr int samples = 4, frequencies = 4, matrices = 4, taps = 3, outputs = 2, step = 2;
  static constexpr const int* matrix_of = each;
  template <class V>
  static void input(const V* d, int s, V* v, int t) {
    const V d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s];
    v[0] = d0 - d2;
    v[t] = d1 + d2;
    v[2 * t] = d2 - d1;
    v[3 * t] = d3 - d1;
  }
  template <class V>
  static void output(const V* p, int s, V* y, int t) {
    y[0] = p[0] + p[s] + p[2 * s];
    y[t] = p[s] - p[2 * s] + p[3 * s];
  }
  template <class V>
  static void output_adjoint(const V* g, int s, V* z, int t) {
    z[0] = g[0];
    z[t] = g[0] + g[s];
    z[2 * t] = g[0] - g[s];
    z[3 * t] = g[s];
  }
  template <class V>
  static void weights(const V* g, int s, V* u, int t) {
    using T = Element<V>;
    const V even = (g[0] + g[2 * s]) * T(0.5), odd = g[s] * T(0.5);
    u[0] = g[0];
    u[t] = even + odd;
    u[2 * t] = even - odd;
    u[3 * t] = g[2 * s];
  }
  template <class V>
  static void weights_adjoint(const V* u, int s, V* g, int t) {
    using T = Element<V>;
    const V sum = (u[s] + u[2 * s]) * T(0.5);
    g[0] = u[0] + sum;
    g[t] = (u[s] - u[2 * s]) * T(0.5);
    g[2 * t] = sum + u[3 * s];
  }
};

// F(4, 2), points 0, 1, -1, 2, infinity.
struct Outputs4Taps2 {
  template <class V>
  static void input(const V* d, int s, V* v, int t) {
    const V d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
    const V difference = d3 - d1;
    v[0] = 2 * (d0 - d2) + difference;
    v[t] = d3 - d2 - 2 * d1;
    v[2 * t] = d3 - 3 * d2 + 2 * d1;
    v[3 * t] = difference;
    v[4 * t] = d4 - d2 - 2 * difference;
  }
  template <class V>
  static void output(const V* p, int s, V* y, int t) {
    const V sum = p[s] + p[2 * s], difference = p[s] - p[2 * s], p3 = p[3 * s];
    y[0] = p[0] + sum + p3;
    y[t] = difference + 2 * p3;
    y[2 * t] = sum + 4 * p3;
    y[3 * t] = difference + 8 * p3 + p[4 * s];
  }
  template <class V>
  static void output_adjoint(const V* g, int s, V* z, int t) {
    const V even = g[0] + g[2 * s], odd = g[s] + g[3 * s];
    z[0] = g[0];
    z[t] = even + odd;
    z[2 * t] = even - odd;
    z[3 * t] = g[0] + 2 * g[s] + 4 * g[2 * s] + 8 * g[3 * s];
    z[4 * t] = g[3 * s];
  }
  template <class V>
  static void weights(V first, V last, V* u, int t) {
    using T = Element<V>;
    u[0] = first * T(0.5);
    u[t] = (first + last) * T(-0.5);
    u[2 * t] = (last - first) * (T(1) / 6);
    u[3 * t] = (first + 2 * last) * (T(1) / 6);
    u[4 * t] = last;
  }
  template <class V>
  static void weights_adjoint(const V* u, int s, V& first, V& last) {
    using T = Element<V>;
    const V a = u[s] * T(-0.5), b = u[2 * s] * (T(1) / 6), c = u[3 * s] * (T(1) / 6);
    first = u[0] * T(0.5) + a - b + c;
    last = a + b + 2 * c + u[4 * s];
  }
};

// Stride 2, 3 taps, y_t = g0 d_2t + g1 d_2t+1 + g2 d_2t+2: products 0 to 4 of the outer taps, 5 to 8 of the
// middle one.
constexpr int outer_and_middle[] = {0, 1, 2, 3, 4, 5, 5, 5, 5};

struct Stride2 {
  static constexpr int samples = 9, frequencies = 9, matrices = 6, taps = 3, outputs = 4, step = 8;
  static constexpr const int* matrix_of = outer_and_middle;
  template <class V>
  static void weights(const V* g, int s, V* u, int t) {
    Outputs4Taps2::weights(g[0], g[2 * s], u, t);
    u[5 * t] = g[s];
  }
  template <class V>
  static void weights_adjoint(const V* u, int s, V* g, int t) {
    Outputs4Taps2::weights_adjoint(u, s, g[0], g[2 * t]);
    g[t] = u[5 * s];
  }
  template <class V>
  static void input(const V* d, int s, V* v, int t) {
    Outputs4Taps2::input(d, 2 * s, v, t);
    for (int i = 0; i < 4; ++i) v[(5 + i) * t] = d[(2 * i + 1) * s];
  }
  template <class V>
  static void output(const V* p, int s, V* y, int t) {
    Outputs4Taps2::output(p, s, y, t);
    for (int i = 0; i < 4; ++i) y[i * t] += p[(5 + i) * s];
  }
  template <class V>
  static void output_adjoint(const V* g, int s, V* z, int t) {
    Outputs4Taps2::output_adjoint(g, s, z, t);
    for (int i = 0; i < 4; ++i) z[(5 + i) * t] = g[i * s];
  }
};

// Two dimensions: along the columns, then along the rows.
template <class T, class Axis>
struct Transforms {
  static constexpr int a = Axis::samples, f = Axis::frequencies, m = Axis::matrices, r = Axis::taps,
                       o = Axis::outputs;

  static void input(const T* const* pixels, int64_t n, T* out, int64_t plane) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> d[a * a], half[f * a], v[f * f];
#pragma GCC unroll 81
      for (int i = 0; i < a * a; ++i) d[i] = get(pixels[i] + c);
#pragma GCC unroll 9
      for (int j = 0; j < a; ++j) Axis::input(d + j, a, half + j, a);
#pragma GCC unroll 9
      for (int i = 0; i < f; ++i) Axis::input(half + i * a, 1, v + i * f, 1);
#pragma GCC unroll 81
      for (int i = 0; i < f * f; ++i) put(out + i * plane + c, v[i]);
    });
  }

  static void output(const T* products, int64_t plane, int64_t n, const T* bias, bool relu, const T* mask,
                     T* y, int64_t y_row, int64_t y_pixel, int rows, int columns) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> p[f * f], half[o * f], out[o * o];
#pragma GCC unroll 81
      for (int i = 0; i < f * f; ++i) p[i] = get(products + i * plane + c);
#pragma GCC unroll 9
      for (int j = 0; j < f; ++j) Axis::output(p + j, f, half + j, f);
#pragma GCC unroll 8
      for (int i = 0; i < o; ++i) Axis::output(half + i * f, 1, out + i * o, 1);
      const Vec<T> shift = bias != nullptr ? get(bias + c) : Vec<T>{};
#pragma GCC unroll 64
      for (int i = 0; i < o * o; ++i) {
        out[i] += shift;
        if (relu) out[i] = positive_part<T>(out[i]);
      }
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) {
          const int64_t at = i * y_row + j * y_pixel + c;
          Vec<T> value = out[i * o + j];
          if (mask != nullptr) value = where_positive<T>(get(mask + at), value);
          put(y + at, value);
        }
    });
  }

  static void output_adjoint(const T* const* pixels, int64_t n, T* out, int64_t plane) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> g[o * o], half[f * o], z[f * f];
#pragma GCC unroll 36
      for (int i = 0; i < o * o; ++i) g[i] = get(pixels[i] + c);
#pragma GCC unroll 6
      for (int j = 0; j < o; ++j) Axis::output_adjoint(g + j, o, half + j, o);
#pragma GCC unroll 9
      for (int i = 0; i < f; ++i) Axis::output_adjoint(half + i * o, 1, z + i * f, 1);
#pragma GCC unroll 81
      for (int i = 0; i < f * f; ++i) put(out + i * plane + c, z[i]);
    });
  }

  static void weights(const T* from, int64_t sample, int64_t n, T* out, int64_t plane) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> g[r * r], half[m * r], u[m * m];
#pragma GCC unroll 25
      for (int i = 0; i < r * r; ++i) g[i] = get(from + i * sample + c);
#pragma GCC unroll 5
      for (int j = 0; j < r; ++j) Axis::weights(g + j, r, half + j, r);
#pragma GCC unroll 8
      for (int i = 0; i < m; ++i) Axis::weights(half + i * r, 1, u + i * m, 1);
#pragma GCC unroll 64
      for (int i = 0; i < m * m; ++i) put(out + i * plane + c, u[i]);
    });
  }

  static void weights_adjoint(const T* products, int64_t plane, int64_t n, T* out, int64_t sample) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> u[m * m], half[r * m], g[r * r];
#pragma GCC unroll 64
      for (int i = 0; i < m * m; ++i) u[i] = get(products + i * plane + c);
#pragma GCC unroll 8
      for (int j = 0; j < m; ++j) Axis::weights_adjoint(u + j, m, half + j, m);
#pragma GCC unroll 5
      for (int i = 0; i < r; ++i) Axis::weights_adjoint(half + i * m, 1, g + i * r, 1);
#pragma GCC unroll 25
      for (int i = 0; i < r * r; ++i) put(out + i * sample + c, g[i]);
    });
  }

  static WinogradTransforms<T> all() {
    return {
        a, r, o, Axis::step, f, m, Axis::matrix_of, input, weights, output, output_adjoint, weights_adjoint};
  }
};

template <class T>
void fill(WinogradKernels<T>& kernels) {
  kernels = {Transforms<T, Outputs4Taps3>::all(), Transforms<T, Outputs2Taps3>::all(),
             Transforms<T, Outputs2Taps5>::all(), Transforms<T, Outputs6Taps3>::all(),
             Transforms<T, Outputs4Taps5>::all(), Transforms<T, Stride2>::all()};
}

}  // namespace

void fill_winograd(KernelTable& table) {
  fill(table.float32.winograd);
  fill(table.float64.winograd);
}

}  // namespace chainrule::CHAINRULE_ISA
