// Matrix products of operands rounded to bfloat16 against plain loops over rounded operands.
#include <array>

#include "kernels/table.h"
#include "ops/bfloat16.h"
#include "reference_bfloat16.h"

using namespace chainrule;
using namespace reference;

namespace {

// A matrix one of whose strides is 1, one place past where its memory begins.
struct Operand {
  Unaligned<float> storage;
  MatrixView<float> view;
  int64_t rows, columns;

  static constexpr int layouts = 6;
  Operand(int64_t rows, int64_t columns, int layout, const std::vector<float>& values)
      : storage(std::vector<float>(static_cast<size_t>((rows + 3) * (columns + 3)), quiet_nan<float>)),
        view{nullptr, 0, 0},
        rows(rows),
        columns(columns) {
    const bool transposed = layout % 2 == 1;
    const int64_t gap = layout / 2 == 1 ? 3 : 0, step = (transposed ? rows : columns) + gap;
    // Lines follow each other up memory, or down it.
    const int64_t stride = layout / 2 == 2 ? -step : step, lines = transposed ? columns : rows;
    float* first = storage.data() + (stride < 0 && lines > 0 ? (lines - 1) * step : 0);
    view = {first, transposed ? 1 : stride, transposed ? stride : 1};
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        first[i * view.row + j * view.column] = values[static_cast<size_t>(i * columns + j)];
  }
  Operand(const Operand&) = delete;
  Operand& operator=(const Operand&) = delete;
};

struct Sums {
  std::vector<double> values, sizes;  // of each output, and of its products' absolute values
};

Sums plain_product(const std::vector<float>& a, const std::vector<float>& b, int64_t m, int64_t n,
                   int64_t k) {
  Sums sums{std::vector<double>(static_cast<size_t>(m * n)), std::vector<double>(static_cast<size_t>(m * n))};
  for (int64_t i = 0; i < m; ++i)
    for (int64_t q = 0; q < k; ++q)
      for (int64_t j = 0; j < n; ++j) {
        const double term =
            static_cast<double>(a[static_cast<size_t>(i * k + q)]) * b[static_cast<size_t>(q * n + j)];
        sums.values[static_cast<size_t>(i * n + j)] += term;
        sums.sizes[static_cast<size_t>(i * n + j)] += std::fabs(term);
      }
  return sums;
}

// Integers, which bfloat16 holds: any error shows as a wrong number.
void check_exact(int64_t m, int64_t n, int64_t k, int a_layout, int b_layout, bool has_bias = false,
                 bool relu = false) {
  const std::vector<float> a = small_integers<float>(m * k, 1), b = small_integers<float>(k * n, 2);
  const Operand left(m, k, a_layout, a), right(k, n, b_layout, b);
  const Unaligned<float> bias(small_integers<float>(n, 3, 20));
  Guarded<float> out(m * n);
  matmul_bfloat16(left.view, right.view, m, n, k, {has_bias ? bias.data() : nullptr, relu}, out.data());
  const Sums sums = plain_product(a, b, m, n, k);
  CAPTURE(m);
  CAPTURE(n);
  CAPTURE(k);
  CAPTURE(a_layout);
  CAPTURE(b_layout);
  CHECK(out.intact());
  CHECK(difference(out.data(), m * n, [&](int64_t i) -> long double {
          const double value = sums.values[static_cast<size_t>(i)] + (has_bias ? bias.data()[i % n] : 0);
          return relu && value <= 0 ? 0 : value;
        }) == "");
}

std::vector<float> product(const std::vector<float>& a, const std::vector<float>& b, int64_t m, int64_t n,
                           int64_t k) {
  std::vector<float> out(static_cast<size_t>(m * n));
  matmul_bfloat16({a.data(), k, 1}, {b.data(), n, 1}, m, n, k, {}, out.data());
  return out;
}

}  // namespace

TEST_CASE("bfloat16 products of every shape around tiles, panels and depths, in every pair of layouts") {
  const WithThreads one(1);
  int pair = 0;
  for (int64_t m : {0, 1, 2, 3, 4, 5, 11, 12, 13, 15, 16, 17, 31, 32, 33, 65})
    for (int64_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65})
      for (int64_t k : {0, 1, 2, 3, 31, 32, 33, 63, 65}) {
        pair = (pair + 7) % (Operand::layouts * Operand::layouts);  // 7 and 36 share no factor
        check_exact(m, n, k, pair / Operand::layouts, pair % Operand::layouts, pair % 5 == 0, pair % 3 == 0);
      }
}

TEST_CASE("bfloat16 products in several blocks of rows") {
  for (int64_t m : {511, 512, 513, 1025}) check_exact(m, 17, 33, 0, 0);
  check_exact(1031, 9, 5, 1, 1, true, true);
  for (int layout = 0; layout < Operand::layouts; ++layout) check_exact(70, 100, 300, layout, layout, true);
  // So deep and wide that a block holds the fewest rows.
  check_exact(37, 300, 4100, 0, 0);
  check_exact(37, 300, 4100, 1, 1);
}

