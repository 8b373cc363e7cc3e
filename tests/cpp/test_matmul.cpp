// Matrix products against three plain loops: every path (blocked, narrow, transposed), layout and batch.
#include <algorithm>
#include <array>

#include "kernels/table.h"
#include "ops/matmul.h"
#include "reference.h"

using namespace chainrule;
using namespace reference;

namespace {

constexpr int layout_count = 10;
const char* const layout_names[layout_count] = {"contiguous",    "transposed",
                                                "padded rows",   "every second column",
                                                "rows upward",   "columns backward",
                                                "repeated rows", "repeated columns",
                                                "one number",    "transposed, padded, backward"};

Shape layout_strides(int layout, int64_t rows, int64_t columns) {
  rows = std::max<int64_t>(rows, 1);
  columns = std::max<int64_t>(columns, 1);
  switch (layout) {
    case 1:
      return {1, rows};
    case 2:
      return {columns + 3, 1};
    case 3:
      return {2 * columns, 2};
    case 4:
      return {-columns, 1};
    case 5:
      return {columns, -1};
    case 6:
      return {0, 1};
    case 7:
      return {1, 0};
    case 8:
      return {0, 0};
    case 9:
      return {-1, -(rows + 1)};
    default:
      return {columns, 1};
  }
}

template <class T>
Strided<T> matrix(int64_t rows, int64_t columns, int layout, const std::vector<T>& values) {
  return Strided<T>({rows, columns}, layout_strides(layout, rows, columns),
                    [&](int64_t i) { return values[static_cast<size_t>(i)]; });
}

template <class T>
T element(const StridedArray<T>& m, int64_t i, int64_t j) {
  return m.data[i * m.strides[0] + j * m.strides[1]];
}

// The product of the k-long sums and, for error bounds, of the sizes of their terms.
template <class Sum, class T>
void plain_product(const StridedArray<T>& a, const StridedArray<T>& b, std::vector<Sum>& c,
                   std::vector<Sum>* sizes) {
  const int64_t m = a.shape[0], k_size = a.shape[1], n = b.shape[1];
  c.assign(static_cast<size_t>(m * n), Sum(0));
  if (sizes != nullptr) sizes->assign(c.size(), Sum(0));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t k = 0; k < k_size; ++k) {
      const Sum left = element(a, i, k);
      for (int64_t j = 0; j < n; ++j) {
        const Sum term = left * static_cast<Sum>(element(b, k, j));
        c[static_cast<size_t>(i * n + j)] += term;
        if (sizes != nullptr) (*sizes)[static_cast<size_t>(i * n + j)] += std::fabs(term);
      }
    }
}

// Integers, so that the result is exact and one wrong element shows.
template <class T>
void check_exact(int64_t m, int64_t n, int64_t k, int a_layout, int b_layout) {
  const auto seed = static_cast<uint64_t>(m * 1000003 + n * 1009 + k);
  const Strided<T> a = matrix<T>(m, k, a_layout, small_integers<T>(m * k, seed));
  const Strided<T> b = matrix<T>(k, n, b_layout, small_integers<T>(k * n, seed + 1));
  Guarded<T> out(m * n);
  matmul<T>(a.view, b.view, out.data());
  std::vector<T> expected;
  plain_product<T, T>(a.view, b.view, expected, nullptr);
  CAPTURE(m);
  CAPTURE(n);
  CAPTURE(k);
  CAPTURE(layout_names[a_layout]);
  CAPTURE(layout_names[b_layout]);
  CHECK(out.intact());
  CHECK(difference(out.data(), m * n,
                   [&](int64_t i) -> long double { return expected[static_cast<size_t>(i)]; }) == "");
}

