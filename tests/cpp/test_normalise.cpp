// Batch and layer normalisation with their gradients against sums in long double.
#include <algorithm>

#include "ops/normalise.h"
#include "reference_activations.h"
#include "reference_conv2d.h"

using namespace chainrule;
using namespace reference;

namespace {

// Mean and biased variance of n values `step` apart.
struct Moments {
  long double mean = 0, variance = 0;
};

template <class T>
Moments moments(const T* x, int64_t n, int64_t step) {
  Moments m;
  // Distances from the first value keep the digits that a large mean would cost long double too.
  const long double first = n > 0 ? x[0] : T(0);
  for (int64_t i = 0; i < n; ++i) m.mean += (x[i * step] - first) / n;
  for (int64_t i = 0; i < n; ++i) {
    const long double d = x[i * step] - first - m.mean;
    m.variance += d * d / n;
  }
  m.mean += first;
  return m;
}

// The gradients of standardised values y = (x - mean) inverse weight + bias, taken over n values `step` apart
// that share mean and inverse, `weight` by index. sizes: what the terms of dx add up to without their signs.
struct Gradient {
  std::vector<long double> dx, size;
};

template <class T, class Weight>
Gradient gradient(const std::vector<long double>& g, const T* x, int64_t n, int64_t step, long double mean,
                  long double inverse, const Weight& weight) {
  long double sum = 0, product = 0, sum_size = 0, product_size = 0;
  auto standard = [&](int64_t i) { return (x[i * step] - mean) * inverse; };
  for (int64_t i = 0; i < n; ++i) {
    const long double weighted = g[static_cast<size_t>(i)] * weight(i) / n;
    sum += weighted;
    product += weighted * standard(i);
    sum_size += std::fabs(weighted);
    product_size += std::fabs(weighted * standard(i));
  }
  Gradient out;
  for (int64_t i = 0; i < n; ++i) {
    const long double weighted = g[static_cast<size_t>(i)] * weight(i);
    out.dx.push_back(inverse * (weighted - sum - standard(i) * product));
    out.size.push_back(std::fabs(inverse) *
                       (std::fabs(weighted) + sum_size + std::fabs(standard(i)) * product_size));
  }
  return out;
}

// Roundings that a sum of n terms may gather, in parts, with a few operations around it.
long double roundings(int64_t n) { return 8 + 2 * std::sqrt(static_cast<long double>(n)); }

template <class T>
std::vector<T> data(const MatrixShape& s, double mean) {
  std::vector<T> x = normal<T>(s.rows * s.columns, 1, 3);
  for (T& value : x) value = static_cast<T>(value + mean);
  return x;
}

template <class T>
void check_batch_norm(const MatrixShape& s, double offset, bool relu) {
  CAPTURE(s.rows);
  CAPTURE(s.columns);
  CAPTURE(offset);
  CAPTURE(relu);
  const int64_t n = s.rows * s.columns;
  const double epsilon_added = 1e-5;
  const Activation activation = relu ? Activation::relu : Activation::none;
  const Unaligned<T> x(data<T>(s, offset)), weight(normal<T>(s.columns, 2)), bias(normal<T>(s.columns, 3)),
      g(normal<T>(n, 4));
  Guarded<T> y(n), mean(s.columns), variance(s.columns), inverse(s.columns);
  batch_norm<T>(s, x.data(), weight.data(), bias.data(), epsilon_added, activation, y.data(), mean.data(),
                variance.data(), inverse.data());
  CHECK((y.intact() && mean.intact() && variance.intact() && inverse.intact()));

  Guarded<T> dx(n), dweight(s.columns), dbias(s.columns);
  batch_norm_gradient<T>(s, g.data(), x.data(), weight.data(), bias.data(), activation, mean.data(),
                         inverse.data(), dx.data(), dweight.data(), dbias.data());
  CHECK((dx.intact() && dweight.intact() && dbias.intact()));

  const long double unit = epsilon<T> * roundings(s.rows);
  for (int64_t c = 0; c < s.columns; ++c) {
    const Moments m = moments(x.data() + c, s.rows, s.columns);
    const long double deviation = std::sqrt(m.variance + epsilon_added), w = weight.data()[c],
                      b = bias.data()[c];
    const long double mean_bound = epsilon<T> * std::fabs(m.mean) + unit * deviation;
    CHECK(agree(mean[c], m.mean, mean_bound));
    CHECK(variance[c] >= T(0));
    // Parts are put together by the distances of their means, which are rounded.
    const long double variance_bound =
        unit * m.variance + mean_bound * mean_bound + mean_bound * deviation / 8;
    CHECK(agree(variance[c], m.variance, variance_bound));
    CHECK(agree(inverse[c], 1 / deviation, (unit + variance_bound / (deviation * deviation)) / deviation));
    auto value = [&](int64_t i) {
      const long double plain = (x.data()[i * s.columns + c] - m.mean) / deviation * w + b;
      return relu && plain <= 0 ? 0 : plain;
    };
    std::vector<T> column(static_cast<size_t>(s.rows)), dcolumn = column;
    std::vector<long double> passed;
    for (int64_t i = 0; i < s.rows; ++i) {
      column[static_cast<size_t>(i)] = y[i * s.columns + c];
      dcolumn[static_cast<size_t>(i)] = dx[i * s.columns + c];
      passed.push_back(relu && !(y[i * s.columns + c] > T(0)) ? 0 : g.data()[i * s.columns + c]);
    }
    CHECK(difference(column.data(), s.rows, value, [&](int64_t i) {
            const long double standard = std::fabs(x.data()[i * s.columns + c] - m.mean) / deviation;
            return std::fabs(w) * ((unit + variance_bound / (deviation * deviation)) * standard +
                                   2 * mean_bound / deviation) +
                   4 * epsilon<T> * (std::fabs(b) + 1);
          }) == "");

    // From the mean and deviation that the forward pass kept, whatever their error.
    const Gradient expected =
        gradient(passed, x.data() + c, s.rows, s.columns, mean[c], inverse[c], [&](int64_t) { return w; });
    CHECK(difference(
              dcolumn.data(), s.rows, [&](int64_t i) { return expected.dx[static_cast<size_t>(i)]; },
              [&](int64_t i) { return unit * expected.size[static_cast<size_t>(i)] + 1e-20L; }) == "");
    long double sum = 0, product = 0, sum_size = 0, product_size = 0;
    for (int64_t i = 0; i < s.rows; ++i) {
      const long double value_g = passed[static_cast<size_t>(i)];
      const long double standard =
          (x.data()[i * s.columns + c] - static_cast<long double>(mean[c])) * inverse[c];
      sum += value_g;
      product += value_g * standard;
      sum_size += std::fabs(value_g);
      product_size += std::fabs(value_g * standard);
    }
    CHECK(agree(dbias[c], sum, unit * sum_size));
    CHECK(agree(dweight[c], product, unit * product_size));
  }
}

template <class T>
void check_layer_norm(const MatrixShape& s, double offset) {
  CAPTURE(s.rows);
  CAPTURE(s.columns);
  CAPTURE(offset);
  const int64_t n = s.rows * s.columns;
  const double epsilon_added = 1e-5;
  const Unaligned<T> x(data<T>(s, offset)), weight(normal<T>(s.columns, 2)), bias(normal<T>(s.columns, 3)),
      g(normal<T>(n, 4));
  Guarded<T> y(n), mean(s.rows), inverse(s.rows), dx(n), dweight(s.columns), dbias(s.columns);
  layer_norm<T>(s, x.data(), weight.data(), bias.data(), epsilon_added, y.data(), mean.data(),
                inverse.data());
  layer_norm_gradient<T>(s, g.data(), x.data(), weight.data(), mean.data(), inverse.data(), dx.data(),
                         dweight.data(), dbias.data());
  CHECK((y.intact() && mean.intact() && inverse.intact()));
  CHECK((dx.intact() && dweight.intact() && dbias.intact()));

  const long double unit = epsilon<T> * roundings(s.columns);
  std::vector<long double> to_weight(static_cast<size_t>(s.columns)),
      to_bias = to_weight, weight_size = to_weight, bias_size = to_weight;
  for (int64_t r = 0; r < s.rows; ++r) {
    const T* row = x.data() + r * s.columns;
    const Moments m = moments(row, s.columns, 1);
    const long double deviation = std::sqrt(m.variance + epsilon_added);
    const long double mean_bound = epsilon<T> * std::fabs(m.mean) + unit * deviation;
    CHECK(agree(mean[r], m.mean, mean_bound));
    CHECK(agree(inverse[r], 1 / deviation, 2 * unit / deviation));
    CHECK(difference(
              y.data() + r * s.columns, s.columns,
              [&](int64_t c) { return (row[c] - m.mean) / deviation * weight.data()[c] + bias.data()[c]; },
              [&](int64_t c) {
                return std::fabs(weight.data()[c]) * unit * (std::fabs(row[c] - m.mean) / deviation + 1) +
                       4 * epsilon<T> *
                           (std::fabs(bias.data()[c]) + std::fabs(row[c] - row[0]) / deviation + 1);
              }) == "");
    std::vector<long double> incoming;
    for (int64_t c = 0; c < s.columns; ++c) incoming.push_back(g.data()[r * s.columns + c]);
    const Gradient expected = gradient(incoming, row, s.columns, 1, mean[r], inverse[r],
                                       [&](int64_t c) { return static_cast<long double>(weight.data()[c]); });
    CHECK(difference(
              dx.data() + r * s.columns, s.columns,
              [&](int64_t c) { return expected.dx[static_cast<size_t>(c)]; },
              [&](int64_t c) { return unit * expected.size[static_cast<size_t>(c)] + 1e-20L; }) == "");
    for (int64_t c = 0; c < s.columns; ++c) {
      const auto at = static_cast<size_t>(c);
      const long double standard = (row[c] - static_cast<long double>(mean[r])) * inverse[r];
      to_bias[at] += incoming[at];
      to_weight[at] += incoming[at] * standard;
      bias_size[at] += std::fabs(incoming[at]);
      weight_size[at] += std::fabs(incoming[at] * standard);
    }
  }
  const long double row_unit = epsilon<T> * roundings(s.rows);
  auto at = [](const std::vector<long double>& v, long double factor = 1) {
    return [&v, factor](int64_t c) { return factor * v[static_cast<size_t>(c)]; };
  };
  CHECK(difference(dweight.data(), s.columns, at(to_weight), at(weight_size, row_unit)) == "");
  CHECK(difference(dbias.data(), s.columns, at(to_bias), at(bias_size, row_unit)) == "");
}

}  // namespace