TEST_CASE("bfloat16 products: off by a rounding for each sum, and by those of the operands") {
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{17, 37, 300}, {40, 10, 2000}, {60, 70, 80}, {33, 129, 1031}})
    for (double scale : {1.0, 1e-15, 1e15}) {
      const std::vector<float> a = normal<float>(m * k, 1, scale), b = normal<float>(k * n, 2);
      const std::vector<float> out = product(a, b, m, n, k);
      const Sums rounded = plain_product(to_bfloat16(a), to_bfloat16(b), m, n, k),
                 plain = plain_product(a, b, m, n, k);
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      CHECK(difference(
                out.data(), m * n,
                [&](int64_t i) -> long double { return rounded.values[static_cast<size_t>(i)]; },
                [&](int64_t i) { return bfloat16_sum_bound(k, rounded.sizes[static_cast<size_t>(i)]); }) ==
            "");
      CHECK(difference(
                out.data(), m * n,
                [&](int64_t i) -> long double { return plain.values[static_cast<size_t>(i)]; },
                [&](int64_t i) { return rounded_sum_bound(k, plain.sizes[static_cast<size_t>(i)]); }) == "");
    }
}

TEST_CASE("bfloat16 products: the bound is met by operands in the middle of two numbers") {
  // 1 + 2^-8 becomes 1, so that a product loses more than 2^-7 of itself.
  const int64_t n = 33, k = 64;
  const std::vector<float> a(static_cast<size_t>(n * k), 1 + 0x1p-8f), b = a;
  const long double size = k * (1 + 0x1p-8L) * (1 + 0x1p-8L), error = size - k;
  CHECK(error > 0x1p-7L * 0.99L * size);
  CHECK(error <= rounded_sum_bound(k, size));
  const std::vector<float> out = product(a, b, n, n, k);
  CHECK(difference(out.data(), n * n, [&](int64_t) -> long double { return k; }) == "");
}

TEST_CASE("bfloat16 products: numbers below the smallest normal one count as they are or as 0") {
  const int64_t n = 33, k = 40;
  const float least = std::numeric_limits<float>::min();
  for (const auto& [left, right] : {std::pair<float, float>{0x1p-130f, 1.0f},
                                    {0x1p-130f, 0x1p100f},
                                    {0x1p-70f, 0x1p-60f},
                                    {0x1p-64f, 0x1p-62f}}) {
    const std::vector<float> a(static_cast<size_t>(n * k), left), b(static_cast<size_t>(k * n), right);
    const std::vector<float> out = product(a, b, n, n, k);
    const long double whole = static_cast<long double>(k) * left * right;
    const bool normal_operands = left >= least && right >= least;
    CAPTURE(left);
    CAPTURE(right);
    // What is lost of an operand is lost of its product; of a sum, at most the smallest normal number a step.
    const long double lost = normal_operands ? static_cast<long double>(k) * least : whole;
    CHECK(difference(out.data(), n * n, [&](int64_t) { return whole; }, [&](int64_t) { return lost; }) == "");
    CHECK(difference(out.data(), n * n, [&](int64_t) { return out[0]; }) == "");
  }
}

TEST_CASE("bfloat16 products: NaN and infinity reach the sums that they belong to, and no other") {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{9, 37, 20}, {40, 10, 131}, {7, 3, 5}, {45, 70, 257}})
    for (float special : {quiet_nan<float>, infinity<float>, std::numeric_limits<float>::max()}) {
      std::vector<float> a(static_cast<size_t>(m * k), 1.0f), b(static_cast<size_t>(k * n), 1.0f);
      a[static_cast<size_t>(2 * k + 3)] = special;   // row 2
      b[static_cast<size_t>(4 * n + n - 1)] = 0.0f;  // 0 x infinity stays out: k = 4, not 3
      b[static_cast<size_t>(3 * n)] = 0.0f;          // column 0: 0 x special is NaN
      const std::vector<float> out = product(a, b, m, n, k);
      const float rounded = to_bfloat16(special);  // the largest float32 is past bfloat16's range
      CAPTURE(m);
      CAPTURE(n);
      CHECK(difference(out.data(), m * n, [&](int64_t i) -> long double {
              const int64_t row = i / n, column = i % n;
              if (row == 2) return column == 0 ? quiet_nan<float> : rounded;
              return static_cast<float>(k - (column == 0) - (column == n - 1));
            }) == "");
    }
}

TEST_CASE("bfloat16 products let NaN through relu, and a bias of NaN fills its column") {
  const int64_t m = 35, n = 37, k = 40;
  std::vector<float> a = small_integers<float>(m * k, 1), bias(static_cast<size_t>(n), 2.0f);
  a[static_cast<size_t>(5 * k)] = quiet_nan<float>;
  bias[7] = quiet_nan<float>;
  const std::vector<float> b(static_cast<size_t>(k * n), -1.0f);
  std::vector<float> out(static_cast<size_t>(m * n));
  matmul_bfloat16({a.data(), k, 1}, {b.data(), n, 1}, m, n, k, {bias.data(), true}, out.data());
  const Sums sums = plain_product(a, b, m, n, k);
  CHECK(difference(out.data(), m * n, [&](int64_t i) -> long double {
          const double value = sums.values[static_cast<size_t>(i)] + bias[static_cast<size_t>(i % n)];
          return value <= 0 ? 0 : value;
        }) == "");
}

