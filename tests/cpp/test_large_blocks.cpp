// Large blocks of the allocator: ranges that are split and merged.
#include <algorithm>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "reference.h"
#include "runtime/allocator.h"
#include "runtime/large_blocks.h"
#include "runtime/poison.h"

using namespace chainrule;

namespace {

constexpr size_t megabyte = size_t{1} << 20;
constexpr int64_t no_bound = int64_t{1} << 40;

struct Block {
  char* memory;
  size_t bytes;
};

// Takes blocks and gives all back at the end.
struct Taker {
  explicit Taker(int64_t most_kept = no_bound) : blocks(most_kept) {}
  ~Taker() {
    while (!taken.empty()) give(0);
    blocks.release_kept();
  }
  char* take(size_t bytes) {
    auto* memory = static_cast<char*>(blocks.take(bytes));
    REQUIRE(memory != nullptr);
    unpoison(memory, bytes);
    taken.push_back({memory, bytes});
    return memory;
  }
  void give(size_t i) {
    blocks.give(taken[i].memory, taken[i].bytes);
    taken.erase(taken.begin() + static_cast<int64_t>(i));
  }
  int64_t kept() const { return blocks.bytes_kept() / static_cast<int64_t>(megabyte); }

  LargeBlocks blocks;
  std::vector<Block> taken;
};

}  // namespace

TEST_CASE("blocks that were given back one by one serve a larger one") {
  for (int order = 0; order < 6; ++order) {
    Taker t;
    char* first = t.take(2 * megabyte);
    t.take(3 * megabyte);
    t.take(4 * megabyte);
    t.take(megabyte);  // stays
    t.give(static_cast<size_t>(order % 3));
    t.give(static_cast<size_t>(order / 3));
    t.give(0);
    CHECK(t.kept() == 9);
    CHECK(t.take(9 * megabyte) == first);
    CHECK(t.kept() == 0);
  }
}

TEST_CASE("a block that was given back serves several smaller ones") {
  Taker t;
  char* first = t.take(8 * megabyte);
  t.take(megabyte);
  t.give(0);
  CHECK(t.take(3 * megabyte) == first);
  CHECK(t.take(2 * megabyte) == first + 3 * megabyte);
  CHECK(t.kept() == 3);
  CHECK(t.take(3 * megabyte) == first + 5 * megabyte);
  CHECK(t.kept() == 0);
}

TEST_CASE("of what is kept the smallest that fits is cut") {
  Taker t;
  for (size_t size : {9, 1, 4, 1, 6, 1}) t.take(size * megabyte);
  char* four = t.taken[2].memory;
  char* six = t.taken[4].memory;
  t.give(4);
  t.give(2);
  t.give(0);
  CHECK(t.kept() == 19);
  CHECK(t.take(5 * megabyte) == six);
  CHECK(t.take(4 * megabyte) == four);
}

TEST_CASE("where nothing kept is large enough, the kept range before untouched memory grows into it") {
  Taker t;
  char* first = t.take(5 * megabyte);
  t.give(0);
  CHECK(t.take(7 * megabyte) == first);
  CHECK(t.kept() == 0);
  t.give(0);
  CHECK(t.kept() == 7);
}

TEST_CASE("past the bound memory goes to the system, and comes back zeroed") {
  Taker t(4 * static_cast<int64_t>(megabyte));
  char* a = t.take(3 * megabyte);
  char* b = t.take(3 * megabyte);
  t.take(megabyte);
  std::memset(a, 1, 3 * megabyte);
  std::memset(b, 1, 3 * megabyte);
  t.give(0);
  CHECK(t.kept() == 3);
  t.give(0);
  CHECK(t.kept() == 3);
  CHECK(t.take(3 * megabyte) == a);
  CHECK(t.kept() == 0);
  CHECK(t.take(3 * megabyte) == b);
  CHECK(std::all_of(b, b + 3 * megabyte, [](char c) { return c == 0; }));
}

