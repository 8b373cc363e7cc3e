// One optimizer step over all parameters in one call.
//
// Parameters come in groups, each with its own settings. All settings are checked, and that no two parameters
// share memory, before any weight is touched.
#pragma once

#include <vector>

#include "kernels/optimise.h"

namespace chainrule {

// A parameter's weight, gradient and state, each of `size` values. State that the settings do not ask for is
// nullptr.
template <class T>
struct SgdParameter {
  T* weight;
  const T* gradient;
  T* velocity;  // where momentum is not 0
  int64_t size;
};

template <class T>
struct AdamParameter {
  T* weight;
  const T* gradient;
  T* average;
  T* square_average;
  T* largest;  // with amsgrad
  int64_t size;
  int64_t step;  // this step's number, from 1
};

template <class T>
struct RmspropParameter {
  T* weight;
  const T* gradient;
  T* square_average;
  T* average;  // where centered
  T* buffer;   // where momentum is not 0
  int64_t size;
};

template <class T>
struct AdagradParameter {
  T* weight;
  const T* gradient;
  T* sum;
  int64_t size;
  int64_t step;  // this step's number, from 1
};

template <class Settings, class Parameter>
struct OptimiserGroup {
  Settings settings;
  std::vector<Parameter> parameters;
};
template <class T>
using SgdGroup = OptimiserGroup<SgdSettings, SgdParameter<T>>;
template <class T>
using AdamGroup = OptimiserGroup<AdamSettings, AdamParameter<T>>;
template <class T>
using RmspropGroup = OptimiserGroup<RmspropSettings, RmspropParameter<T>>;
template <class T>
using AdagradGroup = OptimiserGroup<AdagradSettings, AdagradParameter<T>>;

// Throw std::invalid_argument when a setting is out of range.
void check_settings(const SgdSettings& settings);
void check_settings(const AdamSettings& settings);
void check_settings(const RmspropSettings& settings);
void check_settings(const AdagradSettings& settings);

template <class T>
void sgd_step(const std::vector<SgdGroup<T>>& groups);
template <class T>
void adam_step(const std::vector<AdamGroup<T>>& groups);
template <class T>
void rmsprop_step(const std::vector<RmspropGroup<T>>& groups);
template <class T>
void adagrad_step(const std::vector<AdagradGroup<T>>& groups);

}  // namespace chainrule
