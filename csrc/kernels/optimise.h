// Optimizer updates of one range of one parameter.
#pragma once

#include <cstdint>

namespace chainrule {

struct SgdSettings {
  double lr, momentum, weight_decay;
  bool nesterov;
  bool decoupled;  // weight decay shrinks the weight itself instead of joining the gradient
};

template <class T>
struct OptimiseKernels {
  // g += weight_decay w (classical);  v = momentum v + g;  step = nesterov ? g + momentum v : v;
  // w -= lr step (+ lr weight_decay w when decoupled). `velocity` is nullptr where momentum is 0.
  void (*sgd)(T* weight, const T* gradient, T* velocity, int64_t n, const SgdSettings& settings);
};

}  // namespace chainrule
