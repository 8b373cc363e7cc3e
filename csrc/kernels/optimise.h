// Optimizer updates of one range of one parameter. Each reads a gradient and changes the weight and the
// optimizer's state in one pass; what a method does not use is nullptr.
#pragma once

#include <cstdint>

namespace chainrule {

struct SgdSettings {
  double lr, momentum, weight_decay;
  bool nesterov;
  bool decoupled;  // weight decay shrinks the weight itself instead of joining the gradient
};

struct AdamSettings {
  double lr, beta1, beta2, eps, weight_decay;
  bool amsgrad;
  bool decoupled;  // AdamW: as above
};

// What averages that start at 0 lack after t steps: 1 - beta1^t and 1 - beta2^t.
struct AdamCorrection {
  double first, second;
};

struct RmspropSettings {
  double lr, alpha, eps, weight_decay, momentum;
  bool centered;
};

struct AdagradSettings {
  double lr, lr_decay, eps, weight_decay, initial_accumulator_value;
};

template <class T>
struct OptimiseKernels {
  // g += weight_decay w (classical);  v = momentum v + g;  step = nesterov ? g + momentum v : v;
  // w -= lr step (+ lr weight_decay w when decoupled). `velocity` is nullptr where momentum is 0.
  void (*sgd)(T* weight, const T* gradient, T* velocity, int64_t n, const SgdSettings& settings);

  // g += weight_decay w (Adam), or w -= lr weight_decay w (AdamW);  m = beta1 m + (1 - beta1) g;
  // v = beta2 v + (1 - beta2) g^2;  with amsgrad: v_max = max(v_max, v), which takes the place of v in
  // w -= lr (m / correction.first) / (sqrt(v / correction.second) + eps).
  void (*adam)(T* weight, const T* gradient, T* average, T* square_average, T* largest, int64_t n,
               const AdamSettings& settings, const AdamCorrection& correction);

  // g += weight_decay w;  s = alpha s + (1 - alpha) g^2;  centered: m = alpha m + (1 - alpha) g, and s - m^2
  // takes the place of s (0 where rounding takes it below);  step = g / (sqrt(s) + eps);
  // with momentum: b = momentum b + step, step = b;  w -= lr step.
  void (*rmsprop)(T* weight, const T* gradient, T* square_average, T* average, T* buffer, int64_t n,
                  const RmspropSettings& settings);

  // g += weight_decay w;  s += g^2;  w -= rate g / (sqrt(s) + eps).
  void (*adagrad)(T* weight, const T* gradient, T* sum, int64_t n, const AdagradSettings& settings,
                  double rate);
};

}  // namespace chainrule
