// Random numbers by counter: the number at place i depends on the key and i alone, whoever computes it.
//
// Philox 4x32-10 of Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011.
#pragma once

#include <cstdint>

namespace chainrule {

// A block of the stream: 16 counters give four words each.
constexpr int64_t random_block = 64;

template <class T>
struct RandomKernels {
  // out[i] = x[i] scale where the word at place first + i is at least `threshold`, else 0. `first` is a
  // multiple of random_block.
  void (*dropout)(const T* x, int64_t n, uint64_t key, int64_t first, uint32_t threshold, T scale, T* out);
};

}  // namespace chainrule