TEST_CASE("what is not in use is released, and what is in use stays") {
  Taker t;
  char* kept = t.take(2 * megabyte);
  std::memset(kept, 7, 2 * megabyte);
  t.take(5 * megabyte);
  t.give(1);
  CHECK(t.kept() == 5);
  t.blocks.release_kept();
  CHECK(t.kept() == 0);
  CHECK(std::all_of(kept, kept + 2 * megabyte, [](char c) { return c == 7; }));
  std::memset(t.take(5 * megabyte), 1, 5 * megabyte);
}

TEST_CASE("a size that no machine has gives nullptr, and the next size is served") {
  Taker t;
  CHECK(t.blocks.take(size_t{1} << 47) == nullptr);
  t.take(megabyte);
}

TEST_CASE("blocks of random sizes lie on their boundary, never overlap, and hold what was written") {
  Taker t(64 * static_cast<int64_t>(megabyte));
  std::mt19937 random(1);
  size_t in_use = 0, peak = 0;
  for (int round = 0; round < 3000; ++round) {
    if (t.taken.size() < 20 && random() % 2 == 0) {
      const size_t bytes = megabyte + random() % (8 * megabyte);
      char* memory = t.take(bytes);
      CHECK(reinterpret_cast<uintptr_t>(memory) % LargeBlocks::granule == 0);
      for (const Block& other : t.taken)
        if (other.memory != memory)
          CHECK((other.memory + LargeBlocks::rounded(other.bytes) <= memory ||
                 memory + LargeBlocks::rounded(bytes) <= other.memory));
      const char mark = static_cast<char>(bytes % 127);
      memory[0] = memory[bytes / 2] = memory[bytes - 1] = mark;
      in_use += LargeBlocks::rounded(bytes);
      peak = std::max(peak, in_use);
    } else if (!t.taken.empty()) {
      const size_t i = random() % t.taken.size();
      const Block block = t.taken[i];
      const char mark = static_cast<char>(block.bytes % 127);
      CHECK(block.memory[0] == mark);
      CHECK(block.memory[block.bytes / 2] == mark);
      CHECK(block.memory[block.bytes - 1] == mark);
      in_use -= LargeBlocks::rounded(block.bytes);
      t.give(i);
    }
    CHECK(t.blocks.bytes_kept() <= 64 * static_cast<int64_t>(megabyte));
  }
  while (!t.taken.empty()) t.give(0);
  CHECK(t.blocks.bytes_kept() <= static_cast<int64_t>(2 * peak));
}

TEST_CASE("a training step keeps little more than it has in use at most") {
  // The values of a convolutional net are kept forward and freed backward, while gradients of each size come
  // and go: what lists of blocks by size would hold twice.
  release_kept_memory();
  const AllocatorStatistics start = allocator_statistics();
  const std::vector<size_t> sizes = {25, 25, 6, 6, 12, 12, 3, 3, 2, 2, 50, 42, 25, 6};
  for (int step = 0; step < 3; ++step) {
    reset_peak();
    std::vector<std::pair<void*, size_t>> values;
    for (size_t size : sizes) values.emplace_back(allocate(size * megabyte), size * megabyte);
    std::pair<void*, size_t> upstream{allocate(megabyte), megabyte};
    while (!values.empty()) {
      const size_t bytes = values.back().second;
      const std::pair<void*, size_t> through{allocate(bytes), bytes};
      release(upstream.first, upstream.second);
      upstream = {allocate(bytes), bytes};
      release(through.first, bytes);
      release(values.back().first, bytes);
      values.pop_back();
    }
    release(upstream.first, upstream.second);
    const AllocatorStatistics now = allocator_statistics();
    CHECK(now.bytes_in_use == start.bytes_in_use);
    CHECK(static_cast<double>(now.bytes_kept) <= 1.25 * static_cast<double>(now.peak_in_use));
  }
  release_kept_memory();
}