template <class T>
std::string check_batch(const Shape& a_shape, const Shape& a_strides, const Shape& b_shape,
                        const Shape& b_strides) {
  const std::vector<T> values = small_integers<T>(count(a_shape) + count(b_shape), 17);
  const Strided<T> a(a_shape, a_strides, [&](int64_t i) { return values[static_cast<size_t>(i)]; });
  const Strided<T> b(b_shape, b_strides,
                     [&](int64_t i) { return values[values.size() - 1 - static_cast<size_t>(i)]; });
  const Shape shape = matmul_shape(a_shape, b_shape);
  Guarded<T> out(count(shape));
  matmul<T>(a.view, b.view, out.data());
  if (!out.intact()) return "wrote outside of its result";

  const Shape batch(shape.begin(), shape.end() - 2);
  auto of_batch = [&](const StridedArray<T>& array) {  // its strides along the batch
    Shape strides(batch.size(), 0);
    const size_t own = array.shape.size() - 2;
    for (size_t d = 0; d < own; ++d)
      if (array.shape[d] != 1) strides[batch.size() - own + d] = array.strides[d];
    return strides;
  };
  auto last_two = [](const Shape& s) { return Shape(s.end() - 2, s.end()); };
  const int64_t size = shape[shape.size() - 2] * shape.back();
  for (int64_t index = 0; index < count(batch); ++index) {
    const StridedArray<T> left{a.view.data + offset(index, batch, of_batch(a.view)), last_two(a_shape),
                               last_two(a_strides)};
    const StridedArray<T> right{b.view.data + offset(index, batch, of_batch(b.view)), last_two(b_shape),
                                last_two(b_strides)};
    std::vector<T> expected;
    plain_product<T, T>(left, right, expected, nullptr);
    const std::string wrong = difference(out.data() + index * size, size, [&](int64_t i) -> long double {
      return expected[static_cast<size_t>(i)];
    });
    if (!wrong.empty()) return "matrix " + std::to_string(index) + ": " + wrong;
  }
  return "";
}

template <class T>
std::string check_batch(const Shape& a_shape, const Shape& b_shape) {
  return check_batch<T>(a_shape, contiguous_strides(a_shape), b_shape, contiguous_strides(b_shape));
}

}  // namespace

TEST_CASE_TEMPLATE("products of small matrices of every shape, in every pair of layouts", T, float, double) {
  // Tiles are 6 or 12 rows by up to 2 vectors of 2 to 16 lanes; narrow products have up to 16 columns, k
  // >= 64.
  int pair = 0;
  for (int64_t m : {0, 1, 2, 3, 5, 6, 7, 11, 12, 13, 16, 17, 24, 25, 33})
    for (int64_t n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 65})
      for (int64_t k : {0, 1, 2, 7, 63, 64, 65})
        for (int i = 0; i < 2; ++i) {
          pair =
              (pair + 37) % (layout_count * layout_count);  // 37 and 100 share no factor: all pairs come up
          check_exact<T>(m, n, k, pair / layout_count, pair % layout_count);
        }
}

TEST_CASE_TEMPLATE("every pair of layouts on each path", T, float, double) {
  const int64_t sizes[][3] = {{3, 5, 4},  {13, 33, 17}, {40, 10, 100}, {10, 40, 100},
                              {9, 9, 70}, {100, 70, 5}, {26, 200, 30}, {300, 12, 20}};
  for (const auto& [m, n, k] : sizes)
    for (int a = 0; a < layout_count; ++a)
      for (int b = 0; b < layout_count; ++b) check_exact<T>(m, n, k, a, b);
}

TEST_CASE_TEMPLATE("products around the depth block, with and without packing", T, float, double) {
  int pair = 0;
  for (int64_t k : {255, 256, 257, 511, 512, 513, 1023, 1024, 1025})
    for (const auto& [m, n] : {std::pair<int64_t, int64_t>{17, 17},
                               {13, 64},
                               {12, 66},
                               {64, 160},
                               {97, 33},
                               {5, 130},
                               {130, 5},
                               {16, 16}})
      for (int i = 0; i < 2; ++i) {
        pair = (pair + 37) % (layout_count * layout_count);
        check_exact<T>(m, n, k, pair / layout_count, pair % layout_count);
        check_exact<T>(m, n, k, 0, i);
      }
}