TEST_CASE_TEMPLATE("batch norm of two values in turn, whose roundings do not cancel each other", T, float,
                   double) {
  for (int64_t columns : {1, 3, 32, 33, 64}) {
    const MatrixShape s{32768, columns};
    std::vector<T> x(static_cast<size_t>(s.rows * columns));
    for (int64_t i = 0; i < s.rows * columns; ++i)
      x[static_cast<size_t>(i)] = i / columns % 2 == 0 ? T(0) : T(0.1);
    const std::vector<T> weight(static_cast<size_t>(columns), T(1)), bias(weight.size());
    std::vector<T> y(x.size()), mean(weight), variance(weight), inverse(weight);
    batch_norm<T>(s, x.data(), weight.data(), bias.data(), 0, Activation::none, y.data(), mean.data(),
                  variance.data(), inverse.data());
    const long double half = static_cast<long double>(T(0.1)) / 2;
    CAPTURE(columns);
    for (size_t c = 0; c < weight.size(); ++c) {
      CHECK(agree(mean[c], half, 64 * epsilon<T> * half));
      CHECK(agree(variance[c], half * half, 64 * epsilon<T> * half * half));
    }
  }
}

TEST_CASE_TEMPLATE("batch normalisation of every width, in one part and in several", T, float, double) {
  for (bool relu : {false, true}) {
    for (int64_t columns : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65})
      for (int64_t rows : {1, 2, 3, 4, 5, 8, 31}) check_batch_norm<T>({rows, columns}, rows % 2 * 5.0, relu);
    // Parts of 32768 values.
    for (const MatrixShape& s : {MatrixShape{32767, 1}, {32769, 1}, {20000, 5}, {3000, 40}, {300, 257}})
      check_batch_norm<T>(s, -2, relu);
  }
  check_batch_norm<T>({5, 0}, 0, false);
}

