#include "ops/optimise.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/table.h"
#include "runtime/threads.h"

namespace chainrule {

namespace {

// Checks settings one after the other and names the first that is out of range.
class Checker {
 public:
  explicit Checker(const char* optimizer) : optimizer_(optimizer) {}
  void require(bool holds, const char* name, double value, const char* range) const {
    if (holds) return;
    std::ostringstream number;  // enough digits to see a 1e-8 or 0.99999
    number.precision(10);
    number << value;
    throw std::invalid_argument(std::string(optimizer_) + ": " + name + " = " + number.str() + ": give " +
                                range);
  }
  void at_least_0(const char* name, double value) const {
    require(std::isfinite(value) && value >= 0, name, value, "a finite number of at least 0");
  }
  void below_1(const char* name, double value) const {
    require(value >= 0 && value < 1, name, value, "a number from 0 to below 1");
  }

 private:
  const char* optimizer_;
};

constexpr const char* name_of(const SgdSettings&) { return "SGD"; }
constexpr const char* name_of(const AdamSettings& s) { return s.decoupled ? "AdamW" : "Adam"; }
constexpr const char* name_of(const RmspropSettings&) { return "RMSprop"; }
constexpr const char* name_of(const AdagradSettings&) { return "Adagrad"; }

// Threads write different parameters at a time, so no memory may belong to two.
template <class Group>
void check_apart(const std::vector<Group>& groups) {
  using T = std::remove_pointer_t<decltype(groups[0].parameters[0].weight)>;
  struct Extent {
    const T *first, *end;
    size_t parameter;
  };
  std::vector<Extent> extents;
  size_t index = 0;
  for (const auto& group : groups)
    for (const auto& p : group.parameters) {
      if (p.size > 0) extents.push_back({p.weight, p.weight + p.size, index});
      ++index;
    }
  const std::less<const T*> before;
  std::sort(extents.begin(), extents.end(),
            [&](const Extent& a, const Extent& b) { return before(a.first, b.first); });
  for (size_t i = 1; i < extents.size(); ++i)
    if (before(extents[i].first, extents[i - 1].end)) {
      const auto [low, high] = std::minmax(extents[i - 1].parameter, extents[i].parameter);
      throw std::invalid_argument(std::string(name_of(groups[0].settings)) + ": parameters " +
                                  std::to_string(low) + " and " + std::to_string(high) +
                                  " that have a gradient share memory: copy one");
    }
}

// Checks all, then calls update(settings, parameter, first, count) for ranges that cover every parameter. The
// ranges depend on the sizes alone.
template <class Group, class Update>
void step(const std::vector<Group>& groups, const Update& update) {
  for (const Group& group : groups) check_settings(group.settings);
  check_apart(groups);
  constexpr int64_t values_per_chunk = 1 << 15;
  struct Piece {
    size_t group, parameter;
    int64_t first;
  };
  std::vector<Piece> pieces;
  int64_t total = 0;
  for (size_t g = 0; g < groups.size(); ++g)
    for (size_t p = 0; p < groups[g].parameters.size(); ++p) {
      const int64_t size = groups[g].parameters[p].size;
      total += size;
      for (int64_t first = 0; first < size; first += values_per_chunk) pieces.push_back({g, p, first});
    }
  auto run = [&](int64_t i) {
    const Piece& piece = pieces[static_cast<size_t>(i)];
    const Group& group = groups[piece.group];
    const auto& parameter = group.parameters[piece.parameter];
    update(group.settings, parameter, piece.first, std::min(values_per_chunk, parameter.size - piece.first));
  };
  const auto count = static_cast<int64_t>(pieces.size());
  if (total <= values_per_chunk)
    for (int64_t i = 0; i < count; ++i) run(i);
  else
    parallel_for(count, run);
}

template <class Group>
void check_step_numbers(const std::vector<Group>& groups) {
  for (const Group& group : groups)
    for (const auto& p : group.parameters)
      if (p.step < 1)
        throw std::invalid_argument(std::string(name_of(group.settings)) + ": step " +
                                    std::to_string(p.step) + ": steps count from 1");
}

template <class T>
T* at(T* state, int64_t first) {
  return state == nullptr ? nullptr : state + first;
}

}  // namespace

void check_settings(const SgdSettings& s) {
  const Checker check(name_of(s));
  check.at_least_0("lr", s.lr);
  check.below_1("momentum", s.momentum);
  check.at_least_0("weight_decay", s.weight_decay);
  check.require(!s.nesterov || s.momentum > 0, "nesterov with momentum", s.momentum, "a momentum above 0");
}

void check_settings(const AdamSettings& s) {
  const Checker check(name_of(s));
  check.at_least_0("lr", s.lr);
  check.below_1("betas[0]", s.beta1);
  check.below_1("betas[1]", s.beta2);
  check.at_least_0("eps", s.eps);
  check.at_least_0("weight_decay", s.weight_decay);
}

void check_settings(const RmspropSettings& s) {
  const Checker check(name_of(s));
  check.at_least_0("lr", s.lr);
  check.below_1("alpha", s.alpha);
  check.at_least_0("eps", s.eps);
  check.at_least_0("weight_decay", s.weight_decay);
  check.below_1("momentum", s.momentum);
}

void check_settings(const AdagradSettings& s) {
  const Checker check(name_of(s));
  check.at_least_0("lr", s.lr);
  check.at_least_0("lr_decay", s.lr_decay);
  check.at_least_0("eps", s.eps);
  check.at_least_0("weight_decay", s.weight_decay);
  check.at_least_0("initial_accumulator_value", s.initial_accumulator_value);
}

template <class T>
void sgd_step(const std::vector<SgdGroup<T>>& groups) {
  step(groups, [kernel = kernels<T>().optimise.sgd](const SgdSettings& settings, const SgdParameter<T>& p,
                                                    int64_t first, int64_t n) {
    kernel(p.weight + first, p.gradient + first, at(p.velocity, first), n, settings);
  });
}

template <class T>
void adam_step(const std::vector<AdamGroup<T>>& groups) {
  check_step_numbers(groups);
  step(groups, [kernel = kernels<T>().optimise.adam](const AdamSettings& settings, const AdamParameter<T>& p,
                                                     int64_t first, int64_t n) {
    const auto t = static_cast<double>(p.step);
    const AdamCorrection correction{1 - std::pow(settings.beta1, t), 1 - std::pow(settings.beta2, t)};
    kernel(p.weight + first, p.gradient + first, p.average + first, p.square_average + first,
           at(p.largest, first), n, settings, correction);
  });
}

template <class T>
void rmsprop_step(const std::vector<RmspropGroup<T>>& groups) {
  step(groups, [kernel = kernels<T>().optimise.rmsprop](
                   const RmspropSettings& settings, const RmspropParameter<T>& p, int64_t first, int64_t n) {
    kernel(p.weight + first, p.gradient + first, p.square_average + first, at(p.average, first),
           at(p.buffer, first), n, settings);
  });
}

template <class T>
void adagrad_step(const std::vector<AdagradGroup<T>>& groups) {
  check_step_numbers(groups);
  step(groups, [kernel = kernels<T>().optimise.adagrad](
                   const AdagradSettings& settings, const AdagradParameter<T>& p, int64_t first, int64_t n) {
    const double rate = settings.lr / (1 + static_cast<double>(p.step - 1) * settings.lr_decay);
    kernel(p.weight + first, p.gradient + first, p.sum + first, n, settings, rate);
  });
}

template void sgd_step<float>(const std::vector<SgdGroup<float>>&);
template void sgd_step<double>(const std::vector<SgdGroup<double>>&);
template void adam_step<float>(const std::vector<AdamGroup<float>>&);
template void adam_step<double>(const std::vector<AdamGroup<double>>&);
template void rmsprop_step<float>(const std::vector<RmspropGroup<float>>&);
template void rmsprop_step<double>(const std::vector<RmspropGroup<double>>&);
template void adagrad_step<float>(const std::vector<AdagradGroup<float>>&);
template void adagrad_step<double>(const std::vector<AdagradGroup<double>>&);

}  // namespace chainrule
