#include "ops/normalise.h"

#include <algorithm>
#include <cmath>

#include "kernels/table.h"
#include "runtime/allocator.h"
#include "runtime/checked.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

// Parts of the rows, summed each on its own: some 32K values, which stay in the second cache for a second
// pass, and few enough that each of a column's sums, of which the kernels keep one or more, is of 256 rows:
// the errors of longer ones would grow.
int64_t part_count(const MatrixShape& s) {
  if (s.columns == 0) return 0;
  constexpr int64_t values = 1 << 15, summed = 256;
  const int64_t rows = summed * NormaliseKernels<float>::sums(s.columns);
  return chunk_count(s.rows, s.columns, std::min(values, rows * s.columns));
}

template <class Body>
void over_parts(const MatrixShape& s, const Body& body) {
  const int64_t parts = part_count(s);
  parallel_for(parts, [&](int64_t part) {
    const int64_t first = s.rows * part / parts;
    body(part, first, s.rows * (part + 1) / parts - first);
  });
}

void require_rows(const char* operation, const MatrixShape& s) {
  if (s.rows == 0)
    throw std::invalid_argument(std::string(operation) + ": no values to take a mean of: the batch is empty");
}

}  // namespace

template <class T>
void batch_norm(const MatrixShape& s, const T* x, const T* weight, const T* bias, double epsilon,
                Activation activation, T* y, T* mean, T* variance, T* inverse_deviation) {
  require_rows("batch_norm", s);
  const auto& kernel = kernels<T>().normalise;
  const int64_t parts = part_count(s);
  Scratch<T> means(parts * s.columns), squares(parts * s.columns), scale(s.columns);
  over_parts(s, [&](int64_t part, int64_t first, int64_t rows) {
    kernel.moments(x + first * s.columns, rows, s.columns, means.data() + part * s.columns,
                   squares.data() + part * s.columns);
  });
  // Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
  for (int64_t c = 0; c < s.columns; ++c) {
    // Means as distances from the first value, whose digits a large one does not take.
    const auto base = static_cast<double>(x[c]);
    double total = 0, centre = 0, square = 0;
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t first = s.rows * part / parts;
      const auto rows = static_cast<double>(s.rows * (part + 1) / parts - first);
      const double distance = static_cast<double>(x[first * s.columns + c]) - base +
                              static_cast<double>(means[part * s.columns + c]) - centre;
      square += static_cast<double>(squares[part * s.columns + c]) +
                distance * distance * total * rows / (total + rows);
      centre += distance * rows / (total + rows);
      total += rows;
    }
    const double spread = square / total, inverse = 1 / std::sqrt(spread + epsilon);
    mean[c] = static_cast<T>(base + centre);
    variance[c] = static_cast<T>(spread);
    inverse_deviation[c] = static_cast<T>(inverse);
    scale[c] = weight[c] * inverse_deviation[c];  // as on the way back, to the bit
  }
  standardise(s, x, mean, scale.data(), bias, activation, y);
}

template <class T>
void standardise(const MatrixShape& s, const T* x, const T* mean, const T* scale, const T* bias,
                 Activation activation, T* y) {
  const auto kernel = kernels<T>().normalise.standardise;
  over_parts(s, [&](int64_t, int64_t first, int64_t rows) {
    kernel(x + first * s.columns, rows, s.columns, mean, scale, bias, activation, y + first * s.columns);
  });
}

