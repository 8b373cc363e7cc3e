#include "kernels/optimise.h"

#include "kernels/softmax_row.h"
#include "kernels/table.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

template <class T>
void sgd(T* weight, const T* gradient, T* velocity, int64_t n, const SgdSettings& settings) {
  const T lr = static_cast<T>(settings.lr), momentum = static_cast<T>(settings.momentum);
  const T into_gradient = settings.decoupled ? T(0) : static_cast<T>(settings.weight_decay);
  const T kept = settings.decoupled ? static_cast<T>(1 - settings.lr * settings.weight_decay) : T(1);
  for_vectors<T>(n, [&](int64_t i, auto get, auto put) {
    Vec<T> w = get(weight + i), step = get(gradient + i) + into_gradient * w;
    if (velocity != nullptr) {
      Vec<T> v = momentum * get(velocity + i) + step;
      put(velocity + i, v);
      step = settings.nesterov ? step + momentum * v : v;
    }
    put(weight + i, kept * w - lr * step);
  });
}

}  // namespace

void fill_optimise(KernelTable& table) {
  table.float32.optimise = {sgd<float>};
  table.float64.optimise = {sgd<double>};
}

}  // namespace chainrule::CHAINRULE_ISA