TEST_CASE("bfloat16 products give the same bits on 1, 2 and 5 threads, and for a row alone") {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1100, 40, 70}, {67, 300, 500}, {13, 900, 3000}}) {
    const std::vector<float> a = normal<float>(m * k, 1), b = normal<float>(k * n, 2);
    auto on_threads = [&, m = m, n = n, k = k](int threads) {
      const WithThreads scope(threads);
      return product(a, b, m, n, k);
    };
    const std::vector<float> alone = on_threads(1);
    CAPTURE(m);
    for (int threads : {2, 5}) CHECK(same_bits(on_threads(threads), alone));
    const std::vector<float> row(a.end() - k, a.end());
    CHECK(same_bits(product(row, b, 1, n, k), {alone.end() - n, alone.end()}));
  }
}

// ---- The choice of matmul ---------------------------------------------------------------------------------

TEST_CASE("matmul rounds where bfloat16 is asked for, the matrices are large enough and lie plainly") {
  const float bias_values[100] = {3};
  auto check = [&](const Shape& a_shape, const Shape& a_strides, const Shape& b_shape, const Shape& b_strides,
                   bool rounds) {
    const Shape shape = matmul_shape(a_shape, b_shape);
    const std::vector<float> values = normal<float>(count(a_shape) + count(b_shape), 5);
    auto fill = [&](bool rounded) {
      return [&, rounded](int64_t i) {
        const float value = values[static_cast<size_t>(i)];
        return rounded ? to_bfloat16(value) : value;
      };
    };
    auto fill_back = [&](bool rounded) {
      return
          [&, from = fill(rounded)](int64_t i) { return from(static_cast<int64_t>(values.size()) - 1 - i); };
    };
    const Strided<float> a(a_shape, a_strides, fill(false)), b(b_shape, b_strides, fill_back(false)),
        rounded_a(a_shape, a_strides, fill(true)), rounded_b(b_shape, b_strides, fill_back(true));
    for (bool relu : {false, true}) {
      const Epilogue<float> epilogue{shape.back() <= 100 ? bias_values : nullptr, relu};
      Guarded<float> out(count(shape)), full(count(shape)), of_rounded(count(shape));
      matmul<float>(a.view, b.view, out.data(), epilogue, Precision::bfloat16);
      matmul<float>(a.view, b.view, full.data(), epilogue);
      matmul<float>(rounded_a.view, rounded_b.view, of_rounded.data(), epilogue);
      CAPTURE(shape_text(a_shape));
      CAPTURE(shape_text(a_strides));
      CAPTURE(shape_text(b_shape));
      CAPTURE(shape_text(b_strides));
      CHECK(out.intact());
      CHECK(same_bits(out.values(), full.values()) == !rounds);
      if (rounds)
        CHECK(difference(
                  out.data(), out.size(), [&](int64_t i) -> long double { return of_rounded[i]; },
                  [&](int64_t) { return 1e-4L; }) == "");
    }
  };
  auto plainly = [&](const Shape& a, const Shape& b, bool rounds) {
    check(a, contiguous_strides(a), b, contiguous_strides(b), rounds);
  };
  plainly({16, 16}, {16, 16}, true);
  plainly({15, 16}, {16, 16}, false);
  plainly({16, 15}, {15, 16}, false);
  plainly({16, 16}, {16, 15}, false);
  plainly({3, 40, 50}, {3, 50, 60}, true);
  plainly({2, 1, 40, 50}, {3, 50, 60}, true);
  plainly({300, 16, 17}, {17, 16}, true);
  check({40, 50}, {1, 40}, {50, 60}, {1, 50}, true);
  check({40, 50}, {0, 1}, {50, 60}, {1, 0}, true);
  check({40, 50}, {-50, 1}, {50, 60}, {60, 1}, true);
  check({40, 50}, {100, 2}, {50, 60}, {60, 1}, false);
  check({40, 50}, {50, 1}, {50, 60}, {60, -1}, false);
  check({2, 40, 50}, {1, 100, 2}, {50, 60}, {60, 1}, false);  // the batch innermost
}

TEST_CASE("matmul of float64 takes no notice of bfloat16") {
  const std::vector<double> a = normal<double>(20 * 30, 1), b = normal<double>(30 * 40, 2);
  std::vector<double> out(20 * 40), full(out.size());
  matmul<double>({a.data(), {20, 30}, {30, 1}}, {b.data(), {30, 40}, {40, 1}}, out.data(), {},
                 Precision::bfloat16);
  matmul<double>({a.data(), {20, 30}, {30, 1}}, {b.data(), {30, 40}, {40, 1}}, full.data());
  CHECK(same_bits(out, full));
}
