// The optimizers' updates against their formulas, over several steps, sizes and settings.
#include <algorithm>

#include "ops/optimise.h"
#include "reference.h"
#include "runtime/threads.h"

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

template <class T>
void one_group(const std::vector<SgdParameter<T>>& parameters, const SgdSettings& settings) {
  sgd_step<T>({{settings, parameters}});
}

// Sizes of parameters: none, empty ones, around vectors' widths and around the size of a chunk.
const std::vector<std::vector<int64_t>> all_sizes = {
    {},        {0}, {1}, {1, 2, 3, 5, 7, 11, 16, 17, 33}, {32767}, {32768}, {32769}, {100, 0, 40000, 10},
    {65537, 3}};

}  // namespace

TEST_CASE_TEMPLATE("three SGD steps follow the formula, whatever the sizes of the parameters", T, float,
                   double) {
  for (const auto& sizes : all_sizes)
    for (const SgdSettings& settings : all_settings) {
      std::vector<Guarded<T>> weights, gradients, velocities;
      std::vector<std::vector<long double>> w, v;
      std::vector<SgdParameter<T>> slots;
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
        one_group<T>(slots, settings);
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

TEST_CASE("one SGD step by hand") {
  double w = 2, v = 1;
  const double g = 3;
  one_group<double>({{&w, &g, &v, 1}}, {0.5, 0.5, 0, false, false});
  CHECK(v == 3.5);  // 0.5 x 1 + 3
  CHECK(w == 2 - 0.5 * 3.5);
  w = 2, v = 1;
  one_group<double>({{&w, &g, &v, 1}}, {0.5, 0.5, 0, true, false});
  CHECK(w == 2 - 0.5 * (3 + 0.5 * 3.5));
  w = 2;
  one_group<double>({{&w, &g, nullptr, 1}}, {0.5, 0, 0.25, false, false});
  CHECK(w == 2 - 0.5 * (3 + 0.25 * 2));
  w = 2;
  one_group<double>({{&w, &g, nullptr, 1}}, {0.5, 0, 0.25, false, true});
  CHECK(w == 2 - 0.5 * 3 - 0.5 * 0.25 * 2);
}

TEST_CASE_TEMPLATE("NaN in a gradient stays in its own weight", T, float, double) {
  std::vector<T> w(37, T(1)), g(37, T(1));
  g[17] = quiet_nan<T>;
  one_group<T>({{w.data(), g.data(), nullptr, 37}}, {0.5, 0, 0, false, false});
  for (size_t i = 0; i < w.size(); ++i) CHECK((i == 17 ? std::isnan(w[i]) : w[i] == T(0.5)));
}

TEST_CASE("settings out of range are named, before any weight is touched") {
  const double not_a_number = quiet_nan<double>, inf = infinity<double>;
  const std::pair<SgdSettings, const char*> wrong[] = {
      {{-1, 0, 0, false, false}, "SGD: lr = -1: give a finite number of at least 0"},
      {{not_a_number, 0, 0, false, false}, "SGD: lr = "},
      {{inf, 0, 0, false, false}, "SGD: lr = inf"},
      {{0.1, 1, 0, false, false}, "SGD: momentum = 1: give a number from 0 to below 1"},
      {{0.1, -0.1, 0, false, false}, "SGD: momentum = "},
      {{0.1, not_a_number, 0, false, false}, "SGD: momentum = "},
      {{0.1, 0, -1, false, false}, "SGD: weight_decay = "},
      {{0.1, 0, not_a_number, false, true}, "SGD: weight_decay = "},
      {{0.1, 0, inf, false, true}, "SGD: weight_decay = inf"},
      {{0.1, 0, 0, true, false}, "SGD: nesterov with momentum = 0: give a momentum above 0"},
  };
  double w = 2;
  const double g = 1;
  for (const auto& [settings, message] : wrong) {
    CAPTURE(message);
    CHECK_THROWS_WITH_AS(check_settings(settings), doctest::Contains(message), std::invalid_argument);
    CHECK_THROWS_AS(one_group<double>({{&w, &g, nullptr, 1}}, settings), std::invalid_argument);
    CHECK(w == 2);
  }
  for (const SgdSettings& settings : all_settings) CHECK_NOTHROW(check_settings(settings));
}

// ---- Adam, RMSprop and Adagrad ----------------------------------------------------------------------------

namespace {

// What the tests need to know of an optimizer: its settings, how a parameter is described from its arrays,
// and its formula for one value. `state` holds three values, of which a method may use fewer.
struct Adam {
  using Settings = AdamSettings;
  template <class T>
  using Parameter = AdamParameter<T>;
  template <class T>
  static void step(const std::vector<AdamGroup<T>>& groups) {
    adam_step<T>(groups);
  }
  static std::vector<Settings> settings() {
    return {// lr, beta1, beta2, eps, weight decay, amsgrad, decoupled
            {0.001, 0.9, 0.999, 1e-8, 0, false, false}, {0.1, 0.9, 0.999, 1e-8, 0.01, false, false},
            {0.1, 0.9, 0.999, 1e-8, 0.01, false, true}, {0.1, 0.5, 0.7, 1e-3, 0, true, false},
            {0.1, 0, 0.5, 0.1, 0.1, true, true},        {0.1, 0, 0, 1e-8, 0, false, false},
            {0, 0.9, 0.999, 1e-8, 0.5, false, true}};
  }
  static std::string text(const Settings& s) {
    std::ostringstream out;
    out << "lr " << s.lr << ", betas " << s.beta1 << " " << s.beta2 << ", eps " << s.eps << ", weight decay "
        << s.weight_decay << (s.amsgrad ? ", amsgrad" : "") << (s.decoupled ? ", decoupled" : "");
    return out.str();
  }
  template <class T>
  static Parameter<T> parameter(T* w, const T* g, T* const* state, int64_t n, int64_t t, const Settings& s) {
    return {w, g, state[0], state[1], s.amsgrad ? state[2] : nullptr, n, t};
  }
  static void plain(long double& w, long double g, long double* state, int64_t t, const Settings& s) {
    if (s.decoupled)
      w -= s.lr * s.weight_decay * w;
    else
      g += s.weight_decay * w;
    state[0] = s.beta1 * state[0] + (1 - s.beta1) * g;
    state[1] = s.beta2 * state[1] + (1 - s.beta2) * g * g;
    if (s.amsgrad) state[2] = std::max(state[2], state[1]);
    const long double m = state[0] / (1 - std::pow(static_cast<long double>(s.beta1), t));
    const long double v =
        (s.amsgrad ? state[2] : state[1]) / (1 - std::pow(static_cast<long double>(s.beta2), t));
    w -= s.lr * m / (std::sqrt(v) + s.eps);
  }
};

struct Rmsprop {
  using Settings = RmspropSettings;
  template <class T>
  using Parameter = RmspropParameter<T>;
  template <class T>
  static void step(const std::vector<RmspropGroup<T>>& groups) {
    rmsprop_step<T>(groups);
  }
  static std::vector<Settings> settings() {
    return {// lr, alpha, eps, weight decay, momentum, centered
            {0.01, 0.99, 1e-8, 0, 0, false},  {0.1, 0.9, 1e-3, 0.01, 0, false},
            {0.1, 0.9, 1e-3, 0, 0.9, false},  {0.1, 0.9, 1e-3, 0, 0, true},
            {0.1, 0.5, 1e-2, 0.1, 0.5, true}, {0.1, 0, 1e-8, 0, 0, false}};
  }
  static std::string text(const Settings& s) {
    std::ostringstream out;
    out << "lr " << s.lr << ", alpha " << s.alpha << ", eps " << s.eps << ", weight decay " << s.weight_decay
        << ", momentum " << s.momentum << (s.centered ? ", centered" : "");
    return out.str();
  }
  template <class T>
  static Parameter<T> parameter(T* w, const T* g, T* const* state, int64_t n, int64_t, const Settings& s) {
    return {w, g, state[0], s.centered ? state[1] : nullptr, s.momentum == 0 ? nullptr : state[2], n};
  }
  static void plain(long double& w, long double g, long double* state, int64_t, const Settings& s) {
    g += s.weight_decay * w;
    state[0] = s.alpha * state[0] + (1 - s.alpha) * g * g;
    long double square = state[0];
    if (s.centered) {
      state[1] = s.alpha * state[1] + (1 - s.alpha) * g;
      square = std::max(0.0L, square - state[1] * state[1]);
    }
    long double change = g / (std::sqrt(square) + s.eps);
    if (s.momentum != 0) change = state[2] = s.momentum * state[2] + change;
    w -= s.lr * change;
  }
};

struct Adagrad {
  using Settings = AdagradSettings;
  template <class T>
  using Parameter = AdagradParameter<T>;
  template <class T>
  static void step(const std::vector<AdagradGroup<T>>& groups) {
    adagrad_step<T>(groups);
  }
  static std::vector<Settings> settings() {
    return {// lr, lr decay, eps, weight decay, initial value
            {0.01, 0, 1e-10, 0, 0},
            {0.1, 0.5, 1e-3, 0, 0},
            {0.1, 0, 1e-3, 0.1, 0},
            {1, 1, 0.1, 1, 0}};
  }
  static std::string text(const Settings& s) {
    std::ostringstream out;
    out << "lr " << s.lr << ", lr decay " << s.lr_decay << ", eps " << s.eps << ", weight decay "
        << s.weight_decay;
    return out.str();
  }
  template <class T>
  static Parameter<T> parameter(T* w, const T* g, T* const* state, int64_t n, int64_t t, const Settings&) {
    return {w, g, state[0], n, t};
  }
  static void plain(long double& w, long double g, long double* state, int64_t t, const Settings& s) {
    g += s.weight_decay * w;
    state[0] += g * g;
    w -= s.lr / (1 + static_cast<long double>(t - 1) * s.lr_decay) * g / (std::sqrt(state[0]) + s.eps);
  }
};

// Parameters of some sizes with all that belongs to them, each array between guards.
template <class Optimizer, class T>
struct Model {
  std::vector<Guarded<T>> weights, gradients;
  std::vector<std::vector<Guarded<T>>> states;

  explicit Model(const std::vector<int64_t>& sizes) {
    for (size_t p = 0; p < sizes.size(); ++p) {
      weights.emplace_back(normal<T>(sizes[p], p));
      gradients.emplace_back(normal<T>(sizes[p], p + 100));
      states.emplace_back();
      for (int k = 0; k < 3; ++k) states[p].emplace_back(std::vector<T>(static_cast<size_t>(sizes[p]), T(0)));
    }
  }
  typename Optimizer::template Parameter<T> parameter(size_t p, int64_t t,
                                                      const typename Optimizer::Settings& settings) {
    T* const state[] = {states[p][0].data(), states[p][1].data(), states[p][2].data()};
    return Optimizer::template parameter<T>(weights[p].data(), gradients[p].data(), state, weights[p].size(),
                                            t, settings);
  }
  OptimiserGroup<typename Optimizer::Settings, typename Optimizer::template Parameter<T>> group(
      int64_t t, const typename Optimizer::Settings& settings) {
    OptimiserGroup<typename Optimizer::Settings, typename Optimizer::template Parameter<T>> result{settings,
                                                                                                   {}};
    for (size_t p = 0; p < weights.size(); ++p) result.parameters.push_back(parameter(p, t, settings));
    return result;
  }
  std::vector<T> all() const {
    std::vector<T> values;
    auto add = [&](const Guarded<T>& array) {
      const std::vector<T> own = array.values();
      values.insert(values.end(), own.begin(), own.end());
    };
    for (size_t p = 0; p < weights.size(); ++p) {
      add(weights[p]);
      for (const auto& state : states[p]) add(state);
    }
    return values;
  }
};

template <class Optimizer, class T>
void check_formula() {
  for (const auto& sizes : all_sizes)
    for (const auto& settings : Optimizer::settings()) {
      CAPTURE(Optimizer::text(settings));
      Model<Optimizer, T> model(sizes);
      std::vector<std::vector<long double>> w(sizes.size());
      std::vector<std::vector<std::vector<long double>>> state(sizes.size());
      for (size_t p = 0; p < sizes.size(); ++p) {
        const std::vector<T> start = model.weights[p].values();
        w[p].assign(start.begin(), start.end());
        state[p].assign(w[p].size(), std::vector<long double>(3, 0.0L));
      }
      for (int64_t t = 1; t <= 3; ++t) {
        // The last parameter joins at the second step: its count is its own.
        auto group = model.group(t, settings);
        const bool late = sizes.size() > 1 && t == 1;
        if (sizes.size() > 1 && t > 1)
          group.parameters.back() = model.parameter(sizes.size() - 1, t - 1, settings);
        if (late) group.parameters.pop_back();
        Optimizer::template step<T>({group});
        for (size_t p = 0; p < sizes.size(); ++p) {
          if (late && p + 1 == sizes.size()) continue;
          const int64_t own = sizes.size() > 1 && p + 1 == sizes.size() ? t - 1 : t;
          for (size_t i = 0; i < w[p].size(); ++i)
            Optimizer::plain(w[p][i], model.gradients[p][static_cast<int64_t>(i)], state[p][i].data(), own,
                             settings);
        }
      }
      for (size_t p = 0; p < sizes.size(); ++p) {
        CAPTURE(sizes[p]);
        CHECK(model.weights[p].intact());
        CHECK(same_bits(model.gradients[p].values(), normal<T>(sizes[p], p + 100)));  // it is read alone
        // Values of a few units; a step is lr times some units, and beta and 1 - beta are rounded apart.
        CHECK(difference(
                  model.weights[p].data(), sizes[p], [&](int64_t i) { return w[p][static_cast<size_t>(i)]; },
                  [](int64_t) { return 100 * epsilon<T>; }) == "");
        for (size_t k = 0; k < 3; ++k) {
          CHECK(model.states[p][k].intact());
          CHECK(difference(
                    model.states[p][k].data(), sizes[p],
                    [&](int64_t i) { return state[p][static_cast<size_t>(i)][k]; },
                    [&](int64_t i) {
                      return 100 * epsilon<T> * (1 + std::fabs(state[p][static_cast<size_t>(i)][k]));
                    }) == "");
        }
      }
    }
}

// The bits after three steps of two groups with settings of their own.
template <class Optimizer, class T>
std::vector<T> bits_with_threads(int threads) {
  set_num_threads(threads);
  const auto settings = Optimizer::settings();
  Model<Optimizer, T> first({100000, 7, 0, 32769}), second({65536, 1, 70000});
  for (int64_t t = 1; t <= 3; ++t)
    Optimizer::template step<T>({first.group(t, settings[1]), second.group(t, settings[2])});
  std::vector<T> values = first.all();
  const std::vector<T> more = second.all();
  values.insert(values.end(), more.begin(), more.end());
  return values;
}

// Two groups in one call give the bits of a call for each.
template <class Optimizer, class T>
void check_groups() {
  const auto settings = Optimizer::settings();
  Model<Optimizer, T> first({40000, 3}), second({5, 100}), first_alone({40000, 3}), second_alone({5, 100});
  for (int64_t t = 1; t <= 2; ++t) {
    Optimizer::template step<T>({first.group(t, settings[0]), second.group(t, settings[2])});
    Optimizer::template step<T>({first_alone.group(t, settings[0])});
    Optimizer::template step<T>({second_alone.group(t, settings[2])});
  }
  CHECK(same_bits(first.all(), first_alone.all()));
  CHECK(same_bits(second.all(), second_alone.all()));
}

}  // namespace

TEST_CASE_TEMPLATE("three steps follow the formula of Adam, of RMSprop and of Adagrad", T, float, double) {
  check_formula<Adam, T>();
  check_formula<Rmsprop, T>();
  check_formula<Adagrad, T>();
}

TEST_CASE_TEMPLATE("adaptive steps have the same bits for any number of threads", T, float, double) {
  const int before = num_threads();
  auto check = [](auto bits) {
    const auto one = bits(1);
    for (int threads : {2, 3, 8}) CHECK(same_bits(bits(threads), one));
  };
  check(bits_with_threads<Adam, T>);
  check(bits_with_threads<Rmsprop, T>);
  check(bits_with_threads<Adagrad, T>);
  set_num_threads(before);
}

TEST_CASE_TEMPLATE("two groups in one call are two calls", T, float, double) {
  check_groups<Adam, T>();
  check_groups<Rmsprop, T>();
  check_groups<Adagrad, T>();
}

TEST_CASE("one adaptive step by hand") {
  double w = 2, m = 0, v = 0, largest = 0;
  const double g = 3;
  // The first step is lr whatever the gradient: m / (1 - beta1) = g, v / (1 - beta2) = g^2.
  adam_step<double>({{{0.5, 0.5, 0.75, 0, 0, false, false}, {{&w, &g, &m, &v, nullptr, 1, 1}}}});
  CHECK(w == 1.5);
  CHECK(m == 1.5);
  CHECK(v == 2.25);
  w = 2, m = v = 0;
  adam_step<double>({{{0.5, 0.5, 0.75, 0, 0.5, true, true}, {{&w, &g, &m, &v, &largest, 1, 1}}}});
  CHECK(w == 1);  // 2 - 0.5 x 0.5 x 2 - 0.5
  CHECK(largest == 2.25);
  w = 2, m = v = 0, largest = 9;
  adam_step<double>({{{0.5, 0.5, 0.75, 0, 0, true, false}, {{&w, &g, &m, &v, &largest, 1, 1}}}});
  CHECK(w == 1.75);  // sqrt(9 / 0.25) = 6 divides 3
  CHECK(largest == 9);
  w = 2, v = 0;
  rmsprop_step<double>({{{0.5, 0.75, 0.5, 0, 0, false}, {{&w, &g, &v, nullptr, nullptr, 1}}}});
  CHECK(v == 2.25);
  CHECK(w == 1.25);  // 2 - 0.5 x 3 / (1.5 + 0.5)
  w = 2, v = 7;
  adagrad_step<double>({{{1, 0.5, 2, 0, 0}, {{&w, &g, &v, 1, 3}}}});
  CHECK(v == 16);
  CHECK(w == 1.75);  // 1 / (1 + 2 x 0.5) x 3 / (4 + 2)
}

TEST_CASE_TEMPLATE("a constant gradient has variance 0, never below, in centered RMSprop", T, float, double) {
  std::vector<T> w(40, T(0)), g = normal<T>(40, 5), s(40, T(0)), m(40, T(0));
  for (int step = 0; step < 3000; ++step)
    rmsprop_step<T>(
        {{{1e-6, 0.9, 1e-3, 0, 0, true}, {{w.data(), g.data(), s.data(), m.data(), nullptr, 40}}}});
  for (T value : w) CHECK(std::isfinite(value));
}

TEST_CASE_TEMPLATE("NaN in a gradient stays in its own weight in adaptive steps", T, float, double) {
  auto check = [](auto step) {
    std::vector<T> w(37, T(1)), g(37, T(1)), a(37, T(0)), b(37, T(0)), c(37, T(0));
    g[17] = quiet_nan<T>;
    step(w.data(), g.data(), a.data(), b.data(), c.data());
    for (size_t i = 0; i < w.size(); ++i) CHECK((i == 17 ? std::isnan(w[i]) : std::isfinite(w[i])));
  };
  check([](T* w, T* g, T* a, T* b, T* c) {
    adam_step<T>({{{0.1, 0.9, 0.99, 1e-8, 0, true, false}, {{w, g, a, b, c, 37, 1}}}});
    CHECK(std::isnan(c[17]));
  });
  check([](T* w, T* g, T* a, T* b, T* c) {
    rmsprop_step<T>({{{0.1, 0.9, 1e-8, 0, 0.9, true}, {{w, g, a, b, c, 37}}}});
  });
  check([](T* w, T* g, T* a, T*, T*) { adagrad_step<T>({{{0.1, 0, 1e-8, 0, 0}, {{w, g, a, 37, 1}}}}); });
}

TEST_CASE("settings of adaptive steps out of range are named, in any group, before any weight is touched") {
  double w = 2, state = 1;
  const double g = 1, nan = quiet_nan<double>, inf = infinity<double>;
  auto check = [&](auto step, const std::string& message) {
    CAPTURE(message);
    CHECK_THROWS_WITH_AS(step(), doctest::Contains(message.c_str()), std::invalid_argument);
    CHECK(w == 2);
    CHECK(state == 1);
  };
  const std::string least = ": give a finite number of at least 0",
                    below = ": give a number from 0 to below 1";
  const std::pair<AdamSettings, std::string> adam[] = {
      {{-1, 0.9, 0.9, 1e-8, 0, false, false}, "Adam: lr = -1" + least},
      {{nan, 0.9, 0.9, 1e-8, 0, false, true}, "AdamW: lr = nan" + least},
      {{0.1, 1, 0.9, 1e-8, 0, false, false}, "Adam: betas[0] = 1" + below},
      {{0.1, 0.9, -0.1, 1e-8, 0, false, false}, "Adam: betas[1] = -0.1" + below},
      {{0.1, 0.9, nan, 1e-8, 0, false, false}, "Adam: betas[1] = nan" + below},
      {{0.1, 0.9, 0.9, -1e-8, 0, false, false}, "Adam: eps = -1e-08" + least},
      {{0.1, 0.9, 0.9, 1e-8, inf, false, true}, "AdamW: weight_decay = inf" + least},
  };
  const AdamSettings good = Adam::settings()[0];
  for (const auto& [settings, message] : adam)
    check([&,
           s = settings] { adam_step<double>({{good, {{&w, &g, &state, &state, nullptr, 1, 1}}}, {s, {}}}); },
          message);
  const std::pair<RmspropSettings, std::string> rmsprop[] = {
      {{inf, 0.9, 1e-8, 0, 0, false}, "RMSprop: lr = inf" + least},
      {{0.1, 1, 1e-8, 0, 0, false}, "RMSprop: alpha = 1" + below},
      {{0.1, 0.9, nan, 0, 0, false}, "RMSprop: eps = nan" + least},
      {{0.1, 0.9, 1e-8, -2, 0, false}, "RMSprop: weight_decay = -2" + least},
      {{0.1, 0.9, 1e-8, 0, 1, false}, "RMSprop: momentum = 1" + below},
  };
  for (const auto& [settings, message] : rmsprop)
    check(
        [&, s = settings] {
          rmsprop_step<double>({{Rmsprop::settings()[0], {{&w, &g, &state, nullptr, nullptr, 1}}}, {s, {}}});
        },
        message);
  const std::pair<AdagradSettings, std::string> adagrad[] = {
      {{-0.5, 0, 1e-8, 0, 0}, "Adagrad: lr = -0.5" + least},
      {{0.1, -1, 1e-8, 0, 0}, "Adagrad: lr_decay = -1" + least},
      {{0.1, 0, -1, 0, 0}, "Adagrad: eps = -1" + least},
      {{0.1, 0, 1e-8, nan, 0}, "Adagrad: weight_decay = nan" + least},
      {{0.1, 0, 1e-8, 0, -1}, "Adagrad: initial_accumulator_value = -1" + least},
  };
  for (const auto& [settings, message] : adagrad)
    check(
        [&, s = settings] {
          adagrad_step<double>({{Adagrad::settings()[0], {{&w, &g, &state, 1, 1}}}, {s, {}}});
        },
        message);
  check([&] { adam_step<double>({{good, {{&w, &g, &state, &state, nullptr, 1, 0}}}}); },
        "Adam: step 0: steps count from 1");
  check([&] { adagrad_step<double>({{Adagrad::settings()[0], {{&w, &g, &state, 1, -3}}}}); },
        "Adagrad: step -3: steps count from 1");
}

TEST_CASE("parameters that share memory are refused; neighbours and empty ones are not") {
  std::vector<double> w(10, 1.0), g(10, 1.0), s(10, 0.0);
  auto parameter = [&](int64_t first, int64_t n) {
    return AdagradParameter<double>{w.data() + first, g.data(), s.data() + first, n, 1};
  };
  const AdagradSettings settings = Adagrad::settings()[0];
  CHECK_THROWS_WITH_AS(adagrad_step<double>({{settings, {parameter(5, 5)}}, {settings, {parameter(0, 6)}}}),
                       doctest::Contains("Adagrad: parameters 0 and 1 that have a gradient share memory"),
                       std::invalid_argument);
  CHECK_THROWS_AS(adagrad_step<double>({{settings, {parameter(2, 3), parameter(2, 3)}}}),
                  std::invalid_argument);
  CHECK(w == std::vector<double>(10, 1.0));
  CHECK_NOTHROW(adagrad_step<double>({{settings, {parameter(5, 5), parameter(0, 5), parameter(3, 0)}}}));
}