template <class T>
void batch_norm_gradient(const MatrixShape& s, const T* g, const T* x, const T* weight, const T* bias,
                         Activation activation, const T* mean, const T* inverse_deviation, T* dx, T* dweight,
                         T* dbias) {
  require_rows("batch_norm_gradient", s);
  const auto& kernel = kernels<T>().normalise;
  const int64_t parts = part_count(s);
  Scratch<T> sums(parts * s.columns), products(parts * s.columns), scale(3 * s.columns);
  for (int64_t c = 0; c < s.columns; ++c) scale[c] = weight[c] * inverse_deviation[c];
  over_parts(s, [&](int64_t part, int64_t first, int64_t rows) {
    const int64_t at = first * s.columns;
    kernel.gradient_sums(g + at, x + at, activation, rows, s.columns, mean, inverse_deviation, scale.data(),
                         bias, dx + at, sums.data() + part * s.columns, products.data() + part * s.columns);
  });
  const T* passed = activation == Activation::gelu ? dx : g;
  T* mean_g = scale.data() + s.columns;
  T* mean_gx = mean_g + s.columns;
  for (int64_t c = 0; c < s.columns; ++c) {
    double sum = 0, product = 0;
    for (int64_t part = 0; part < parts; ++part) {
      sum += static_cast<double>(sums[part * s.columns + c]);
      product += static_cast<double>(products[part * s.columns + c]);
    }
    dbias[c] = static_cast<T>(sum);
    dweight[c] = static_cast<T>(product);
    mean_g[c] = static_cast<T>(sum / static_cast<double>(s.rows));
    mean_gx[c] = static_cast<T>(product / static_cast<double>(s.rows));
  }
  over_parts(s, [&](int64_t, int64_t first, int64_t rows) {
    const int64_t at = first * s.columns;
    kernel.gradient(passed + at, x + at, activation == Activation::relu, rows, s.columns, mean,
                    inverse_deviation, scale.data(), bias, mean_g, mean_gx, dx + at);
  });
}

template <class T>
void layer_norm(const MatrixShape& s, const T* x, const T* weight, const T* bias, double epsilon, T* y,
                T* mean, T* inverse_deviation) {
  if (s.columns == 0 && s.rows > 0)
    throw std::invalid_argument("layer_norm: no values to take a mean of: the normalised axes are empty");
  const auto kernel = kernels<T>().normalise.rows;
  over_parts(s, [&](int64_t, int64_t first, int64_t rows) {
    kernel(x + first * s.columns, rows, s.columns, weight, bias, static_cast<T>(epsilon),
           y + first * s.columns, mean + first, inverse_deviation + first);
  });
}

template <class T>
void layer_norm_gradient(const MatrixShape& s, const T* g, const T* x, const T* weight, const T* mean,
                         const T* inverse_deviation, T* dx, T* dweight, T* dbias) {
  const auto kernel = kernels<T>().normalise.rows_gradient;
  const int64_t parts = part_count(s);
  Scratch<T> sums(2 * std::max<int64_t>(parts, 1) * s.columns);
  std::fill(sums.data(), sums.data() + 2 * parts * s.columns, T(0));
  over_parts(s, [&](int64_t part, int64_t first, int64_t rows) {
    kernel(g + first * s.columns, x + first * s.columns, rows, s.columns, weight, mean + first,
           inverse_deviation + first, dx + first * s.columns, sums.data() + part * s.columns,
           sums.data() + (parts + part) * s.columns);
  });
  for (int64_t c = 0; c < s.columns; ++c) {
    double to_weight = 0, to_bias = 0;
    for (int64_t part = 0; part < parts; ++part) {
      to_weight += static_cast<double>(sums[part * s.columns + c]);
      to_bias += static_cast<double>(sums[(parts + part) * s.columns + c]);
    }
    dweight[c] = static_cast<T>(to_weight);
    dbias[c] = static_cast<T>(to_bias);
  }
}

#define CHAINRULE_INSTANTIATE(T)                                                                             \
  template void batch_norm<T>(const MatrixShape&, const T*, const T*, const T*, double, Activation, T*, T*,  \
                              T*, T*);                                                                       \
  template void standardise<T>(const MatrixShape&, const T*, const T*, const T*, const T*, Activation, T*);  \
  template void batch_norm_gradient<T>(const MatrixShape&, const T*, const T*, const T*, const T*,           \
                                       Activation, const T*, const T*, T*, T*, T*);                          \
  template void layer_norm<T>(const MatrixShape&, const T*, const T*, const T*, double, T*, T*, T*);         \
  template void layer_norm_gradient<T>(const MatrixShape&, const T*, const T*, const T*, const T*, const T*, \
                                       T*, T*, T*);
CHAINRULE_INSTANTIATE(float)
CHAINRULE_INSTANTIATE(double)

}  // namespace chainrule
