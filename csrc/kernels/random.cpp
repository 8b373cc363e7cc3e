#include "kernels/random.h"

#include "kernels/table.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

constexpr int counters = random_block / 4;

// Words of counters first, first + 1, ...: word w of counter c at words[w * counters + c].
void philox(uint64_t key, uint64_t first, uint32_t* words) {
  constexpr uint32_t multiplier0 = 0xD2511F53u, multiplier1 = 0xCD9E8D57u;
  constexpr uint32_t weyl0 = 0x9E3779B9u, weyl1 = 0xBB67AE85u;
  uint32_t w0[counters], w1[counters], w2[counters], w3[counters];
  for (int c = 0; c < counters; ++c) {
    const uint64_t counter = first + static_cast<uint64_t>(c);
    w0[c] = static_cast<uint32_t>(counter);
    w1[c] = static_cast<uint32_t>(counter >> 32);
    w2[c] = w3[c] = 0;
  }
  auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round, key0 += weyl0, key1 += weyl1)
    for (int c = 0; c < counters; ++c) {
      const uint64_t a = static_cast<uint64_t>(w0[c]) * multiplier0,
                     b = static_cast<uint64_t>(w2[c]) * multiplier1;
      const uint32_t next0 = static_cast<uint32_t>(b >> 32) ^ w1[c] ^ key0;
      const uint32_t next2 = static_cast<uint32_t>(a >> 32) ^ w3[c] ^ key1;
      w1[c] = static_cast<uint32_t>(b);
      w3[c] = static_cast<uint32_t>(a);
      w0[c] = next0;
      w2[c] = next2;
    }
  for (int c = 0; c < counters; ++c) {
    words[c] = w0[c];
    words[counters + c] = w1[c];
    words[2 * counters + c] = w2[c];
    words[3 * counters + c] = w3[c];
  }
}

template <class T>
void dropout(const T* x, int64_t n, uint64_t key, int64_t first, uint32_t threshold, T scale, T* out) {
  uint32_t words[random_block];
  for (int64_t i = 0; i < n; i += random_block) {
    philox(key, static_cast<uint64_t>((first + i) / 4), words);
    const int64_t count = n - i < random_block ? n - i : random_block;
    for (int64_t j = 0; j < count; ++j) out[i + j] = words[j] >= threshold ? x[i + j] * scale : T(0);
  }
}

}  // namespace

void fill_random(KernelTable& table) {
  table.float32.random = {dropout<float>};
  table.float64.random = {dropout<double>};
}

}  // namespace chainrule::CHAINRULE_ISA
