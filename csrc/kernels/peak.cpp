#include "kernels/peak.h"

#include "kernels/table.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

template <class T>
T multiply_add(int64_t steps) {
  Vec<T> chains[multiply_add_chains];
  for (int i = 0; i < multiply_add_chains; ++i) chains[i] = broadcast<T>(T(1) + T(i) / multiply_add_chains);
  // Each chain tends to 1, away from values whose arithmetic is slow.
  const Vec<T> factor = broadcast<T>(T(0.75)), term = broadcast<T>(T(0.25));
  for (int64_t step = 0; step < steps; ++step)
    for (int i = 0; i < multiply_add_chains; ++i) chains[i] = chains[i] * factor + term;
  Vec<T> sum = chains[0];
  for (int i = 1; i < multiply_add_chains; ++i) sum += chains[i];
  return sum_lanes<T>(sum);
}

}  // namespace

void fill_peak(KernelTable& table) {
  table.float32.peak = {multiply_add<float>, lanes<float>};
  table.float64.peak = {multiply_add<double>, lanes<double>};
}

}  // namespace chainrule::CHAINRULE_ISA
