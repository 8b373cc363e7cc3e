// Bias and relu on the way to memory: products against plain loops, on each path and layout of matmul.
#include <array>

#include "ops/matmul.h"
#include "reference.h"

using namespace chainrule;
using namespace reference;

namespace {

template <class T>
T after(T sum, const T* bias, int64_t column, bool relu) {
  if (bias != nullptr) sum += bias[column];
  return relu && sum <= T(0) ? T(0) : sum;
}

// a (m, k) and b (k, n), each contiguous or transposed, of integers: every order of summation gives the same.
template <class T>
void check(int64_t m, int64_t n, int64_t k) {
  const std::vector<T> a_values = small_integers<T>(m * k, 1), b_values = small_integers<T>(k * n, 2);
  const Unaligned<T> bias(small_integers<T>(n, 3, 20));
  std::vector<T> sums(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t q = 0; q < k; ++q)
      for (int64_t j = 0; j < n; ++j)
        sums[static_cast<size_t>(i * n + j)] +=
            a_values[static_cast<size_t>(i * k + q)] * b_values[static_cast<size_t>(q * n + j)];
  for (int layouts = 0; layouts < 4; ++layouts) {
    const Shape a_strides = layouts & 1 ? Shape{1, m} : Shape{k, 1},
                b_strides = layouts & 2 ? Shape{1, k} : Shape{n, 1};
    const Strided<T> a({m, k}, a_strides, [&](int64_t i) { return a_values[static_cast<size_t>(i)]; });
    const Strided<T> b({k, n}, b_strides, [&](int64_t i) { return b_values[static_cast<size_t>(i)]; });
    for (int options = 1; options < 4; ++options) {
      const T* added = options & 1 ? bias.data() : nullptr;
      const bool relu = options & 2;
      Guarded<T> out(m * n);
      matmul<T>(a.view, b.view, out.data(), {added, relu});
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      CAPTURE(layouts);
      CAPTURE(options);
      CHECK(out.intact());
      CHECK(difference(out.data(), m * n, [&](int64_t i) -> long double {
              return after<T>(sums[static_cast<size_t>(i)], added, i % n, relu);
            }) == "");
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("products with bias and relu, of every shape around tiles and panels", T, float, double) {
  const WithThreads one(1);
  for (int64_t m : {0, 1, 2, 5, 6, 7, 12, 13, 17, 33})
    for (int64_t n : {0, 1, 2, 3, 8, 9, 15, 16, 17, 31, 33, 65})
      for (int64_t k : {0, 1, 7, 64, 65}) check<T>(m, n, k);
}

TEST_CASE_TEMPLATE("products with bias and relu, in several passes, chunks and blocks", T, float, double) {
  for (int64_t k : {2047, 2048, 2049, 4097})
    check<T>(13, 35, k);    // passes along k: once, at the last one's end
  check<T>(301, 65, 2049);  // more rows than fill the second cache
  check<T>(307, 311, 63);
  check<T>(700, 10, 300);  // narrow, and transposed
  check<T>(10, 700, 300);
  check<T>(1, 4099, 67);
  check<T>(4099, 1, 67);
}

TEST_CASE_TEMPLATE("batches of products have one bias", T, float, double) {
  for (const auto& [matrices, m, n, k] :
       {std::array<int64_t, 4>{3, 5, 7, 4}, {40, 2, 3, 70}, {2, 130, 170, 200}}) {
    const std::vector<T> a = small_integers<T>(matrices * m * k, 1), b = small_integers<T>(k * n, 2);
    const std::vector<T> bias = small_integers<T>(n, 3, 20);
    Guarded<T> out(matrices * m * n);
    matmul<T>({a.data(), {matrices, m, k}, {m * k, k, 1}}, {b.data(), {k, n}, {n, 1}}, out.data(),
              {bias.data(), true});
    std::vector<T> sums(static_cast<size_t>(matrices * m * n));
    for (int64_t i = 0; i < matrices * m; ++i)
      for (int64_t q = 0; q < k; ++q)
        for (int64_t j = 0; j < n; ++j)
          sums[static_cast<size_t>(i * n + j)] +=
              a[static_cast<size_t>(i * k + q)] * b[static_cast<size_t>(q * n + j)];
    CHECK(out.intact());
    CHECK(difference(out.data(), out.size(), [&, n = n](int64_t i) -> long double {
            return after<T>(sums[static_cast<size_t>(i)], bias.data(), i % n, true);
          }) == "");
  }
}

TEST_CASE_TEMPLATE("NaN passes relu, and a bias of NaN fills its column and no other", T, float, double) {
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{9, 37, 20}, {40, 10, 130}, {10, 40, 130}, {7, 3, 5}, {5, 4, 0}})
    for (bool relu : {false, true}) {
      std::vector<T> a(static_cast<size_t>(m * k), T(1)), bias(static_cast<size_t>(n), T(2));
      const std::vector<T> b(static_cast<size_t>(k * n), T(-1));
      if (k > 0) a[static_cast<size_t>(3 * k + 2)] = quiet_nan<T>;  // row 3
      bias[1] = quiet_nan<T>;
      Guarded<T> out(m * n);
      matmul<T>({a.data(), {m, k}, {k, 1}}, {b.data(), {k, n}, {n, 1}}, out.data(), {bias.data(), relu});
      CAPTURE(m);
      CAPTURE(n);
      CHECK(difference(out.data(), m * n, [&, n = n, k = k](int64_t i) -> long double {
              if ((i / n == 3 && k > 0) || i % n == 1) return quiet_nan<T>;
              return after<T>(T(2) - static_cast<T>(k), nullptr, 0, relu);
            }) == "");
    }
}

TEST_CASE_TEMPLATE("products with bias and relu give the same bits on 1, 2 and 5 threads", T, float, double) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{260, 270, 100}, {2000, 10, 300}, {50, 70, 5000}}) {
    const std::vector<T> a = normal<T>(m * k, 1), b = normal<T>(k * n, 2), bias = normal<T>(n, 3);
    auto on_threads = [&, m = m, n = n, k = k](int threads) {
      const WithThreads scope(threads);
      std::vector<T> out(static_cast<size_t>(m * n));
      matmul<T>({a.data(), {m, k}, {k, 1}}, {b.data(), {k, n}, {n, 1}}, out.data(), {bias.data(), true});
      return out;
    };
    const std::vector<T> alone = on_threads(1);
    CAPTURE(m);
    for (int threads : {2, 5}) CHECK(same_bits(on_threads(threads), alone));
  }
}
