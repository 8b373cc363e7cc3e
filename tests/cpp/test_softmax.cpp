// Softmax, log-softmax and log-sum-exp along the middle axis, and their gradients.
#include <algorithm>

#include "ops/softmax.h"
#include "reference.h"

using namespace chainrule;
using namespace reference;

namespace {

constexpr SoftmaxOutput outputs[] = {SoftmaxOutput::softmax, SoftmaxOutput::log_softmax,
                                     SoftmaxOutput::logsumexp};
const char* const output_names[] = {"softmax", "log_softmax", "logsumexp"};

std::vector<ReduceShape> shapes() {
  std::vector<ReduceShape> all;
  for (int64_t outer : {0, 1, 2, 5})
    for (int64_t n : {1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 31, 33, 64, 100, 257})
      for (int64_t inner : {0, 1, 2, 3, 7, 15, 16, 17, 33, 255, 256, 257, 300})
        if (outer * n * inner <= 12000) all.push_back({outer, n, inner});
  for (const ReduceShape& s :
       {ReduceShape{256, 10, 1}, {1000, 3, 1}, {3, 5003, 1}, {1, 1001, 33}, {40, 10, 40}, {1, 40001, 1}})
    all.push_back(s);
  return all;
}

std::string text(const ReduceShape& s) { return shape_text({s.outer, s.n, s.inner}); }

// The outputs in long double, in the layout of the kernel's; the same conventions at the edges.
struct Exact {
  std::vector<long double> value, top;  // top: the largest score, for error bounds
};

template <class T>
Exact exact(SoftmaxOutput output, const std::vector<T>& x, const ReduceShape& s) {
  Exact result;
  result.value.resize(
      static_cast<size_t>(output == SoftmaxOutput::logsumexp ? s.outer * s.inner : s.outer * s.n * s.inner));
  result.top.resize(static_cast<size_t>(s.outer * s.inner));
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.inner; ++i) {
      auto score = [&](int64_t k) -> long double {
        return x[static_cast<size_t>((o * s.n + k) * s.inner + i)];
      };
      long double top = -infinity<long double>, sum = 0;
      bool undefined = false;
      for (int64_t k = 0; k < s.n; ++k) {
        top = std::max(top, score(k));
        undefined |= std::isnan(score(k)) || score(k) == infinity<long double>;
      }
      const bool masked = top == -infinity<long double>;
      for (int64_t k = 0; k < s.n; ++k) sum += masked ? 0 : std::exp(score(k) - top);
      const long double lse = undefined ? quiet_nan<long double> : masked ? top : top + std::log(sum);
      result.top[static_cast<size_t>(o * s.inner + i)] = masked || undefined ? 0 : top;
      if (output == SoftmaxOutput::logsumexp) {
        result.value[static_cast<size_t>(o * s.inner + i)] = lse;
        continue;
      }
      for (int64_t k = 0; k < s.n; ++k) {
        long double value;
        if (output == SoftmaxOutput::softmax)
          value = undefined ? lse : masked ? 0 : std::exp(score(k) - top) / sum;
        else
          value = undefined ? lse : masked ? top : score(k) - lse;
        result.value[static_cast<size_t>((o * s.n + k) * s.inner + i)] = value;
      }
    }
  return result;
}

template <class T>
std::string check_forward(SoftmaxOutput output, const std::vector<T>& x, const ReduceShape& s) {
  const Exact expected = exact(output, x, s);
  Guarded<T> out(static_cast<int64_t>(expected.value.size()));
  softmax_forward<T>(output, x.data(), s, out.data());
  if (!out.intact()) return "wrote outside of its result";
  const long double length = static_cast<long double>(s.n + 12);
  return difference(
      out.data(), out.size(), [&](int64_t i) { return expected.value[static_cast<size_t>(i)]; },
      [&](int64_t i) -> long double {
        if (output == SoftmaxOutput::logsumexp)
          return epsilon<T> * (length / 2 + std::fabs(expected.value[static_cast<size_t>(i)]) +
                               std::fabs(expected.top[static_cast<size_t>(i)]));
        const int64_t reduced = i / (s.n * s.inner) * s.inner + i % s.inner;
        const long double score = x[static_cast<size_t>(i)], top = expected.top[static_cast<size_t>(reduced)];
        const long double value = expected.value[static_cast<size_t>(i)];
        if (output == SoftmaxOutput::softmax)  // the rounding of score - top is an error of the exponential
          return epsilon<T> * value * (length + std::fabs(score - top)) +
                 2 * std::numeric_limits<T>::denorm_min();
        return epsilon<T> * (length / 2 + 2 * std::fabs(top) + std::fabs(score));
      });
}

template <class T>
void check_all(const std::vector<T>& x, const ReduceShape& s) {
  for (SoftmaxOutput output : outputs) {
    CAPTURE(output_names[static_cast<int>(output)]);
    CAPTURE(text(s));
    CHECK(check_forward(output, x, s) == "");
  }
}