TEST_CASE_TEMPLATE("gelu in the pass of batch normalisation is gelu behind it", T, float, double) {
  for (const MatrixShape& s : {MatrixShape{2, 1}, {5, 3}, {31, 17}, {40, 33}, {3000, 40}}) {
    CAPTURE(s.rows);
    CAPTURE(s.columns);
    const int64_t n = s.rows * s.columns;
    const Unaligned<T> x(data<T>(s, 2)), weight(normal<T>(s.columns, 2, 2)), bias(normal<T>(s.columns, 3)),
        g(normal<T>(n, 4));
    std::vector<T> plain(static_cast<size_t>(n)), variance(static_cast<size_t>(s.columns)),
        mean = variance, inverse = variance, scale = variance;
    batch_norm<T>(s, x.data(), weight.data(), bias.data(), 1e-5, Activation::none, plain.data(), mean.data(),
                  variance.data(), inverse.data());
    Guarded<T> y(n), again(n), dx(n), dweight(s.columns), dbias(s.columns);
    batch_norm<T>(s, x.data(), weight.data(), bias.data(), 1e-5, Activation::gelu, y.data(), mean.data(),
                  variance.data(), inverse.data());
    for (int64_t c = 0; c < s.columns; ++c)
      scale[static_cast<size_t>(c)] = weight.data()[c] * inverse[static_cast<size_t>(c)];
    standardise<T>(s, x.data(), mean.data(), scale.data(), bias.data(), Activation::gelu, again.data());
    CHECK((y.intact() && again.intact()));
    CHECK(std::equal(y.data(), y.data() + n, again.data()));
    auto before = [&](int64_t i) -> long double { return plain[static_cast<size_t>(i)]; };
    CHECK(difference(
              y.data(), n, [&](int64_t i) { return gelu(before(i)); },
              [&](int64_t i) { return 8 * epsilon<T> * std::fabs(before(i)); }) == "");

    batch_norm_gradient<T>(s, g.data(), x.data(), weight.data(), bias.data(), Activation::gelu, mean.data(),
                           inverse.data(), dx.data(), dweight.data(), dbias.data());
    CHECK((dx.intact() && dweight.intact() && dbias.intact()));
    const long double unit = epsilon<T> * roundings(s.rows);
    for (int64_t c = 0; c < s.columns; ++c) {
      // What passes, and its size without the signs within the slope.
      std::vector<long double> passed, sizes;
      std::vector<T> column;
      long double sum = 0, product = 0, sum_size = 0, product_size = 0;
      const long double centre = mean[static_cast<size_t>(c)], deviation = inverse[static_cast<size_t>(c)];
      for (int64_t i = 0; i < s.rows; ++i) {
        const int64_t at = i * s.columns + c;
        passed.push_back(g.data()[at] * gelu_slope(before(at)));
        sizes.push_back(std::fabs(g.data()[at]) * (1 + std::fabs(before(at))));
        column.push_back(dx[at]);
        const long double standard = (x.data()[at] - centre) * deviation;
        sum += passed.back();
        product += passed.back() * standard;
        sum_size += sizes.back();
        product_size += sizes.back() * std::fabs(standard);
      }
      auto of = [&](const std::vector<long double>& values) {
        return gradient(values, x.data() + c, s.rows, s.columns, centre, deviation,
                        [&](int64_t) -> long double { return weight.data()[c]; });
      };
      const Gradient expected = of(passed), bound = of(sizes);
      CHECK(difference(
                column.data(), s.rows, [&](int64_t i) { return expected.dx[static_cast<size_t>(i)]; },
                [&](int64_t i) { return unit * bound.size[static_cast<size_t>(i)]; }) == "");
      CHECK(agree(dbias[c], sum, unit * sum_size));
      CHECK(agree(dweight[c], product, unit * product_size));
    }
  }
}

