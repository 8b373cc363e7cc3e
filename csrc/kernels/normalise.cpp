#include "kernels/normalise.h"

#include <cmath>
#include <type_traits>

#include "kernels/table.h"
#include "simd/gelu.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

inline float root(float x) { return ::sqrtf(x); }
inline double root(double x) { return ::sqrt(x); }

// Sums over the rows of each column run row by row, as memory lies, and are kept in the first cache. Those of
// a few columns are kept in registers, four of each, which hides the latency of the addition. sums[k][c] =
// the sum over rows [first, rows) of the terms[k] that body(c, row, get, put, terms) gives for a vector of
// columns.
template <class T, int count, class Body>
inline void sum_over_rows(int64_t first, int64_t rows, int64_t columns, T* const (&sums)[count],
                          const Body& body) {
  if (NormaliseKernels<T>::sums(columns) == 4) {
    for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
      Vec<T> parts[4][count] = {}, terms[count];
      for (int64_t i = first; i < rows; ++i) {
        body(c, i, get, put, terms);
        for (int k = 0; k < count; ++k) parts[i % 4][k] += terms[k];
      }
      for (int k = 0; k < count; ++k)
        put(sums[k] + c, (parts[0][k] + parts[1][k]) + (parts[2][k] + parts[3][k]));
    });
    return;
  }
  for (int k = 0; k < count; ++k)
    for (int64_t c = 0; c < columns; ++c) sums[k][c] = T(0);
  for (int64_t i = first; i < rows; ++i)
    for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
      Vec<T> terms[count];
      body(c, i, get, put, terms);
      for (int k = 0; k < count; ++k) put(sums[k] + c, get(sums[k] + c) + terms[k]);
    });
}

template <class T>
void moments(const T* x, int64_t rows, int64_t columns, T* mean, T* squares) {
  const T share = T(1) / static_cast<T>(rows);
  // Distances from the first value: sums of the values themselves would lose the digits that a large mean
  // leaves to the deviations.
  sum_over_rows<T, 1>(1, rows, columns, {mean}, [&](int64_t c, int64_t i, auto get, auto, Vec<T>* terms) {
    fetch_ahead(x + i * columns + c);
    terms[0] = get(x + i * columns + c) - get(x + c);
  });
  for_vectors<T>(columns, [&](int64_t c, auto get, auto put) { put(mean + c, get(mean + c) * share); });
  sum_over_rows<T, 1>(0, rows, columns, {squares}, [&](int64_t c, int64_t i, auto get, auto, Vec<T>* terms) {
    const Vec<T> d = get(x + i * columns + c) - get(x + c) - get(mean + c);
    terms[0] = d * d;
  });
}

// (x - mean) scale + shift, the same to the bit on the way back, where its sign tells what relu let through.
template <class T>
inline Vec<T> standardised(Vec<T> x, Vec<T> mean, Vec<T> scale, Vec<T> shift) {
  return (x - mean) * scale + shift;
}

template <class T, Activation activation>
inline Vec<T> activated(Vec<T> x) {
  if constexpr (activation == Activation::relu) return positive_part<T>(x);
  if constexpr (activation == Activation::gelu) return gelu<T>(x);
  return x;
}

// The gradient before the activation, from that behind it and what the activation was given.
template <class T, Activation activation>
inline Vec<T> before(Vec<T> g, Vec<T> x) {
  if constexpr (activation == Activation::relu) return where_positive<T>(x, g);
  if constexpr (activation == Activation::gelu) return g * gelu_slope<T>(x);
  return g;
}

template <class T, Activation activation>
void standardise_rows(const T* x, int64_t rows, int64_t columns, const T* mean, const T* scale,
                      const T* shift, T* y) {
  for (int64_t i = 0; i < rows; ++i, x += columns, y += columns)
    for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
      fetch_ahead(x + c);
      put(y + c, activated<T, activation>(
                     standardised<T>(get(x + c), get(mean + c), get(scale + c), get(shift + c))));
    });
}

template <class T, Activation activation>
void add_gradients(const T* g, const T* x, int64_t rows, int64_t columns, const T* mean,
                   const T* inverse_deviation, const T* scale, const T* shift, T* passed, T* sum_g,
                   T* sum_gx) {
  sum_over_rows<T, 2>(
      0, rows, columns, {sum_g, sum_gx}, [&](int64_t c, int64_t i, auto get, auto put, Vec<T>* terms) {
        const int64_t at = i * columns + c;
        fetch_ahead(g + at);
        fetch_ahead(x + at);
        const Vec<T> own = get(x + at), centre = get(mean + c);
        terms[0] =
            before<T, activation>(get(g + at), standardised<T>(own, centre, get(scale + c), get(shift + c)));
        terms[1] = terms[0] * (own - centre);
        if constexpr (activation == Activation::gelu) put(passed + at, terms[0]);
      });
  for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
    put(sum_gx + c, get(sum_gx + c) * get(inverse_deviation + c));
  });
}

