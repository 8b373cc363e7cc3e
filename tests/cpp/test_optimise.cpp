// The SGD update against its formula, over several steps, sizes and settings.
#include <algorithm>

#include "ops/optimise.h"
#include "reference.h"

using namespace chainrule;
using namespace reference;

namespace {

const SgdSettings all_settings[] = {
    // lr, momentum, weight decay, nesterov, decoupled
    {0.1, 0, 0, false, false},   {0.1, 0, 0.01, false, false},   {0.1, 0, 0.01, false, true},
    {0.1, 0.9, 0, false, false}, {0.1, 0.9, 0.01, false, false}, {0.1, 0.9, 0.01, false, true},
    {0.1, 0.9, 0, true, false},  {0.1, 0.9, 0.01, true, false},  {0.1, 0.9, 0.01, true, true},
    {0, 0.5, 0.1, false, false}, {1, 0.999, 1, true, true},
};

std::string text(const SgdSettings& s) {
  std::ostringstream out;
  out << "lr " << s.lr << ", momentum " << s.momentum << ", weight decay " << s.weight_decay
      << (s.nesterov ? ", Nesterov" : "") << (s.decoupled ? ", decoupled" : "");
  return out.str();
}

// One step of the formula in long double: Sutskever et al. 2013 in PyTorch's form, decay as Loshchilov and
// Hutter.
void plain_step(long double& w, long double& v, long double g, const SgdSettings& s) {
  const long double decay = s.decoupled ? s.lr * s.weight_decay * w : 0;
  if (!s.decoupled) g += s.weight_decay * w;
  long double step = g;
  if (s.momentum != 0) {
    v = s.momentum * v + g;
    step = s.nesterov ? g + s.momentum * v : v;
  }
  w -= s.lr * step + decay;
}

}  // namespace

TEST_CASE_TEMPLATE("three steps follow the formula, whatever the sizes of the parameters", T, float, double) {
  const std::vector<std::vector<int64_t>> groups = {
      {},        {0}, {1}, {1, 2, 3, 5, 7, 11, 16, 17, 33}, {32767}, {32768}, {32769}, {100, 0, 40000, 10},
      {65537, 3}};
  for (const auto& sizes : groups)
    for (const SgdSettings& settings : all_settings) {
      std::vector<Guarded<T>> weights, gradients, velocities;
      std::vector<std::vector<long double>> w, v;
      std::vector<ParameterSlot<T>> slots;
      for (size_t p = 0; p < sizes.size(); ++p) {
        weights.emplace_back(normal<T>(sizes[p], p));
        gradients.emplace_back(normal<T>(sizes[p], p + 100));
        velocities.emplace_back(std::vector<T>(static_cast<size_t>(sizes[p]), T(0)));
        const std::vector<T> start = weights[p].values();
        w.emplace_back(start.begin(), start.end());
        v.emplace_back(w[p].size(), 0.0L);
      }
      for (size_t p = 0; p < sizes.size(); ++p)
        slots.push_back({weights[p].data(), gradients[p].data(),
                         settings.momentum == 0 ? nullptr : velocities[p].data(), sizes[p]});
      CAPTURE(text(settings));
      for (int step = 0; step < 3; ++step) {
        sgd_step<T>(slots, settings);
        for (size_t p = 0; p < sizes.size(); ++p)
          for (size_t i = 0; i < w[p].size(); ++i)
            plain_step(w[p][i], v[p][i], gradients[p][static_cast<int64_t>(i)], settings);
      }
      for (size_t p = 0; p < sizes.size(); ++p) {
        CAPTURE(sizes[p]);
        CHECK(weights[p].intact());
        CHECK(velocities[p].intact());
        CHECK(same_bits(gradients[p].values(), normal<T>(sizes[p], p + 100)));  // the gradient is read alone
        CHECK(difference(
                  weights[p].data(), sizes[p], [&](int64_t i) { return w[p][static_cast<size_t>(i)]; },
                  [](int64_t) { return 60 * epsilon<T>; }) ==
              "");  // values of a few units, 3 steps of 6 roundings
        CHECK(difference(
                  velocities[p].data(), sizes[p], [&](int64_t i) { return v[p][static_cast<size_t>(i)]; },
                  [](int64_t) { return 60 * epsilon<T>; }) == "");
      }
    }
}

TEST_CASE("one step by hand") {
  double w = 2, v = 1;
  const double g = 3;
  sgd_step<double>({{&w, &g, &v, 1}}, {0.5, 0.5, 0, false, false});
  CHECK(v == 3.5);  // 0.5 x 1 + 3
  CHECK(w == 2 - 0.5 * 3.5);
  w = 2, v = 1;
  sgd_step<double>({{&w, &g, &v, 1}}, {0.5, 0.5, 0, true, false});
  CHECK(w == 2 - 0.5 * (3 + 0.5 * 3.5));
  w = 2;
  sgd_step<double>({{&w, &g, nullptr, 1}}, {0.5, 0, 0.25, false, false});
  CHECK(w == 2 - 0.5 * (3 + 0.25 * 2));
  w = 2;
  sgd_step<double>({{&w, &g, nullptr, 1}}, {0.5, 0, 0.25, false, true});
  CHECK(w == 2 - 0.5 * 3 - 0.5 * 0.25 * 2);
}

TEST_CASE_TEMPLATE("NaN in a gradient stays in its own weight", T, float, double) {
  std::vector<T> w(37, T(1)), g(37, T(1));
  g[17] = quiet_nan<T>;
  sgd_step<T>({{w.data(), g.data(), nullptr, 37}}, {0.5, 0, 0, false, false});
  for (size_t i = 0; i < w.size(); ++i) CHECK((i == 17 ? std::isnan(w[i]) : w[i] == T(0.5)));
}

TEST_CASE("settings out of range are named, before any weight is touched") {
  const double not_a_number = quiet_nan<double>, inf = infinity<double>;
  const std::pair<SgdSettings, const char*> wrong[] = {
      {{-1, 0, 0, false, false}, "SGD: lr = -1.000000: give a finite number of at least 0"},
      {{not_a_number, 0, 0, false, false}, "SGD: lr = "},
      {{inf, 0, 0, false, false}, "SGD: lr = inf"},
      {{0.1, 1, 0, false, false}, "SGD: momentum = 1.000000: give a number from 0 to below 1"},
      {{0.1, -0.1, 0, false, false}, "SGD: momentum = "},
      {{0.1, not_a_number, 0, false, false}, "SGD: momentum = "},
      {{0.1, 0, -1, false, false}, "SGD: weight_decay = "},
      {{0.1, 0, not_a_number, false, true}, "SGD: weight_decay = "},
      {{0.1, 0, inf, false, true}, "SGD: weight_decay = inf"},
      {{0.1, 0, 0, true, false}, "SGD: nesterov with momentum = 0.000000: give a momentum above 0"},
  };
  double w = 2;
  const double g = 1;
  for (const auto& [settings, message] : wrong) {
    CAPTURE(message);
    CHECK_THROWS_WITH_AS(check_sgd_settings(settings), doctest::Contains(message), std::invalid_argument);
    CHECK_THROWS_AS(sgd_step<double>({{&w, &g, nullptr, 1}}, settings), std::invalid_argument);
    CHECK(w == 2);
  }
  for (const SgdSettings& settings : all_settings) CHECK_NOTHROW(check_sgd_settings(settings));
}