template <class T>
std::vector<T> backward(SoftmaxOutput output, const std::vector<T>& x, const std::vector<T>& g,
                        const ReduceShape& s) {
  std::vector<T> y(x.size());
  softmax_forward<T>(output, x.data(), s, y.data());
  Guarded<T> out(static_cast<int64_t>(x.size()));
  softmax_backward<T>(output, y.data(), g.data(), s, out.data());
  CHECK(out.intact());
  return out.values();
}

}  // namespace

TEST_CASE_TEMPLATE("probabilities, their logarithms and the log-sum-exp of every shape", T, float, double) {
  for (const ReduceShape& s : shapes()) {
    check_all(normal<T>(s.outer * s.n * s.inner, 1, 3), s);
    check_all(small_integers<T>(s.outer * s.n * s.inner, 2), s);
  }
}

TEST_CASE_TEMPLATE("scores of 1e4 neither overflow nor vanish", T, float, double) {
  for (const ReduceShape& s : {ReduceShape{3, 10, 1}, {2, 37, 1}, {2, 10, 5}, {1, 20, 300}}) {
    check_all(normal<T>(s.outer * s.n * s.inner, 5, 1e4), s);
    std::vector<T> x = normal<T>(s.outer * s.n * s.inner, 6);
    for (T& value : x) value += T(1e4);
    check_all(x, s);
    for (T& value : x) value -= T(2e4);
    check_all(x, s);
  }
}

TEST_CASE("the scores 123, 456, 789 have the probabilities 0, 0, 1") {  // issue 3, worked cases
  const double x[] = {123, 456, 789};
  double p[3];
  softmax_forward<double>(SoftmaxOutput::softmax, x, {1, 3, 1}, p);
  CHECK(p[0] == doctest::Approx(0));
  CHECK(p[1] == doctest::Approx(0));
  CHECK(p[2] == 1);
}

TEST_CASE_TEMPLATE("softmax sums to 1 along its axis alone", T, float, double) {
  const std::vector<T> x = normal<T>(24, 3);
  for (const ReduceShape& s : {ReduceShape{1, 2, 12}, {2, 3, 4}, {6, 4, 1}}) {
    T p[24];
    softmax_forward<T>(SoftmaxOutput::softmax, x.data(), s, p);
    for (int64_t o = 0; o < s.outer; ++o)
      for (int64_t i = 0; i < s.inner; ++i) {
        T sum = 0;
        for (int64_t k = 0; k < s.n; ++k) sum += p[(o * s.n + k) * s.inner + i];
        CHECK(static_cast<double>(sum) == doctest::Approx(1).epsilon(1e-6));
      }
  }
}

TEST_CASE_TEMPLATE("masked scores have probability 0; where all are masked nothing is NaN", T, float,
                   double) {
  std::mt19937_64 random(3);
  for (const ReduceShape& s : shapes()) {
    if (s.outer * s.n * s.inner > 6000) continue;
    std::vector<T> x = normal<T>(s.outer * s.n * s.inner, 2);
    for (T& value : x)
      if (random() % 2 == 0) value = -infinity<T>;
    check_all(x, s);
    std::fill(x.begin(), x.end(), -infinity<T>);
    check_all(x, s);
  }
}

TEST_CASE_TEMPLATE("a score of NaN or +inf gives NaN, in its own row alone", T, float, double) {
  for (const ReduceShape& s : {ReduceShape{3, 5, 1},
                               {3, 16, 1},
                               {2, 37, 1},
                               {2, 5, 3},
                               {1, 8, 17},
                               {2, 3, 257},
                               {3, 1, 1},
                               {1, 1, 4}})
    for (T special : {quiet_nan<T>, infinity<T>})
      for (int64_t k = 0; k < s.n; ++k) {
        std::vector<T> x = normal<T>(s.outer * s.n * s.inner, 9);
        x[static_cast<size_t>(k * s.inner)] = special;
        check_all(x, s);
        if (s.n > 1) {
          x[static_cast<size_t>((k == 0 ? 1 : 0) * s.inner)] = -infinity<T>;
          check_all(x, s);
        }
      }
}

TEST_CASE_TEMPLATE("an axis of size 0 has the log-sum-exp -inf", T, float, double) {
  Guarded<T> out(6);
  softmax_forward<T>(SoftmaxOutput::logsumexp, nullptr, {2, 0, 3}, out.data());
  CHECK(out.intact());
  for (int i = 0; i < 6; ++i) CHECK(out[i] == -infinity<T>);
  softmax_forward<T>(SoftmaxOutput::softmax, nullptr, {2, 0, 3}, out.data());
  softmax_backward<T>(SoftmaxOutput::softmax, nullptr, nullptr, {2, 0, 3}, out.data());
  CHECK(out[0] == -infinity<T>);
}

