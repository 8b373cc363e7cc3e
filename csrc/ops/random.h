// Random numbers by counter: the same for any number of threads, and again without being kept.
#pragma once

#include <array>
#include <cstdint>

namespace chainrule {

// The four words of one counter of Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2,
// 3, 2011); a key's low word comes first. The kernels draw whole blocks of them at once.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint64_t key);

// out[i] = x[i] / (1 - p) with probability 1 - p, else 0, decided by key and i alone: the same mask again in
// the backward pass. Its counters are (low, high, 0, 0). Throws std::invalid_argument unless 0 <= p <= 1; p =
// 1 gives zeros.
template <class T>
void dropout(const T* x, int64_t n, double p, uint64_t key, T* out);

}  // namespace chainrule