TEST_CASE_TEMPLATE("layer normalisation of every width", T, float, double) {
  for (int64_t columns : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65, 100, 768})
    for (int64_t rows : {0, 1, 2, 5}) check_layer_norm<T>({rows, columns}, rows % 2 * 5.0);
  check_layer_norm<T>({700, 129}, 1);
  check_layer_norm<T>({2, 40000}, -3);
  check_layer_norm<T>({0, 0}, 0);
}

TEST_CASE_TEMPLATE("a large mean costs the deviations no digits", T, float, double) {
  // 1e4 leaves float32 a thousandth: what is left of the data is normalised as exactly as ever.
  for (double offset : {1e3, 1e4, -1e5}) {
    check_batch_norm<T>({4000, 9}, offset, false);
    check_batch_norm<T>({40000, 1}, offset, false);
    check_layer_norm<T>({3, 4001}, offset);
  }
  // Equal values have no deviation at all, at any size.
  for (double value : {10003.9, 0.1, -3e7, 1e-3}) {
    const int64_t n = 40003;
    const std::vector<T> x(static_cast<size_t>(n), static_cast<T>(value));
    std::vector<T> y(x.size());
    T mean, variance, inverse;
    const T weight = 2, bias = T(0.25);
    batch_norm<T>({n, 1}, x.data(), &weight, &bias, 1e-5, Activation::none, y.data(), &mean, &variance,
                  &inverse);
    CHECK(mean == x[0]);
    CHECK(variance == T(0));
    CHECK(std::all_of(y.begin(), y.end(), [&](T v) { return v == bias; }));
    const std::vector<T> weights(x.size(), weight), biases(x.size(), bias);
    layer_norm<T>({1, n}, x.data(), weights.data(), biases.data(), 1e-5, y.data(), &mean, &inverse);
    CHECK(mean == x[0]);
    CHECK(std::all_of(y.begin(), y.end(), [&](T v) { return v == bias; }));
  }
}