TEST_CASE_TEMPLATE("narrow products: rows around 32, columns to 16, depth around blocks of 512 and 1024", T,
                   float, double) {
  for (int64_t m : {1, 3, 4, 5, 31, 32, 33, 64, 67})
    for (int64_t n = 1; n <= 17; ++n)
      for (int64_t k : {64, 79, 512, 1025}) {
        if ((m + n + k) % 3 == 0 && k > 100) continue;
        check_exact<T>(m, n, k, 0, static_cast<int>((m + n) % layout_count));
        check_exact<T>(n, m, k, static_cast<int>((m + k) % layout_count), 1);
      }
}

TEST_CASE_TEMPLATE("products large enough for several chunks", T, float, double) {
  check_exact<T>(256, 10, 3072, 0, 0);  // the linear classifier on CIFAR-10
  check_exact<T>(3072, 10, 256, 1, 0);  // and its gradient
  check_exact<T>(64, 100, 784, 0, 0);
  check_exact<T>(784, 100, 64, 1, 0);
  check_exact<T>(64, 784, 100, 0, 1);
  check_exact<T>(301, 307, 263, 0, 0);
  check_exact<T>(190, 403, 257, 1, 1);
  check_exact<T>(1, 4099, 67, 0, 0);
  check_exact<T>(4099, 1, 67, 0, 0);
  check_exact<T>(1, 1, 40009, 0, 0);
}

TEST_CASE_TEMPLATE("few rows against much of B: halves along k", T, float, double) {
  // Taken in halves from 2^22 multiply-adds on, for k >= 64, as many rows as a register tile, and contiguous
  // rows of B; one row less of work, and the other paths, beside it.
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 65536, 64},
                                {1, 65535, 64},
                                {2, 32769, 65},
                                {5, 3001, 281},
                                {6, 4000, 255},
                                {7, 311, 4097},
                                {12, 1031, 343},
                                {12, 40, 9001},
                                {13, 1031, 343},
                                {6, 20000, 63},
                                {12, 33, 20011}})
    for (const auto& [i, j] : {std::pair<int, int>{0, 0}, {1, 0}, {0, 1}, {1, 1}, {3, 9}}) {
      check_exact<T>(m, n, k, i, j);
      check_exact<T>(n, m, k, j, i);
    }
}

TEST_CASE_TEMPLATE("sums of products lie within the rounding error of their length", T, float, double) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{17, 37, 300},
                                {40, 10, 2000},
                                {5, 3, 63},
                                {1, 1, 5003},
                                {60, 70, 80},
                                {33, 129, 1031}})
    for (int layout : {0, 1, 3, 9}) {
      const Strided<T> a = matrix<T>(m, k, layout, normal<T>(m * k, 1));
      const Strided<T> b = matrix<T>(k, n, (layout + 1) % layout_count, normal<T>(k * n, 2));
      Guarded<T> out(m * n);
      matmul<T>(a.view, b.view, out.data());
      std::vector<long double> expected, sizes;
      plain_product<long double, T>(a.view, b.view, expected, &sizes);
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      CAPTURE(layout_names[layout]);
      const long double relative = static_cast<long double>(k + 2) * epsilon<T> / 2;
      CHECK(out.intact());
      CHECK(difference(
                out.data(), m * n, [&](int64_t i) { return expected[static_cast<size_t>(i)]; },
                [&](int64_t i) { return relative * sizes[static_cast<size_t>(i)]; }) == "");
    }
}

TEST_CASE_TEMPLATE("NaN and infinity reach the sums that they belong to, and no other", T, float, double) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{9, 37, 20}, {40, 10, 130}, {7, 3, 5}, {30, 300, 257}})
    for (T special : {quiet_nan<T>, infinity<T>}) {
      std::vector<T> a(static_cast<size_t>(m * k), T(1)), b(static_cast<size_t>(k * n), T(1)),
          out(static_cast<size_t>(m * n));
      a[static_cast<size_t>(2 * k + 3)] = special;   // row 2
      b[static_cast<size_t>(4 * n + n - 1)] = T(0);  // 0 x infinity stays out: k = 4, not 3
      b[static_cast<size_t>(3 * n)] = T(0);          // column 0: 0 x special is NaN
      matmul<T>({a.data(), {m, k}, {k, 1}}, {b.data(), {k, n}, {n, 1}}, out.data());
      CAPTURE(m);
      CAPTURE(n);
      CHECK(difference(out.data(), m * n, [&](int64_t i) -> long double {
              const int64_t row = i / n, column = i % n;
              if (row == 2) return column == 0 ? quiet_nan<T> : special;
              return static_cast<T>(k - (column == 0) - (column == n - 1));
            }) == "");
    }
}

