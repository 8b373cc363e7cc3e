// Dropout with a generator that counts: the same mask for any number of threads, and again in the backward
// pass without being kept.
#pragma once

#include <cstdint>

namespace chainrule {

// out[i] = x[i] / (1 - p) with probability 1 - p, else 0, decided by key and i alone. Throws
// std::invalid_argument unless 0 <= p <= 1; p = 1 gives zeros.
template <class T>
void dropout(const T* x, int64_t n, double p, uint64_t key, T* out);

}  // namespace chainrule
