// Dropout's generator against the published known answers of Philox 4x32-10, and what dropout makes of it.
#include <algorithm>
#include <array>

#include "kernels/table.h"
#include "ops/random.h"
#include "reference_conv2d.h"

using namespace chainrule;
using namespace reference;

namespace {

// Philox 4x32-10 word by word, as Salmon et al. give it, with any counter.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

// The word at a place of the stream: blocks of 16 counters, first the words 0 of all, then the words 1, ...
uint32_t word_at(uint64_t key, int64_t place) {
  const int64_t block = place / random_block, within = place % random_block;
  const auto counter = static_cast<uint64_t>(block * 16 + within % 16);
  return philox(
      {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0},
      {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)})[static_cast<size_t>(within / 16)];
}

// The words that a kernel compares with its threshold, found bit by bit from what passes.
template <class T>
std::vector<uint32_t> words_of_kernel(uint64_t key, int64_t first, int64_t n) {
  const std::vector<T> ones(static_cast<size_t>(n), T(1));
  std::vector<T> out(ones.size());
  std::vector<uint32_t> words(ones.size(), 0);
  for (size_t i = 0; i < words.size(); ++i)
    for (int bit = 31; bit >= 0; --bit) {
      const uint32_t candidate = words[i] | (uint32_t{1} << bit);
      const auto whole = static_cast<int64_t>(i / random_block) * random_block;
      const int64_t count = std::min<int64_t>(random_block, n - whole);
      kernels<T>().random.dropout(ones.data(), count, key, first + whole, candidate, T(1), out.data());
      if (out[i - static_cast<size_t>(whole)] == T(1)) words[i] = candidate;
    }
  return words;
}

}  // namespace

TEST_CASE("the reference gives the known answers of Random123") {
  using Words = std::array<uint32_t, 4>;
  const uint32_t all = 0xffffffffu;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({all, all, all, all}, {all, all}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE_TEMPLATE("the kernel's words are Philox's, whatever key and counter", T, float, double) {
  // The published answer for counter 0 and key 0, whose words lie 16 places apart.
  const std::vector<uint32_t> zero = words_of_kernel<T>(0, 0, random_block);
  CHECK(zero[0] == 0x6627e8d5);
  CHECK(zero[16] == 0xe169c58d);
  CHECK(zero[32] == 0xbc57ac4c);
  CHECK(zero[48] == 0x9b00dbd8);
  // Counters that need both words: places from 4 * 2^32 on.
  const int64_t high = int64_t{1} << 34;
  for (uint64_t key :
       {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32, ~uint64_t{0}, uint64_t{0x299f31d0a4093822}})
    for (int64_t first : {int64_t{0}, int64_t{64}, high - 64, high, 5 * high + 640})
      for (int64_t n : {1, 15, 64}) {
        const std::vector<uint32_t> words = words_of_kernel<T>(key, first, n);
        int64_t wrong = 0;
        for (int64_t i = 0; i < n; ++i) wrong += words[static_cast<size_t>(i)] != word_at(key, first + i);
        CAPTURE(key);
        CAPTURE(first);
        CAPTURE(n);
        CHECK(wrong == 0);
      }
}

TEST_CASE_TEMPLATE("dropout keeps by word and scales, at every length and probability", T, float, double) {
  // 256 blocks of 64 a chunk.
  for (int64_t n : {0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000, 16383, 16384, 16385, 50000})
    for (double p : {0.0, 0.1, 0.25, 0.5, 0.9, 1.0}) {
      const uint64_t key = 0x0123456789abcdef ^ static_cast<uint64_t>(n);
      const Unaligned<T> x(normal<T>(n, 1));
      Guarded<T> out(n);
      dropout<T>(x.data(), n, p, key, out.data());
      CAPTURE(n);
      CAPTURE(p);
      CHECK(out.intact());
      const T scale = static_cast<T>(1 / (1 - p));
      CHECK(difference(out.data(), n, [&](int64_t i) -> long double {
              return p < 1 && word_at(key, i) >= p * 4294967296.0 ? x.data()[i] * scale : T(0);
            }) == "");
    }
}

TEST_CASE_TEMPLATE("dropout at the ends of its range", T, float, double) {
  const std::vector<T> x = {1, -2, quiet_nan<T>, infinity<T>, -infinity<T>, 3};
  std::vector<T> out(6);
  dropout<T>(x.data(), 6, 0, 7, out.data());
  CHECK(same_bits(out, x));
  dropout<T>(x.data(), 6, 1, 7, out.data());
  CHECK(same_bits(out, std::vector<T>(6, T(0))));
  dropout<T>(x.data(), 6, std::nextafter(1.0, 0.0), 7, out.data());
  CHECK(out[0] == T(0));
  dropout<T>(x.data(), 6, 5e-324, 7, out.data());
  CHECK(out[0] == T(1));
  for (double p : {-0.1, 1.0000001, quiet_nan<double>, infinity<double>, -infinity<double>})
    CHECK_THROWS_WITH_AS(dropout<T>(x.data(), 6, p, 7, out.data()),
                         doctest::Contains("give a probability from 0 to 1"), std::invalid_argument);
  CHECK_THROWS_WITH_AS(dropout<T>(nullptr, 0, 1.5, 7, nullptr),
                       "dropout: p = 1.500000: give a probability from 0 to 1", std::invalid_argument);
}

TEST_CASE_TEMPLATE("dropout gives the same mask on 1, 2, 3 and 8 threads, and in float32 and float64", T,
                   float, double) {
  const int64_t n = 100001;
  const std::vector<T> ones(static_cast<size_t>(n), T(1));
  auto mask = [&](int threads) {
    const WithThreads scope(threads);
    std::vector<T> out(ones.size());
    dropout<T>(ones.data(), n, 0.5, 99, out.data());
    return out;
  };
  const std::vector<T> alone = mask(1);
  for (int threads : {2, 3, 8}) CHECK(same_bits(mask(threads), alone));
  const std::vector<float> wide(static_cast<size_t>(n), 1.0f);
  std::vector<float> other(wide.size());
  dropout<float>(wide.data(), n, 0.5, 99, other.data());
  CHECK(std::equal(alone.begin(), alone.end(), other.begin()));
  // Half of them, to five deviations of a fair coin.
  const auto kept = static_cast<double>(std::count(alone.begin(), alone.end(), T(2)));
  CHECK(std::fabs(kept - 0.5 * n) < 5 * 0.5 * std::sqrt(static_cast<double>(n)));
}