TEST_CASE_TEMPLATE("an empty sum is 0, and an empty product writes nothing", T, float, double) {
  for (int64_t m : {0, 1, 3, 40})
    for (int64_t n : {0, 1, 5, 70}) {
      Guarded<T> out(m * n);
      matmul<T>({nullptr, {m, 0}, {0, 1}}, {nullptr, {0, n}, {n, 1}}, out.data());
      CHECK(out.intact());
      CHECK(difference(out.data(), m * n, [](int64_t) { return 0.0L; }) == "");
    }
  Guarded<T> out(2 * 3 * 4);
  matmul<T>({nullptr, {2, 3, 0}, {0, 0, 1}}, {nullptr, {2, 0, 4}, {0, 4, 1}}, out.data());
  CHECK(out.intact());
  CHECK(difference(out.data(), out.size(), [](int64_t) { return 0.0L; }) == "");
  matmul<T>({nullptr, {0, 3, 4}, {12, 4, 1}}, {nullptr, {4, 5}, {5, 1}}, nullptr);
}

TEST_CASE_TEMPLATE("dimensions of size 1 may have any stride", T, float, double) {
  const T odd = T(7);
  for (int64_t stride : {int64_t{0}, int64_t{-1}, int64_t{1} << 40, -(int64_t{1} << 40)}) {
    for (int64_t n : {1, 5, 100}) {
      const std::vector<T> x = small_integers<T>(n, 1);
      std::vector<T> outer(static_cast<size_t>(n));
      T inner = 0, expected = 0;
      for (T value : x) expected += value * value;
      matmul<T>({&odd, {1, 1}, {stride, stride}}, {x.data(), {1, n}, {stride, 1}}, outer.data());
      CHECK(difference(outer.data(), n,
                       [&](int64_t i) -> long double { return 7 * x[static_cast<size_t>(i)]; }) == "");
      matmul<T>({x.data(), {n, 1}, {1, stride}}, {&odd, {1, 1}, {stride, stride}}, outer.data());
      CHECK(difference(outer.data(), n,
                       [&](int64_t i) -> long double { return 7 * x[static_cast<size_t>(i)]; }) == "");
      matmul<T>({x.data(), {1, n}, {stride, 1}}, {x.data(), {n, 1}, {1, stride}}, &inner);
      CHECK(inner == expected);
      matmul<T>({x.data(), {1, 1, n}, {stride, stride, 1}}, {x.data(), {1, n, 1}, {stride, 1, stride}},
                &inner);
      CHECK(inner == expected);
    }
  }
}

TEST_CASE_TEMPLATE("batches broadcast", T, float, double) {
  const std::pair<Shape, Shape> shapes[] = {
      {{4, 3, 5}, {4, 5, 2}},         {{4, 3, 5}, {5, 2}},          {{3, 5}, {4, 5, 2}},
      {{1, 3, 5}, {4, 5, 2}},         {{2, 1, 3, 5}, {3, 5, 2}},    {{2, 3, 4, 5}, {1, 3, 5, 6}},
      {{2, 1, 4, 5}, {1, 3, 5, 6}},   {{0, 3, 5}, {5, 2}},          {{0, 3, 5}, {1, 5, 2}},
      {{3, 0, 4}, {3, 4, 5}},         {{3, 2, 0}, {0, 5}},          {{2, 0, 3, 5}, {2, 1, 5, 2}},
      {{1000, 2, 2}, {1000, 2, 2}},   {{37, 12, 64}, {37, 64, 10}}, {{2, 130, 200}, {200, 170}},
      {{3, 160, 170}, {3, 170, 160}}, {{500, 1, 64}, {64, 3}},      {{2, 3, 2, 1, 1}, {2, 1, 1}},
      {{5, 1, 7}, {5, 7, 1}},
  };
  for (const auto& [a, b] : shapes) {
    CAPTURE(shape_text(a));
    CAPTURE(shape_text(b));
    CHECK(check_batch<T>(a, b) == "");
  }
}

