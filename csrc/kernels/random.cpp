#include "kernels/random.h"

#include "kernels/table.h"
#include "simd/vec.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr int counters = random_block / 4;

// Words of counters first, first + 1, ...: word w of counter c at words[w * counters + c]. Each 32-bit word
// lies in a lane of 64, where the products have room; what is above it is never read.
void philox(uint64_t key, uint64_t first, uint32_t* words) {
  constexpr uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
  constexpr uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;
  typedef uint32_t Words __attribute__((vector_size(4 * wide_lanes)));
  for (int c = 0; c < counters; c += wide_lanes) {
    WideVec w0, w2 = {}, w3 = {};
    for (int i = 0; i < wide_lanes; ++i) w0[i] = first + static_cast<uint64_t>(c + i);
    WideVec w1 = w0 >> 32;
    auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round, key0 += weyl0, key1 += weyl1) {
      const WideVec a = widening_multiply(w0, multiplier0), b = widening_multiply(w2, multiplier1);
      w0 = (b >> 32) ^ w1 ^ key0;
      w2 = (a >> 32) ^ w3 ^ key1;
      w1 = b;
      w3 = a;
    }
    const WideVec all[4] = {w0, w1, w2, w3};
    for (int w = 0; w < 4; ++w) {
      const Words low = __builtin_convertvector(all[w], Words);
      std::memcpy(words + w * counters + c, &low, sizeof low);
    }
  }
}

template <class T>
void dropout(const T* x, int64_t n, uint64_t key, int64_t first, uint32_t threshold, T scale, T* out) {
  uint32_t words[random_block];
  for (int64_t i = 0; i < n; i += random_block) {
    philox(key, static_cast<uint64_t>((first + i) / 4), words);
    const int64_t count = n - i < random_block ? n - i : random_block;
    if (count == random_block) {  // a loop of known length, which becomes vectors
      for (int64_t j = 0; j < random_block; ++j) out[i + j] = words[j] >= threshold ? x[i + j] * scale : T(0);
    } else {
      for (int64_t j = 0; j < count; ++j) out[i + j] = words[j] >= threshold ? x[i + j] * scale : T(0);
    }
  }
}

}  // namespace

void fill_random(KernelTable& table) {
  table.float32.random = {dropout<float>};
  table.float64.random = {dropout<double>};
}

}  // namespace chainrule::CHAINRULE_ISA
