// Multiplications and additions on vector registers alone: the speed that no other kernel passes.
#pragma once

#include <cstdint>

namespace chainrule {

// Chains of a = a b + c that run at once: more than a processor needs to hide the latency of one (4 cycles on
// two units make 8), and few enough that all stay in registers.
constexpr int multiply_add_chains = 12;

template <class T>
struct PeakKernels {
  // Goes `steps` steps along each chain, in every lane: 2 * steps * multiply_add_chains * lanes operations,
  // where `lanes` is the number of T in a vector. Returns the sum of all lanes, near their number.
  T (*multiply_add)(int64_t steps);
  int lanes;
};

}  // namespace chainrule
