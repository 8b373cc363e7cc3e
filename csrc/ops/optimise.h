// One optimizer step over all parameters in one call.
#pragma once

#include <vector>

#include "kernels/optimise.h"

namespace chainrule {

template <class T>
struct ParameterSlot {
  T* weight;
  const T* gradient;
  T* velocity;  // nullptr when momentum is 0
  int64_t size;
};

// Throws std::invalid_argument when a setting is out of range.
void check_sgd_settings(const SgdSettings& settings);

template <class T>
void sgd_step(const std::vector<ParameterSlot<T>>& parameters, const SgdSettings& settings);

}  // namespace chainrule
