// Sums, extremes, gather and scatter along the middle axis of (outer, n, inner) arrays.
#include <algorithm>

#include "kernels/table.h"
#include "ops/reduce.h"
#include "reference.h"

using namespace chainrule;
using namespace reference;

namespace {

// Around vectors, blocks of 1024 values, partial sums of 512 rows, strips of 256 columns, chunks of 2^15
// values.
std::vector<ReduceShape> shapes() {
  std::vector<ReduceShape> all;
  for (int64_t outer : {0, 1, 2, 3, 7})
    for (int64_t n : {0,   1,   2,   3,    7,    15,   16,   17,    63,    64,    65,   127,
                      511, 512, 513, 1023, 1024, 1025, 1537, 32767, 32768, 32769, 65537})
      for (int64_t inner : {0, 1, 2, 3, 5, 15, 16, 17, 31, 63, 64, 65, 255, 256, 257, 513})
        if (outer * n * inner <= 120000) all.push_back({outer, n, inner});
  for (int64_t outer : {255, 4096, 40001}) all.push_back({outer, 3, 1});
  all.push_back({1, 600, 513});
  all.push_back({33, 1, 1025});
  return all;
}

std::string text(const ReduceShape& s) { return shape_text({s.outer, s.n, s.inner}); }

int64_t at(const ReduceShape& s, int64_t o, int64_t k, int64_t i) { return (o * s.n + k) * s.inner + i; }

template <class T>
void plain_extreme(bool max, const T* x, const ReduceShape& s, std::vector<T>& values,
                   std::vector<int64_t>& indices) {
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.inner; ++i) {
      int64_t best = 0;
      for (int64_t k = 1; k < s.n; ++k) {
        T value = x[at(s, o, k, i)], so_far = x[at(s, o, best, i)];
        if (std::isnan(so_far)) break;
        if (std::isnan(value) || (max ? value > so_far : value < so_far)) best = k;
      }
      values[static_cast<size_t>(o * s.inner + i)] = x[at(s, o, best, i)];
      indices[static_cast<size_t>(o * s.inner + i)] = best;
    }
}

template <class T>
void check_extremes(const std::vector<T>& x, const ReduceShape& s) {
  const int64_t n = s.outer * s.inner;
  for (Extreme extreme : {Extreme::max, Extreme::min}) {
    std::vector<T> expected(static_cast<size_t>(n));
    std::vector<int64_t> where(expected.size());
    plain_extreme(extreme == Extreme::max, x.data(), s, expected, where);
    Guarded<T> values(n);
    Guarded<int64_t> indices(n);
    reduce_extreme<T>(extreme, x.data(), s, values.data(), indices.data());
    CAPTURE(text(s));
    CAPTURE((extreme == Extreme::max ? "max" : "min"));
    CHECK(values.intact());
    CHECK(indices.intact());
    CHECK(difference(values.data(), n,
                     [&](int64_t i) -> long double { return expected[static_cast<size_t>(i)]; }) == "");
    CHECK(difference(indices.data(), n, [&](int64_t i) {
            return static_cast<long double>(where[static_cast<size_t>(i)]);
          }) == "");
  }
}

}  // namespace

TEST_CASE_TEMPLATE("sums lie within the rounding error of their blocks", T, float, double) {
  for (const ReduceShape& s : shapes()) {
    const std::vector<T> x = normal<T>(s.outer * s.n * s.inner, 3);
    const int64_t n = s.outer * s.inner;
    Guarded<T> out(n);
    reduce_sum<T>(x.data(), s, out.data());
    CAPTURE(text(s));
    CHECK(out.intact());
    std::vector<long double> sums(static_cast<size_t>(n)), sizes(sums.size());
    for (int64_t o = 0; o < s.outer; ++o)
      for (int64_t k = 0; k < s.n; ++k)
        for (int64_t i = 0; i < s.inner; ++i) {
          const T value = x[static_cast<size_t>(at(s, o, k, i))];
          sums[static_cast<size_t>(o * s.inner + i)] += value;
          sizes[static_cast<size_t>(o * s.inner + i)] += std::fabs(value);
        }
    // A block's additions, those of the partial sums, and the last rounding.
    const int64_t additions =
        s.inner == 1 ? std::min<int64_t>(s.n, 1024) / 16 + 8 : std::min<int64_t>(s.n, 512) + s.n / 512;
    const long double slack = s.inner == 1 ? s.n * epsilon<double> : 0;
    CHECK(difference(
              out.data(), n, [&](int64_t i) { return sums[static_cast<size_t>(i)]; },
              [&](int64_t i) {
                return (static_cast<long double>(additions) * epsilon<T> + slack) *
                       sizes[static_cast<size_t>(i)];
              }) == "");
  }
}