TEST_CASE_TEMPLATE("batches with strides of any sign, and 0", T, float, double) {
  CHECK(check_batch<T>({4, 3, 5}, {0, 5, 1}, {4, 5, 2}, {10, 2, 1}) == "");
  CHECK(check_batch<T>({4, 3, 5}, {-15, 5, 1}, {4, 5, 2}, {-10, 1, 5}) == "");
  CHECK(check_batch<T>({4, 3, 5}, {5, 20, 1}, {4, 5, 2}, {2, 8, 1}) == "");  // batch in the middle
  CHECK(check_batch<T>({4, 3, 5}, {1, 4, 12}, {5, 2}, {-2, -1}) == "");      // batch innermost
  CHECK(check_batch<T>({2, 4, 30, 70}, {0, 2100, -70, 1}, {4, 70, 9}, {-630, 1, 70}) == "");
  CHECK(check_batch<T>({3, 40, 300}, {12000, 1, 40}, {3, 300, 50}, {0, 0, 1}) == "");
}

TEST_CASE("shapes that clash are named") {
  CHECK(matmul_shape({64, 784}, {784, 100}) == Shape{64, 100});
  CHECK(matmul_shape({5, 1, 2, 3}, {4, 3, 7}) == Shape{5, 4, 2, 7});
  CHECK(matmul_shape({2, 0}, {0, 3}) == Shape{2, 3});
  CHECK_THROWS_WITH_AS(matmul_shape({64, 784}, {700, 100}),
                       "matmul: (64, 784) x (700, 100): inner dimensions 784 and 700 differ",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(matmul_shape({3}, {3, 2}),
                       "matmul: (3,) x (3, 2): matrices have two or more dimensions", std::invalid_argument);
  CHECK_THROWS_WITH_AS(matmul_shape({2, 3}, {}), "matmul: (2, 3) x (): matrices have two or more dimensions",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(matmul_shape({2, 3, 4}, {5, 4, 2}),
                       "matmul: (2, 3, 4) x (5, 4, 2): batch dimensions 2 and 5 do not broadcast",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(matmul_shape({0, 3, 4}, {2, 4, 2}),
                       "matmul: (0, 3, 4) x (2, 4, 2): batch dimensions 0 and 2 do not broadcast",
                       std::invalid_argument);
  const int64_t huge = int64_t{1} << 32;
  CHECK_THROWS_WITH_AS(matmul_shape({huge, 1}, {1, huge}), doctest::Contains("overflow 64 bits"),
                       std::invalid_argument);
  CHECK_THROWS_AS(matmul_shape({-2, 3}, {3, 2}), std::invalid_argument);
  CHECK_THROWS_AS(matmul_shape({2, -3}, {-3, 2}), std::invalid_argument);

  const double x[6] = {1, 2, 3, 4, 5, 6};
  double out[9];
  CHECK_THROWS_WITH_AS(matmul<double>({x, {2, 3}, {3, 1}}, {x, {2, 3}, {3, 1}}, out),
                       "matmul: (2, 3) x (2, 3): inner dimensions 3 and 2 differ", std::invalid_argument);
}

// ---- Kernels ----------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("the register tile: every height and width, set and added, in rows and columns", T, float,
                   double) {
  const auto& kernel = kernels<T>().matmul;
  const int widest = 2 * kernel.vector_width;
  for (int rows = 1; rows <= kernel.tile_rows; ++rows)
    for (int columns = 1; columns <= widest; ++columns)
      for (int64_t k : {1, 5})
        for (int variant = 0; variant < 8; ++variant) {
          const bool accumulate = variant & 1, transposed = variant & 2, packed = variant & 4;
          const std::vector<T> a = small_integers<T>(rows * k, 1), b = small_integers<T>(widest * k, 2);
          Guarded<T> c(small_integers<T>(rows * columns, 3));
          const std::vector<T> before = c.values();
          TileArguments<T> t{};
          t.a = packed ? MatrixView<T>{a.data(), 1, rows} : MatrixView<T>{a.data(), k, 1};
          t.b = b.data();
          t.b_row = widest;
          t.k = k;
          t.c = c.data();
          t.c_row = transposed ? 1 : columns;
          t.c_column = transposed ? rows : 1;
          t.rows = rows;
          t.columns = columns;
          t.accumulate = accumulate;
          kernel.tile(t);
          CAPTURE(rows);
          CAPTURE(columns);
          CAPTURE(variant);
          CHECK(c.intact());
          std::vector<T> expected(before.size());
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j) {
              const auto place = static_cast<size_t>(i * t.c_row + j * t.c_column);
              T sum = accumulate ? before[place] : T(0);
              for (int64_t q = 0; q < k; ++q)
                sum += t.a.data[i * t.a.row + q * t.a.column] * b[static_cast<size_t>(q * widest + j)];
              expected[place] = sum;
            }
          CHECK(difference(c.data(), c.size(),
                           [&](int64_t i) -> long double { return expected[static_cast<size_t>(i)]; }) == "");
        }
}

TEST_CASE_TEMPLATE("packing copies a panel and fills it up with zeros", T, float, double) {
  const auto& kernel = kernels<T>().matmul;
  const int64_t width = 2 * kernel.vector_width;
  for (int64_t k : {1, 9, 16, 19})
    for (int64_t columns = 1; columns <= width; ++columns)
      for (int layout = 0; layout < layout_count; ++layout) {
        const Strided<T> b = matrix<T>(k, columns, layout, small_integers<T>(k * columns, 3));
        for (int64_t out_row : {width, width + 3}) {  // what lies between its rows stays as it was
          const std::vector<T> before(static_cast<size_t>(k * out_row), T(7));
          Guarded<T> out(k * out_row);
          std::copy(before.begin(), before.end(), out.data());
          kernel.pack({b.view.data, b.view.strides[0], b.view.strides[1]}, k, columns, width, out.data(),
                      out_row);
          CAPTURE(columns);
          CAPTURE(out_row);
          CAPTURE(layout_names[layout]);
          CHECK(out.intact());
          CHECK(difference(out.data(), out.size(), [&](int64_t i) -> long double {
                  const int64_t row = i / out_row, column = i % out_row;
                  return column < columns ? element(b.view, row, column) : column < width ? T(0) : T(7);
                }) == "");
        }
      }
}

TEST_CASE_TEMPLATE("the narrow kernel: every number of rows and columns, results by rows or columns", T,
                   float, double) {
  const auto& kernel = kernels<T>().matmul;
  for (int64_t rows = 1; rows <= narrow_rows; ++rows)
    for (int64_t columns = 1; columns <= narrow_columns; ++columns)
      for (bool transposed : {false, true}) {
        const int64_t k = 1 + (rows * 7 + columns) % 40, a_row = k + 3;
        const std::vector<T> a = small_integers<T>(rows * a_row, 1), b = small_integers<T>(columns * k, 2);
        const int64_t c_row = transposed ? 1 : columns, c_column = transposed ? rows : 1;
        Guarded<T> c(rows * columns);
        kernel.narrow(a.data(), a_row, rows, b.data(), columns, k, c.data(), c_row, c_column);
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(k);
        CHECK(c.intact());
        CHECK(difference(c.data(), c.size(), [&](int64_t place) -> long double {
                const int64_t i = transposed ? place % rows : place / columns;
                const int64_t j = transposed ? place / rows : place % columns;
                T sum = 0;
                for (int64_t q = 0; q < k; ++q)
                  sum += a[static_cast<size_t>(i * a_row + q)] * b[static_cast<size_t>(j * k + q)];
                return sum;
              }) == "");
      }
}
