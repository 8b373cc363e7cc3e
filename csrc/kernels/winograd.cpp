#include "kernels/winograd.h"

#include "kernels/table.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// One-dimensional transforms, on `a` values `s` apart. The matrices follow from the points p of each
// frequency: A^T has rows p^0, p^1, ...; G has (p^0, p^1, ...) / prod(p - q) over the other points q; B^T
// takes a polynomial's coefficients to what those products need. Infinity gives the last value alone.

template <int m, int r>
struct Points;

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

// Points 0, 1, -1, 2, -2, infinity.
struct SixPoints {
  // y = B^T d
  template <class V>
  static void input(V* d, int s) {
    const V d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s], d5 = d[5 * s];
    const V even = d4 - 4 * d2, odd = d3 - 4 * d1, even2 = d4 - d2, odd2 = 2 * (d3 - d1);
    d[0] = 4 * d0 - 5 * d2 + d4;
    d[s] = even + odd;
    d[2 * s] = even - odd;
    d[3 * s] = even2 + odd2;
    d[4 * s] = even2 - odd2;
    d[5 * s] = 4 * d1 - 5 * d3 + d5;
  }
};

template <>
struct Points<4, 3> : SixPoints {
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

template <>
struct Points<2, 5> : SixPoints {
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

// Points 0, 1, -1, infinity.
template <>
struct Points<2, 3> {
  template <class V>
  static void input(V* d, int s) {
    const V d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s];
    d[0] = d0 - d2;
    d[s] = d1 + d2;
    d[2 * s] = d2 - d1;
    d[3 * s] = d3 - d1;
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

template <class T, int m, int r>
struct Transforms {
  static constexpr int a = m + r - 1;
  using P = Points<m, r>;

  static void input(const T* const* pixels, int64_t n, T* out, int64_t plane) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> d[a * a];
#pragma GCC unroll 36
      for (int f = 0; f < a * a; ++f) d[f] = get(pixels[f] + c);
#pragma GCC unroll 6
      for (int j = 0; j < a; ++j) P::input(d + j, a);
#pragma GCC unroll 6
      for (int i = 0; i < a; ++i) P::input(d + i * a, 1);
#pragma GCC unroll 36
      for (int f = 0; f < a * a; ++f) put(out + f * plane + c, d[f]);
    });
  }

  static void output(const T* products, int64_t plane, int64_t n, const T* bias, bool relu, T* y,
                     int64_t y_row, int64_t y_pixel, int rows, int columns) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> p[a * a], half[m * a], out[m * m];
#pragma GCC unroll 36
      for (int f = 0; f < a * a; ++f) p[f] = get(products + f * plane + c);
#pragma GCC unroll 6
      for (int j = 0; j < a; ++j) P::output(p + j, a, half + j, a);
#pragma GCC unroll 4
      for (int i = 0; i < m; ++i) P::output(half + i * a, 1, out + i * m, 1);
      const Vec<T> shift = bias != nullptr ? get(bias + c) : Vec<T>{};
#pragma GCC unroll 16
      for (int f = 0; f < m * m; ++f) {
        out[f] += shift;
        if (relu) out[f] = out[f] <= T(0) ? Vec<T>{} : out[f];
      }
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) put(y + i * y_row + j * y_pixel + c, out[i * m + j]);
    });
  }

  static void output_adjoint(const T* const* pixels, int64_t n, T* out, int64_t plane) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> g[m * m], half[a * m], z[a * a];
#pragma GCC unroll 16
      for (int f = 0; f < m * m; ++f) g[f] = get(pixels[f] + c);
#pragma GCC unroll 4
      for (int j = 0; j < m; ++j) P::output_adjoint(g + j, m, half + j, m);
#pragma GCC unroll 6
      for (int i = 0; i < a; ++i) P::output_adjoint(half + i * m, 1, z + i * a, 1);
#pragma GCC unroll 36
      for (int f = 0; f < a * a; ++f) put(out + f * plane + c, z[f]);
    });
  }

  static void weights(const T* from, int64_t sample, int64_t n, T* out, int64_t plane) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> g[r * r], half[a * r], u[a * a];
#pragma GCC unroll 25
      for (int f = 0; f < r * r; ++f) g[f] = get(from + f * sample + c);
#pragma GCC unroll 5
      for (int j = 0; j < r; ++j) P::weights(g + j, r, half + j, r);
#pragma GCC unroll 6
      for (int i = 0; i < a; ++i) P::weights(half + i * r, 1, u + i * a, 1);
#pragma GCC unroll 36
      for (int f = 0; f < a * a; ++f) put(out + f * plane + c, u[f]);
    });
  }

  static void weights_adjoint(const T* products, int64_t plane, int64_t n, T* out, int64_t sample) {
    for_vectors<T>(n, [&](int64_t c, auto get, auto put) {
      Vec<T> u[a * a], half[r * a], g[r * r];
#pragma GCC unroll 36
      for (int f = 0; f < a * a; ++f) u[f] = get(products + f * plane + c);
#pragma GCC unroll 6
      for (int j = 0; j < a; ++j) P::weights_adjoint(u + j, a, half + j, a);
#pragma GCC unroll 5
      for (int i = 0; i < r; ++i) P::weights_adjoint(half + i * a, 1, g + i * r, 1);
#pragma GCC unroll 25
      for (int f = 0; f < r * r; ++f) put(out + f * sample + c, g[f]);
    });
  }

  static WinogradTransforms<T> all() {
    return {m, r, a, input, weights, output, output_adjoint, weights_adjoint};
  }
};

template <class T>
void fill(WinogradKernels<T>& kernels) {
  kernels = {Transforms<T, 4, 3>::all(), Transforms<T, 2, 3>::all(), Transforms<T, 2, 5>::all()};
}

}  // namespace

void fill_winograd(KernelTable& table) {
  fill(table.float32.winograd);
  fill(table.float64.winograd);
}

}  // namespace chainrule::CHAINRULE_ISA