TEST_CASE_TEMPLATE("sums of small integers are exact", T, float, double) {
  for (const ReduceShape& s : shapes()) {
    const std::vector<T> x = small_integers<T>(s.outer * s.n * s.inner, 4);
    Guarded<T> out(s.outer * s.inner);
    reduce_sum<T>(x.data(), s, out.data());
    CAPTURE(text(s));
    CHECK(out.intact());
    CHECK(difference(out.data(), out.size(), [&](int64_t j) {
            long double sum = 0;
            for (int64_t k = 0; k < s.n; ++k)
              sum += x[static_cast<size_t>(at(s, j / s.inner, k, j % s.inner))];
            return sum;
          }) == "");
  }
}

TEST_CASE("a long float32 sum does not stop growing at 2^24") {
  const int64_t n = (int64_t{1} << 24) + 4099;
  const std::vector<float> ones(static_cast<size_t>(n), 1.0f);
  float sum = 0;
  reduce_sum<float>(ones.data(), {1, n, 1}, &sum);
  CHECK(sum == static_cast<float>(n));
  float pair[2] = {};
  reduce_sum<float>(ones.data(), {1, n / 2, 2}, pair);
  CHECK(pair[0] == static_cast<float>(n / 2));
  CHECK(pair[1] == static_cast<float>(n / 2));
}

TEST_CASE_TEMPLATE("NaN and infinity pass through sums", T, float, double) {
  for (int64_t n : {1, 7, 16, 17, 40, 1500})
    for (int64_t inner : {1, 3, 20}) {
      std::vector<T> x(static_cast<size_t>(n * inner), T(1)), out(static_cast<size_t>(inner));
      x[static_cast<size_t>((n - 1) * inner)] = infinity<T>;
      reduce_sum<T>(x.data(), {1, n, inner}, out.data());
      CHECK(out[0] == infinity<T>);
      if (inner > 1) CHECK(out[1] == T(n));
      x[0] = -infinity<T>;
      reduce_sum<T>(x.data(), {1, n, inner}, out.data());
      CHECK((n == 1 ? out[0] == -infinity<T> : std::isnan(out[0])));
      x[0] = quiet_nan<T>;
      reduce_sum<T>(x.data(), {1, n, inner}, out.data());
      CHECK(std::isnan(out[0]));
    }
}

TEST_CASE_TEMPLATE("extremes are found, the first of equals and the first NaN", T, float, double) {
  std::mt19937_64 random(99);
  for (const ReduceShape& s : shapes()) {
    if (s.n == 0) continue;
    std::vector<T> x = small_integers<T>(s.outer * s.n * s.inner, 6, 2);
    check_extremes(x, s);
    // A few NaN and infinities: some rows hold several, most none.
    for (size_t i = 0; i < x.size() / 50 + 1 && !x.empty(); ++i) {
      const T special[] = {quiet_nan<T>, infinity<T>, -infinity<T>};
      x[random() % x.size()] = special[random() % 3];
    }
    check_extremes(x, s);
  }
}

TEST_CASE_TEMPLATE("an extreme is found at every place of a row", T, float, double) {
  for (int64_t n : {1, 2, 5, 8, 9, 16, 17, 33, 50})
    for (int64_t place = 0; place < n; ++place)
      for (T special : {T(3), quiet_nan<T>}) {
        std::vector<T> x(static_cast<size_t>(n), T(-1));
        x[static_cast<size_t>(place)] = special;
        check_extremes(x, {1, n, 1});
        check_extremes(x, {n, 1, 1});
        std::vector<T> wide(static_cast<size_t>(n) * 3, T(-1));
        wide[static_cast<size_t>(place) * 3 + 1] = special;
        check_extremes(wide, {1, n, 3});
      }
}

TEST_CASE_TEMPLATE("extremes of nothing but infinities or NaN", T, float, double) {
  for (int64_t n : {1, 3, 16, 70})
    for (int64_t inner : {1, 5})
      for (T value : {infinity<T>, -infinity<T>, quiet_nan<T>})
        check_extremes(std::vector<T>(static_cast<size_t>(n * inner), value), {1, n, inner});
}

TEST_CASE("the extreme of nothing is an error, unless nothing is asked for") {
  double value = 0;
  int64_t index = 0;
  CHECK_THROWS_WITH_AS(reduce_extreme<double>(Extreme::max, &value, {1, 0, 1}, &value, &index),
                       doctest::Contains("max: no values along the reduced axes"), std::invalid_argument);
  CHECK_THROWS_WITH_AS(reduce_extreme<double>(Extreme::min, &value, {2, 0, 3}, &value, &index),
                       doctest::Contains("min: no values along the reduced axes"), std::invalid_argument);
  CHECK_NOTHROW(reduce_extreme<double>(Extreme::max, &value, {0, 0, 3}, &value, &index));
  CHECK_NOTHROW(reduce_extreme<double>(Extreme::max, &value, {3, 0, 0}, &value, &index));
}

