// The hinge and softmax cross-entropy losses and their gradients: worked cases, plain loops, finite
// differences.
#include <algorithm>
#include <functional>

#include "ops/losses.h"
#include "reference.h"

using namespace chainrule;
using namespace reference;

namespace {

// One loss with its settings: what the tests below walk over.
struct Loss {
  std::string name;
  bool is_hinge;
  double setting;  // the margin, or the label smoothing
  bool squared;

  template <class T>
  void forward(const std::vector<T>& x, const std::vector<int64_t>& y, int64_t classes, T* out) const {
    const auto rows = static_cast<int64_t>(y.size());
    if (is_hinge)
      hinge<T>(x.data(), y.data(), rows, classes, setting, squared, out);
    else
      cross_entropy<T>(x.data(), y.data(), rows, classes, setting, out);
  }
  template <class T>
  void backward(const std::vector<T>& x, const std::vector<int64_t>& y, int64_t classes, const T* g,
                int64_t step, T* dx) const {
    const auto rows = static_cast<int64_t>(y.size());
    if (is_hinge)
      hinge_gradient<T>(x.data(), y.data(), rows, classes, setting, squared, g, step, dx);
    else
      cross_entropy_gradient<T>(x.data(), y.data(), rows, classes, setting, g, step, dx);
  }
};

const Loss losses[] = {
    {"hinge", true, 1, false},
    {"hinge, delta 0", true, 0, false},
    {"hinge, delta 10", true, 10, false},
    {"squared hinge", true, 1, true},
    {"squared hinge, delta 2.5", true, 2.5, true},
    {"cross-entropy", false, 0, false},
    {"cross-entropy, smoothing 0.1", false, 0.1, false},
    {"cross-entropy, smoothing 1", false, 1, false},
};

// The loss of one row and its gradient, from the definition; bound: the rounding error of each.
struct Row {
  long double loss = 0, loss_bound = 0;
  std::vector<long double> gradient;
  long double gradient_bound = 0;
};

template <class T>
Row exact_row(const Loss& loss, const T* x, int64_t classes, int64_t label) {
  Row row;
  row.gradient.assign(static_cast<size_t>(classes), 0);
  const long double eps = epsilon<T>, length = static_cast<long double>(classes + 12);
  long double top = x[0], largest = 0;
  for (int64_t j = 0; j < classes; ++j) {
    top = std::max<long double>(top, x[j]);
    largest = std::max<long double>(largest, std::fabs(x[j]));
  }
  if (loss.is_hinge) {
    const long double correct = x[label], delta = static_cast<T>(loss.setting);
    long double slopes = 0;
    for (int64_t j = 0; j < classes; ++j) {
      if (j == label) continue;
      // The margin decides a slope, so it is rounded as the kernel rounds it.
      const T margin = static_cast<T>(static_cast<T>(x[j] - x[label]) + static_cast<T>(loss.setting));
      const long double violation = margin > T(0) ? x[j] - correct + delta : 0;
      const long double slope = margin > T(0) ? (loss.squared ? 2 * violation : 1) : 0;
      row.loss += loss.squared ? violation * violation : violation;
      row.gradient[static_cast<size_t>(j)] = slope;
      slopes += slope;
    }
    row.gradient[static_cast<size_t>(label)] = -slopes;
    const long double size = 2 * largest + delta;
    row.loss_bound = eps * length * (loss.squared ? 2 * size * (size + 1) : size);
    row.gradient_bound = loss.squared ? eps * length * 2 * size : 0;
    row.loss_bound *= 1 + length / 8;
    row.gradient_bound *= 1 + length / 8;
    return row;
  }
  const long double s = static_cast<T>(loss.setting);
  long double sum = 0, spread = 0;
  for (int64_t j = 0; j < classes; ++j) sum += std::exp(x[j] - top);
  const long double lse = top + std::log(sum);
  for (int64_t j = 0; j < classes; ++j) {
    if (s != 0) spread += lse - x[j];
    const long double target = (j == label ? 1 - s : 0) + s / static_cast<long double>(classes);
    row.gradient[static_cast<size_t>(j)] = std::exp(x[j] - lse) - target;
  }
  row.loss = (1 - s) * (lse - x[label]) + s / static_cast<long double>(classes) * spread;
  row.loss_bound = eps * (length * (1 + std::fabs(lse - x[label])) + 2 * largest + s * length * 4 * largest);
  row.gradient_bound = eps * (length + 2 * largest);
  return row;
}

template <class T>
void check_against_definition(const Loss& loss, int64_t rows, int64_t classes, double scale) {
  const std::vector<T> x = normal<T>(rows * classes, static_cast<uint64_t>(rows + classes), scale);
  const std::vector<int64_t> y = labels(rows, classes, 5);
  const std::vector<T> g = normal<T>(rows, 6);
  Guarded<T> out(rows), dx(rows * classes), common(rows * classes);
  loss.forward<T>(x, y, classes, out.data());
  loss.backward<T>(x, y, classes, g.data(), 1, dx.data());
  const T number = T(0.125);
  loss.backward<T>(x, y, classes, &number, 0, common.data());
  CAPTURE(loss.name);
  CAPTURE(rows);
  CAPTURE(classes);
  CAPTURE(scale);
  CHECK(out.intact());
  CHECK(dx.intact());
  CHECK(common.intact());
  std::vector<Row> expected;
  for (int64_t i = 0; i < rows; ++i)
    expected.push_back(exact_row<T>(loss, x.data() + i * classes, classes, y[static_cast<size_t>(i)]));
  auto row = [&](int64_t i) -> const Row& { return expected[static_cast<size_t>(i)]; };
  CHECK(difference(
            out.data(), rows, [&](int64_t i) { return row(i).loss; },
            [&](int64_t i) { return row(i).loss_bound; }) == "");
  auto gradient = [&](int64_t i) { return row(i / classes).gradient[static_cast<size_t>(i % classes)]; };
  auto bound = [&](int64_t i, long double factor) {
    return std::fabs(factor) * (row(i / classes).gradient_bound + epsilon<T> * std::fabs(gradient(i)));
  };
  auto factor = [&](int64_t i) -> long double { return g[static_cast<size_t>(i / classes)]; };
  CHECK(difference(
            dx.data(), dx.size(), [&](int64_t i) { return factor(i) * gradient(i); },
            [&](int64_t i) { return bound(i, factor(i)); }) == "");
  CHECK(difference(
            common.data(), dx.size(), [&](int64_t i) { return number * gradient(i); },
            [&](int64_t i) { return bound(i, number); }) == "");
}

double one_hinge(std::vector<double> x, int64_t label, double delta, bool squared = false) {
  double loss;
  hinge<double>(x.data(), &label, 1, static_cast<int64_t>(x.size()), delta, squared, &loss);
  return loss;
}

double one_cross_entropy(std::vector<double> x, int64_t label, double smoothing = 0) {
  double loss;
  cross_entropy<double>(x.data(), &label, 1, static_cast<int64_t>(x.size()), smoothing, &loss);
  return loss;
}

}  // namespace