template <class T, Activation activation>
void input_gradient(const T* g, const T* x, int64_t rows, int64_t columns, const T* mean,
                    const T* inverse_deviation, const T* scale, const T* shift, const T* mean_g,
                    const T* mean_gx, T* dx) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = i * columns;
    for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
      fetch_ahead(g + row + c);
      fetch_ahead(x + row + c);
      const Vec<T> own = get(x + row + c), centre = get(mean + c), slope = get(scale + c);
      const Vec<T> value =
          before<T, activation>(get(g + row + c), standardised<T>(own, centre, slope, get(shift + c)));
      const Vec<T> standard = (own - centre) * get(inverse_deviation + c);
      put(dx + row + c, slope * (value - get(mean_g + c) - standard * get(mean_gx + c)));
    });
  }
}

// function(the activation as a constant)
template <class Function>
inline void with_activation(Activation activation, const Function& function) {
  switch (activation) {
    case Activation::none:
      return function(std::integral_constant<Activation, Activation::none>{});
    case Activation::relu:
      return function(std::integral_constant<Activation, Activation::relu>{});
    case Activation::gelu:
      return function(std::integral_constant<Activation, Activation::gelu>{});
  }
}

template <class T>
void standardise(const T* x, int64_t rows, int64_t columns, const T* mean, const T* scale, const T* shift,
                 Activation activation, T* y) {
  with_activation(activation, [&](auto constant) {
    standardise_rows<T, constant.value>(x, rows, columns, mean, scale, shift, y);
  });
}

template <class T>
void gradient_sums(const T* g, const T* x, Activation activation, int64_t rows, int64_t columns,
                   const T* mean, const T* inverse_deviation, const T* scale, const T* shift, T* passed,
                   T* sum_g, T* sum_gx) {
  with_activation(activation, [&](auto constant) {
    add_gradients<T, constant.value>(g, x, rows, columns, mean, inverse_deviation, scale, shift, passed,
                                     sum_g, sum_gx);
  });
}

template <class T>
void gradient(const T* g, const T* x, bool relu, int64_t rows, int64_t columns, const T* mean,
              const T* inverse_deviation, const T* scale, const T* shift, const T* mean_g, const T* mean_gx,
              T* dx) {
  (relu ? input_gradient<T, Activation::relu>
        : input_gradient<T, Activation::none>)(g, x, rows, columns, mean, inverse_deviation, scale, shift,
                                               mean_g, mean_gx, dx);
}

template <class T>
void rows_forward(const T* x, int64_t rows, int64_t columns, const T* weight, const T* bias, T epsilon, T* y,
                  T* mean, T* inverse_deviation) {
  const T share = T(1) / static_cast<T>(columns);
  for (int64_t i = 0; i < rows; ++i, x += columns, y += columns) {
    // Distances from the first value, as in `moments`. They go to y first: the lanes past the end of a row,
    // which reads fill with zeros, must not count.
    const T first = columns > 0 ? x[0] : T(0);
    Vec<T> sum = {};
    for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
      fetch_ahead(x + c);
      put(y + c, get(x + c) - first);
      sum += get(y + c);
    });
    const T distance = sum_lanes<T>(sum) * share;
    Vec<T> squares = {};
    for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
      put(y + c, get(y + c) - distance);
      squares += get(y + c) * get(y + c);
    });
    const T inverse = T(1) / root(sum_lanes<T>(squares) * share + epsilon);
    for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
      put(y + c, get(y + c) * inverse * get(weight + c) + get(bias + c));
    });
    mean[i] = first + distance;
    inverse_deviation[i] = inverse;
  }
}

template <class T>
void rows_gradient(const T* g, const T* x, int64_t rows, int64_t columns, const T* weight, const T* mean,
                   const T* inverse_deviation, T* dx, T* dweight, T* dbias) {
  const T share = T(1) / static_cast<T>(columns);
  for (int64_t i = 0; i < rows; ++i, g += columns, x += columns, dx += columns) {
    const T centre = mean[i], inverse = inverse_deviation[i];
    Vec<T> sums = {}, products = {};
    for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
      fetch_ahead(g + c);
      fetch_ahead(x + c);
      const Vec<T> value = get(g + c), standard = (get(x + c) - centre) * inverse,
                   weighted = value * get(weight + c);
      put(dweight + c, get(dweight + c) + value * standard);
      put(dbias + c, get(dbias + c) + value);
      sums += weighted;
      products += weighted * standard;  // past the end both factors of g are 0
    });
    const T mean_g = sum_lanes<T>(sums) * share, mean_gx = sum_lanes<T>(products) * share;
    for_vectors<T>(columns, [&](int64_t c, auto get, auto put) {
      const Vec<T> standard = (get(x + c) - centre) * inverse;
      put(dx + c, inverse * (get(g + c) * get(weight + c) - mean_g - standard * mean_gx));
    });
  }
}

template <class T>
void fill(NormaliseKernels<T>& kernels) {
  kernels = {moments<T>, standardise<T>, gradient_sums<T>, gradient<T>, rows_forward<T>, rows_gradient<T>};
}

}  // namespace

void fill_normalise(KernelTable& table) {
  fill(table.float32.normalise);
  fill(table.float64.normalise);
}

}  // namespace chainrule::CHAINRULE_ISA
