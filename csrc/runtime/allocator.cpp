#include "runtime/allocator.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "runtime/large_blocks.h"
#include "runtime/poison.h"

namespace chainrule {

namespace {

constexpr size_t alignment = 64;           // a cache line, and the widest vector
constexpr size_t large = size_t{1} << 20;  // from here on, LargeBlocks

// Below, size classes: four to each power of two, so at most a quarter of a block is unused. Class 0 holds 64
// bytes.
constexpr int classes_per_octave = 4;
constexpr int class_count = 14 * classes_per_octave;  // up to 2^20 bytes

// Kept blocks are bounded: past this, given-back memory goes to the system.
constexpr int64_t most_kept_small = int64_t{1} << 28;

// Of large ones a step of training keeps what it had in use at most, so the bound is one of the machine.
int64_t most_kept_large() {
  const int64_t pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && bytes > 0 ? std::max(pages / 4 * bytes, int64_t{1} << 28) : int64_t{1} << 30;
}

int class_of(size_t bytes) {
  if (bytes <= alignment) return 0;
  int octave = 63 - __builtin_clzll(bytes - 1);  // 2^octave <= bytes - 1 < 2^(octave + 1)
  size_t quarter = size_t{1} << (octave - 2);
  int step = static_cast<int>((bytes - 1 - (size_t{1} << octave)) / quarter);
  return (octave - 6) * classes_per_octave + step + 1;
}

size_t class_bytes(int index) {
  if (index == 0) return alignment;
  int octave = (index - 1) / classes_per_octave + 6, step = (index - 1) % classes_per_octave;
  size_t bytes = (size_t{1} << octave) + static_cast<size_t>(step + 1) * (size_t{1} << (octave - 2));
  return (bytes + alignment - 1) / alignment * alignment;
}

struct Pool {
  std::mutex mutex;
  std::vector<void*> free_blocks[class_count + 1];
  int64_t small_kept = 0;
  LargeBlocks large_blocks{most_kept_large()};
  int64_t in_use = 0, peak = 0;

  void count(size_t bytes) {
    in_use += static_cast<int64_t>(bytes);
    if (in_use > peak) peak = in_use;
  }

  void release_kept() {
    for (int index = 0; index <= class_count; ++index) {
      for (void* memory : free_blocks[index]) {
        unpoison(memory, class_bytes(index));
        std::free(memory);
      }
      free_blocks[index].clear();
    }
    small_kept = 0;
    large_blocks.release_kept();
  }
};

// Never destroyed: arrays may be given back after static destructors have run.
Pool& pool() {
  static Pool* the_pool = [] {
    // A fork must not happen while another thread holds the lock, or the child could never take it.
    pthread_atfork([] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); }, [] { pool().mutex.unlock(); });
    return new Pool;
  }();
  return *the_pool;
}

}  // namespace

void* allocate(size_t bytes) {
  Pool& p = pool();
  void* memory = nullptr;
  if (bytes >= large) {
    if (bytes > (size_t{1} << 47)) throw std::bad_alloc();
    std::lock_guard<std::mutex> lock(p.mutex);
    memory = p.large_blocks.take(bytes);
    if (memory == nullptr) {
      p.release_kept();
      memory = p.large_blocks.take(bytes);
      if (memory == nullptr) throw std::bad_alloc();
    }
    p.count(LargeBlocks::rounded(bytes));
  } else {
    const int index = class_of(bytes);
    const size_t size = class_bytes(index);
    std::unique_lock<std::mutex> lock(p.mutex);
    auto& blocks = p.free_blocks[index];
    if (!blocks.empty()) {
      memory = blocks.back();  // last in, first out: the warmest in the cache
      blocks.pop_back();
      p.small_kept -= static_cast<int64_t>(size);
    } else {
      lock.unlock();
      memory = std::aligned_alloc(alignment, size);
      if (memory == nullptr) {
        release_kept_memory();
        memory = std::aligned_alloc(alignment, size);
        if (memory == nullptr) throw std::bad_alloc();
      }
      lock.lock();
    }
    p.count(size);
  }
  unpoison(memory, bytes);
  return memory;
}

void release(void* memory, size_t bytes) noexcept {
  if (memory == nullptr) return;
  Pool& p = pool();
  if (bytes >= large) {
    poison(memory, LargeBlocks::rounded(bytes));
    std::lock_guard<std::mutex> lock(p.mutex);
    p.in_use -= static_cast<int64_t>(LargeBlocks::rounded(bytes));
    p.large_blocks.give(memory, bytes);
    return;
  }
  const int index = class_of(bytes);
  const auto size = static_cast<int64_t>(class_bytes(index));
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    p.in_use -= size;
    if (p.small_kept + size <= most_kept_small) {
      try {
        p.free_blocks[index].push_back(memory);
        p.small_kept += size;
        poison(memory, static_cast<size_t>(size));
        return;
      } catch (const std::bad_alloc&) {
        // No room to remember the block: let the system have it.
      }
    }
  }
  std::free(memory);
}

AllocatorStatistics allocator_statistics() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  return {p.in_use, p.small_kept + p.large_blocks.bytes_kept(), p.peak};
}

void reset_peak() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  p.peak = p.in_use;
}

void release_kept_memory() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  p.release_kept();
}

}  // namespace chainrule
