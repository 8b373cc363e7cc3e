#include "ops/random.h"

#include <algorithm>
#include <cmath>

#include "kernels/table.h"
#include "runtime/checked.h"
#include "runtime/threads.h"

namespace chainrule {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint64_t key) {
  auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(a)};
  }
  return counter;
}

template <class T>
void dropout(const T* x, int64_t n, double p, uint64_t key, T* out) {
  if (!(p >= 0 && p <= 1))
    throw std::invalid_argument("dropout: p = " + std::to_string(p) + ": give a probability from 0 to 1");
  if (p == 1) {
    std::fill(out, out + n, T(0));
    return;
  }
  const auto threshold = static_cast<uint32_t>(std::min(std::ldexp(p, 32), 4294967295.0));
  const T scale = static_cast<T>(1 / (1 - p));
  constexpr int64_t blocks_per_chunk = 256;
  const int64_t per_chunk = blocks_per_chunk * random_block, chunks = (n + per_chunk - 1) / per_chunk;
  const auto kernel = kernels<T>().random.dropout;
  parallel_for(chunks, [&](int64_t chunk) {
    const int64_t first = chunk * per_chunk;
    kernel(x + first, std::min(per_chunk, n - first), key, first, threshold, scale, out + first);
  });
}

template void dropout<float>(const float*, int64_t, double, uint64_t, float*);
template void dropout<double>(const double*, int64_t, double, uint64_t, double*);

}  // namespace chainrule