TEST_CASE("worked cases of the hinge loss") {  // issue 3
  CHECK(one_hinge({13, -7, 11}, 0, 10) == 8);
  CHECK(one_hinge({3.2, 5.1, -1.7}, 0, 1) == doctest::Approx(2.9));
  CHECK(one_hinge({1.3, 4.9, 2.0}, 1, 1) == 0);
  CHECK(one_hinge({2.2, 2.5, -3.1}, 2, 1) == doctest::Approx(12.9));
  CHECK((2.9 + 0 + 12.9) / 3 == doctest::Approx(5.2667).epsilon(1e-4));
  CHECK(one_hinge({3.2, 5.1, -1.7}, 0, 1, true) == doctest::Approx(2.9 * 2.9));
  CHECK(one_hinge({2.2, 2.5, -3.1}, 2, 1, true) == doctest::Approx(6.3 * 6.3 + 6.6 * 6.6));
  CHECK(one_hinge({-2.85, 0.86, 0.28}, 2, 1) == doctest::Approx(1.58));
  CHECK(one_hinge({0, 0, 0, 0, 0}, 3, 2) == 4 * 2);  // W = 0: (C - 1) delta
  CHECK(one_hinge({7}, 0, 1) == 0);                  // one class has nothing to violate
}

TEST_CASE("worked cases of the softmax loss") {  // issue 3
  CHECK(one_cross_entropy({3.2, 5.1, -1.7}, 0) == doctest::Approx(2.0404).epsilon(1e-4));
  CHECK(one_cross_entropy({-2.85, 0.86, 0.28}, 2) == doctest::Approx(1.040).epsilon(1e-3));
  CHECK(one_cross_entropy({0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 4) ==
        doctest::Approx(std::log(10)));  // W = 0: ln C
  CHECK(one_cross_entropy({7}, 0) == 0);
  CHECK(one_cross_entropy({123, 456, 789}, 2) == 0);
  CHECK(one_cross_entropy({123, 456, 789}, 0) == 666);
}

TEST_CASE_TEMPLATE("losses and gradients follow their definitions at every size", T, float, double) {
  for (const Loss& loss : losses) {
    for (int64_t classes : {1, 2, 3, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 100, 1000})
      for (int64_t rows : {0, 1, 2, 7, 33}) check_against_definition<T>(loss, rows, classes, 2);
    check_against_definition<T>(loss, 3001, 10, 1);  // several chunks
    check_against_definition<T>(loss, 17, 2003, 1);
    check_against_definition<T>(loss, 5, 12, 1e4);
  }
}

TEST_CASE("gradients agree with finite differences") {
  const int64_t rows = 3, classes = 6;
  const std::vector<int64_t> y = {0, 5, 2};
  const std::vector<double> g = {0.5, -2, 1};
  for (const Loss& loss : losses) {
    const std::vector<double> x = normal<double>(rows * classes, 42);
    std::vector<double> dx(x.size());
    loss.backward<double>(x, y, classes, g.data(), 1, dx.data());
    for (size_t i = 0; i < x.size(); ++i) {
      auto moved = [&](double by) {
        std::vector<double> at = x, out(g.size());
        at[i] += by;
        loss.forward<double>(at, y, classes, out.data());
        return out[0] * g[0] + out[1] * g[1] + out[2] * g[2];
      };
      const double h = 1e-5, numerical = (moved(h) - moved(-h)) / (2 * h);
      CAPTURE(loss.name);
      CAPTURE(i);
      CHECK(std::fabs(dx[i] - numerical) < 2e-8 * (1 + std::fabs(numerical)));
    }
  }
}

TEST_CASE("at the kink the hinge has slope 0") {
  const double x[] = {1, 2, 0}, one = 1;  // 1 - 2 + 1 = 0: class 0 stands just at the margin
  const int64_t label = 1;
  double dx[3];
  for (bool squared : {false, true}) {
    hinge_gradient<double>(x, &label, 1, 3, 1, squared, &one, 0, dx);
    for (double value : dx) CHECK(value == 0);
  }
}

TEST_CASE_TEMPLATE("the gradient of cross-entropy sums to 0 over the classes", T, float, double) {
  const std::vector<T> x = normal<T>(5 * 37, 1, 10);
  const std::vector<int64_t> y = labels(5, 37, 2);
  const T one = 1;
  std::vector<T> dx(x.size());
  for (double smoothing : {0.0, 0.3, 1.0}) {
    cross_entropy_gradient<T>(x.data(), y.data(), 5, 37, smoothing, &one, 0, dx.data());
    for (size_t i = 0; i < 5; ++i) {
      double sum = 0;
      for (size_t j = 0; j < 37; ++j) sum += static_cast<double>(dx[i * 37 + j]);
      CHECK(std::fabs(sum) < 40 * static_cast<double>(epsilon<T>));
    }
  }
}

TEST_CASE_TEMPLATE("scores of 1e4 give finite losses and gradients", T, float, double) {
  const std::vector<T> x = {T(1e4), T(-1e4), T(0), T(1e4), T(9999), T(-1e4)};
  const std::vector<int64_t> y = {1, 0};
  const T one = 1;
  T loss[2], dx[6];
  cross_entropy<T>(x.data(), y.data(), 2, 3, 0, loss);
  CHECK(static_cast<double>(loss[0]) == doctest::Approx(2e4));
  CHECK(static_cast<double>(loss[1]) == doctest::Approx(std::log1p(std::exp(-1.0))));
  cross_entropy_gradient<T>(x.data(), y.data(), 2, 3, 0, &one, 0, dx);
  CHECK(dx[0] == T(1));
  CHECK(dx[1] == T(-1));
  CHECK(dx[2] == T(0));
}

TEST_CASE_TEMPLATE("masked classes take no part; a masked label costs infinity", T, float, double) {
  for (int64_t classes : {3, 16, 37}) {
    std::vector<T> x = normal<T>(classes, 4), kept;
    for (int64_t j = 1; j < classes; j += 2) x[static_cast<size_t>(j)] = -infinity<T>;
    for (int64_t j = 0; j < classes; j += 2) kept.push_back(x[static_cast<size_t>(j)]);
    const auto few = static_cast<int64_t>(kept.size());
    const int64_t label = 2, label_among_kept = 1;
    const T one = 1;
    T loss, expected;
    std::vector<T> dx(x.size()), dkept(kept.size());
    cross_entropy<T>(x.data(), &label, 1, classes, 0, &loss);
    cross_entropy<T>(kept.data(), &label_among_kept, 1, few, 0, &expected);
    CHECK(static_cast<double>(loss) == doctest::Approx(static_cast<double>(expected)).epsilon(1e-5));
    cross_entropy_gradient<T>(x.data(), &label, 1, classes, 0, &one, 0, dx.data());
    cross_entropy_gradient<T>(kept.data(), &label_among_kept, 1, few, 0, &one, 0, dkept.data());
    for (int64_t j = 0; j < classes; ++j) {
      CAPTURE(j);
      const T value = dx[static_cast<size_t>(j)];
      if (j % 2 == 1)
        CHECK(value == T(0));
      else
        CHECK(static_cast<double>(value) ==
              doctest::Approx(static_cast<double>(dkept[static_cast<size_t>(j / 2)])).epsilon(1e-5));
    }
    const int64_t masked = 1;
    cross_entropy<T>(x.data(), &masked, 1, classes, 0, &loss);
    CHECK(loss == infinity<T>);
    hinge<T>(x.data(), &label, 1, classes, 1, false, &loss);
    hinge<T>(kept.data(), &label_among_kept, 1, few, 1, false, &expected);
    CHECK(static_cast<double>(loss) == doctest::Approx(static_cast<double>(expected)).epsilon(1e-5));
    cross_entropy<T>(x.data(), &label, 1, classes, 0.1, &loss);  // smoothing asks for a masked class
    CHECK(loss == infinity<T>);
  }
}

TEST_CASE_TEMPLATE("NaN in a row reaches its loss and its gradient, and no other row's", T, float, double) {
  for (const Loss& loss : losses)
    for (int64_t classes : {2, 10, 33})
      for (int64_t place = 0; place < classes; ++place) {
        std::vector<T> x = normal<T>(2 * classes, 1);
        x[static_cast<size_t>(place)] = quiet_nan<T>;
        const std::vector<int64_t> y = {0, classes - 1};
        T out[2];
        const T one = 1;
        std::vector<T> dx(x.size());
        loss.forward<T>(x, y, classes, out);
        loss.backward<T>(x, y, classes, &one, 0, dx.data());
        CAPTURE(loss.name);
        CAPTURE(classes);
        CAPTURE(place);
        CHECK(std::isnan(out[0]));
        CHECK(std::isfinite(out[1]));
        CHECK(std::isnan(dx[static_cast<size_t>(place)]));
        for (int64_t j = classes; j < 2 * classes; ++j) CHECK(std::isfinite(dx[static_cast<size_t>(j)]));
      }
}

TEST_CASE("labels out of range are named, and nothing is written") {
  const double x[6] = {}, one = 1;
  const int64_t above[] = {0, 3}, below[] = {-1, 0}, least[] = {0, std::numeric_limits<int64_t>::min()};
  Guarded<double> out(6);
  CHECK_THROWS_WITH_AS(
      cross_entropy<double>(x, above, 2, 3, 0, out.data()),
      "softmax_cross_entropy: label 3 in row 1 is not one of the 3 classes: labels run from 0 to 2",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      hinge<double>(x, below, 2, 3, 1, false, out.data()),
      "multiclass_hinge: label -1 in row 0 is not one of the 3 classes: labels run from 0 to 2",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS(cross_entropy_gradient<double>(x, least, 2, 3, 0, &one, 0, out.data()),
                       doctest::Contains("softmax_cross_entropy: label -9223372036854775808 in row 1"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(hinge_gradient<double>(x, above, 2, 3, 1, true, &one, 0, out.data()),
                       doctest::Contains("multiclass_hinge: label 3 in row 1"), std::invalid_argument);
  for (int i = 0; i < 6; ++i) CHECK(out[i] == Guarded<double>::untouched);
  CHECK_NOTHROW(check_labels("test", nullptr, 0, 0));
  CHECK_THROWS_AS(check_labels("test", above, 1, 0), std::invalid_argument);
}
