#include "ops/optimise.h"

#include <algorithm>
#include <cmath>

#include "kernels/table.h"
#include "runtime/checked.h"
#include "runtime/threads.h"

namespace chainrule {

void check_sgd_settings(const SgdSettings& s) {
  auto require = [](bool holds, const char* name, double value, const char* range) {
    if (!holds)
      throw std::invalid_argument(std::string("SGD: ") + name + " = " + std::to_string(value) + ": give " +
                                  range);
  };
  require(std::isfinite(s.lr) && s.lr >= 0, "lr", s.lr, "a finite number of at least 0");
  require(s.momentum >= 0 && s.momentum < 1, "momentum", s.momentum, "a number from 0 to below 1");
  require(std::isfinite(s.weight_decay) && s.weight_decay >= 0, "weight_decay", s.weight_decay,
          "a finite number of at least 0");
  require(!s.nesterov || s.momentum > 0, "nesterov with momentum", s.momentum, "a momentum above 0");
}

template <class T>
void sgd_step(const std::vector<ParameterSlot<T>>& parameters, const SgdSettings& settings) {
  check_sgd_settings(settings);
  constexpr int64_t values_per_chunk = 1 << 15;
  struct Piece {
    size_t parameter;
    int64_t first;
  };
  std::vector<Piece> pieces;
  for (size_t p = 0; p < parameters.size(); ++p)
    for (int64_t first = 0; first < parameters[p].size; first += values_per_chunk)
      pieces.push_back({p, first});
  auto kernel = kernels<T>().optimise.sgd;
  auto run = [&](int64_t i) {
    const Piece piece = pieces[static_cast<size_t>(i)];
    const ParameterSlot<T>& slot = parameters[piece.parameter];
    kernel(slot.weight + piece.first, slot.gradient + piece.first,
           slot.velocity == nullptr ? nullptr : slot.velocity + piece.first,
           std::min(values_per_chunk, slot.size - piece.first), settings);
  };
  int64_t total = 0;
  for (const auto& slot : parameters) total += slot.size;
  const auto count = static_cast<int64_t>(pieces.size());
  if (total <= values_per_chunk)
    for (int64_t i = 0; i < count; ++i) run(i);
  else
    parallel_for(count, run);
}

template void sgd_step<float>(const std::vector<ParameterSlot<float>>&, const SgdSettings&);
template void sgd_step<double>(const std::vector<ParameterSlot<double>>&, const SgdSettings&);

}  // namespace chainrule