TEST_CASE_TEMPLATE("scatter puts values where gather takes them from, and is its adjoint", T, float, double) {
  for (const ReduceShape& s : shapes()) {
    if (s.n == 0) continue;
    const int64_t n = s.outer * s.inner;
    const std::vector<T> x = small_integers<T>(n * s.n, 1), g = small_integers<T>(n, 2);
    const std::vector<int64_t> indices = labels(n, s.n, 3);
    Guarded<T> gathered(n), scattered(n * s.n);
    gather<T>(x.data(), indices.data(), s, gathered.data());
    scatter<T>(g.data(), indices.data(), s, scattered.data());
    CAPTURE(text(s));
    CHECK(gathered.intact());
    CHECK(scattered.intact());
    CHECK(difference(gathered.data(), n, [&](int64_t j) -> long double {
            return x[static_cast<size_t>(at(s, j / s.inner, indices[static_cast<size_t>(j)], j % s.inner))];
          }) == "");
    double left = 0, right = 0;  // <gather(x), g> = <x, scatter(g)>: integers, so exact
    int64_t written = 0;
    for (int64_t j = 0; j < n; ++j)
      left += static_cast<double>(gathered[j]) * static_cast<double>(g[static_cast<size_t>(j)]);
    for (int64_t j = 0; j < n * s.n; ++j) {
      right += static_cast<double>(scattered[j]) * static_cast<double>(x[static_cast<size_t>(j)]);
      written += scattered[j] != T(0);
    }
    CHECK(left == right);
    CHECK(written == std::count_if(g.begin(), g.end(), [](T v) { return v != T(0); }));
  }
}

TEST_CASE("gather and scatter refuse indices out of range and name them") {
  const double x[12] = {}, g[4] = {};
  double out[12];
  const ReduceShape s{2, 3, 2};
  const int64_t above[] = {0, 1, 3, 2}, below[] = {0, 1, 2, -1};
  const int64_t least[] = {std::numeric_limits<int64_t>::min(), 0, 0, 0};
  CHECK_THROWS_WITH_AS(gather<double>(x, above, s, out), "gather: index 3 at position 2 is not in [0, 3)",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(scatter<double>(g, below, s, out), "scatter: index -1 at position 3 is not in [0, 3)",
                       std::invalid_argument);
  CHECK_THROWS_AS(gather<double>(x, least, s, out), std::invalid_argument);
  CHECK_THROWS_AS(scatter<double>(g, above, {4, 0, 1}, out), std::invalid_argument);
}

TEST_CASE("check_reduce_shape trusts no size") {
  CHECK_NOTHROW(check_reduce_shape("sum", {2, 3, 4}, 24));
  CHECK_NOTHROW(check_reduce_shape("sum", {0, 3, 4}, 0));
  CHECK_THROWS_WITH_AS(check_reduce_shape("sum", {2, 3, 4}, 23),
                       "sum: (outer, n, inner) = (2, 3, 4) does not hold 23 elements", std::invalid_argument);
  CHECK_THROWS_WITH_AS(check_reduce_shape("sum", {-2, 3, -4}, 24), "sum: negative size -2",
                       std::invalid_argument);
  const int64_t huge = int64_t{1} << 31;
  CHECK_THROWS_WITH_AS(check_reduce_shape("sum", {huge, huge, 4}, 0), doctest::Contains("overflow 64 bits"),
                       std::invalid_argument);
}

TEST_CASE_TEMPLATE("the kernels of extreme rows respect a stride", T, float, double) {
  const int64_t rows = 5, stride = 40, columns = 33;
  std::vector<T> x = small_integers<T>(rows * stride, 8);
  std::vector<T> value(static_cast<size_t>(columns));
  std::vector<int64_t> index(value.size());
  kernels<T>().reduce.max_rows(x.data(), rows, stride, value.data(), index.data(), columns);
  Guarded<T> sums(columns);
  kernels<T>().reduce.sum_rows(x.data(), rows, stride, sums.data(), columns);
  CHECK(sums.intact());
  for (int64_t j = 0; j < columns; ++j) {
    T best = x[static_cast<size_t>(j)], sum = 0;
    for (int64_t i = 0; i < rows; ++i) {
      best = std::max(best, x[static_cast<size_t>(i * stride + j)]);
      sum += x[static_cast<size_t>(i * stride + j)];
    }
    CHECK(value[static_cast<size_t>(j)] == best);
    CHECK(sums[j] == sum);
  }
}