TEST_CASE_TEMPLATE("normalisation keeps NaN to its column or row", T, float, double) {
  const MatrixShape s{6, 21};
  std::vector<T> x = normal<T>(126, 1), y(126), mean(21), variance(21), inverse(21);
  const std::vector<T> weight(21, T(1)), bias(21, T(0));
  x[3 * 21 + 18] = quiet_nan<T>;
  for (Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    batch_norm<T>(s, x.data(), weight.data(), bias.data(), 1e-5, activation, y.data(), mean.data(),
                  variance.data(), inverse.data());
    for (int64_t i = 0; i < 126; ++i) CHECK(std::isnan(y[static_cast<size_t>(i)]) == (i % 21 == 18));
  }
  layer_norm<T>(s, x.data(), weight.data(), bias.data(), 1e-5, y.data(), mean.data(), inverse.data());
  for (int64_t i = 0; i < 126; ++i) CHECK(std::isnan(y[static_cast<size_t>(i)]) == (i / 21 == 3));
}

TEST_CASE_TEMPLATE("normalisation gives the same bits on 1, 2, 3 and 8 threads", T, float, double) {
  const MatrixShape s{5000, 37};
  const std::vector<T> x = normal<T>(s.rows * s.columns, 1), g = normal<T>(s.rows * s.columns, 2),
                       weight = normal<T>(s.rows, 3), bias = normal<T>(s.rows, 4);
  auto all = [&](int threads) {
    const WithThreads scope(threads);
    const auto n = static_cast<size_t>(s.rows * s.columns), m = static_cast<size_t>(s.rows);
    std::vector<T> y(n), dx(n), y2(n), dx2(n), mean(m), variance(m), inverse(m), dweight(m), dbias(m), out;
    auto keep = [&](std::initializer_list<std::vector<T>*> parts) {
      for (const auto* part : parts) out.insert(out.end(), part->begin(), part->end());
    };
    batch_norm<T>(s, x.data(), weight.data(), bias.data(), 1e-5, Activation::gelu, y.data(), mean.data(),
                  variance.data(), inverse.data());
    batch_norm_gradient<T>(s, g.data(), x.data(), weight.data(), bias.data(), Activation::gelu, mean.data(),
                           inverse.data(), dx.data(), dweight.data(), dbias.data());
    keep({&y, &dx, &mean, &variance, &inverse, &dweight, &dbias});
    layer_norm<T>(s, x.data(), weight.data(), bias.data(), 1e-5, y2.data(), mean.data(), inverse.data());
    layer_norm_gradient<T>(s, g.data(), x.data(), weight.data(), mean.data(), inverse.data(), dx2.data(),
                           dweight.data(), dbias.data());
    keep({&y2, &dx2, &mean, &inverse, &dweight, &dbias});
    return out;
  };
  const std::vector<T> alone = all(1);
  for (int threads : {2, 3, 8}) CHECK(same_bits(all(threads), alone));
}

TEST_CASE_TEMPLATE("normalisation without values is refused", T, float, double) {
  CHECK_THROWS_WITH_AS(batch_norm<T>({0, 3}, nullptr, nullptr, nullptr, 1e-5, Activation::none, nullptr,
                                     nullptr, nullptr, nullptr),
                       "batch_norm: no values to take a mean of: the batch is empty", std::invalid_argument);
  CHECK_THROWS_WITH_AS(batch_norm_gradient<T>({0, 3}, nullptr, nullptr, nullptr, nullptr, Activation::relu,
                                              nullptr, nullptr, nullptr, nullptr, nullptr),
                       "batch_norm_gradient: no values to take a mean of: the batch is empty",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(layer_norm<T>({3, 0}, nullptr, nullptr, nullptr, 1e-5, nullptr, nullptr, nullptr),
                       "layer_norm: no values to take a mean of: the normalised axes are empty",
                       std::invalid_argument);
}