// ---- Gradients --------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("gradients follow y (g - sum g y) and g - exp(y) sum g", T, float, double) {
  for (const ReduceShape& s : shapes()) {
    const std::vector<T> x = normal<T>(s.outer * s.n * s.inner, 1), g = normal<T>(s.outer * s.n * s.inner, 2);
    for (SoftmaxOutput output : {SoftmaxOutput::softmax, SoftmaxOutput::log_softmax}) {
      std::vector<T> y(x.size());
      softmax_forward<T>(output, x.data(), s, y.data());
      const std::vector<T> dx = backward(output, x, g, s);
      std::vector<long double> sum(static_cast<size_t>(s.outer * s.inner)), size(sum.size());
      auto reduced = [&](int64_t i) {
        return static_cast<size_t>(i / (s.n * s.inner) * s.inner + i % s.inner);
      };
      for (size_t i = 0; i < x.size(); ++i) {
        long double term = output == SoftmaxOutput::softmax ? static_cast<long double>(g[i]) * y[i] : g[i];
        sum[reduced(static_cast<int64_t>(i))] += term;
        size[reduced(static_cast<int64_t>(i))] += std::fabs(term);
      }
      const long double length = static_cast<long double>(s.n + 8);
      CAPTURE(output_names[static_cast<int>(output)]);
      CAPTURE(text(s));
      CHECK(difference(
                dx.data(), static_cast<int64_t>(dx.size()),
                [&](int64_t i) -> long double {
                  const long double gradient = g[static_cast<size_t>(i)], value = y[static_cast<size_t>(i)];
                  if (output == SoftmaxOutput::softmax) return value * (gradient - sum[reduced(i)]);
                  return gradient - std::exp(value) * sum[reduced(i)];
                },
                [&](int64_t i) -> long double {
                  const long double gradient = std::fabs(g[static_cast<size_t>(i)]),
                                    value = y[static_cast<size_t>(i)];
                  const long double weight = output == SoftmaxOutput::softmax ? value : std::exp(value);
                  return epsilon<T> * (gradient + length * weight * size[reduced(i)]);
                }) == "");
    }
  }
}

TEST_CASE("gradients agree with finite differences") {
  for (const ReduceShape& s : {ReduceShape{2, 5, 1}, {1, 17, 1}, {2, 4, 3}, {1, 1, 2}})
    for (SoftmaxOutput output : {SoftmaxOutput::softmax, SoftmaxOutput::log_softmax}) {
      const int64_t n = s.outer * s.n * s.inner;
      const std::vector<double> x = normal<double>(n, 1), g = normal<double>(n, 2);
      auto loss = [&](const std::vector<double>& at) {
        std::vector<double> y(at.size());
        softmax_forward<double>(output, at.data(), s, y.data());
        double sum = 0;
        for (size_t i = 0; i < y.size(); ++i) sum += y[i] * g[i];
        return sum;
      };
      const std::vector<double> dx = backward(output, x, g, s);
      for (size_t i = 0; i < x.size(); ++i) {
        const double h = 1e-5;
        std::vector<double> above = x, below = x;
        above[i] += h;
        below[i] -= h;
        CAPTURE(text(s));
        CAPTURE(i);
        CHECK(std::fabs(dx[i] - (loss(above) - loss(below)) / (2 * h)) < 1e-8);
      }
    }
}

TEST_CASE_TEMPLATE("masked scores send no gradient through softmax", T, float, double) {
  for (const ReduceShape& s : {ReduceShape{2, 5, 1}, {1, 37, 1}, {2, 5, 3}, {1, 6, 20}}) {
    std::vector<T> x = normal<T>(s.outer * s.n * s.inner, 1);
    const std::vector<T> g = normal<T>(s.outer * s.n * s.inner, 2);
    for (size_t i = 0; i < x.size(); i += 2) x[i] = -infinity<T>;
    std::vector<T> dx = backward(SoftmaxOutput::softmax, x, g, s);
    CAPTURE(text(s));
    for (size_t i = 0; i < x.size(); ++i) CHECK((i % 2 == 0 ? dx[i] == T(0) : std::isfinite(dx[i])));
    std::fill(x.begin(), x.end(), -infinity<T>);  // all masked: no gradient at all, and no NaN
    dx = backward(SoftmaxOutput::softmax, x, g, s);
    for (T value : dx) CHECK(value == T(0));
  }
}

TEST_CASE_TEMPLATE("masked scores send no gradient through log-softmax", T, float, double) {
  // kernels/softmax.h and gates/softmax.py: "get probability 0 and send no gradient".
  for (const ReduceShape& s : {ReduceShape{1, 5, 1}, {1, 5, 3}}) {
    std::vector<T> x = normal<T>(s.outer * s.n * s.inner, 1);
    const std::vector<T> g(x.size(), T(1));
    for (int64_t i = 0; i < s.inner; ++i) x[static_cast<size_t>(i)] = -infinity<T>;  // the first of each axis
    const std::vector<T> dx = backward(SoftmaxOutput::log_softmax, x, g, s);
    CAPTURE(text(s));
    for (int64_t i = 0; i < s.inner; ++i) CHECK(dx[static_cast<size_t>(i)] == T(0));
  }
}
