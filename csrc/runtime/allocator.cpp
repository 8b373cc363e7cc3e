#include "runtime/allocator.h"

#include <pthread.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace chainrule {

namespace {

constexpr size_t alignment = 64;               // a cache line, and the widest vector
constexpr size_t huge_page = size_t{2} << 20;  // from here on, ask for huge pages: fewer TLB misses

// Size classes: four to each power of two, so at most a quarter of a block is unused. Class 0 holds 64 bytes.
constexpr int classes_per_octave = 4;
constexpr int class_count = 42 * classes_per_octave;  // up to 2^48 bytes

// Kept blocks are bounded: past this, given-back memory goes to the system.
constexpr int64_t most_kept = int64_t{1} << 30;

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
  AllocatorStatistics statistics{0, 0, 0};
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
  if (bytes > (size_t{1} << 47)) throw std::bad_alloc();
  int index = class_of(bytes);
  size_t size = class_bytes(index);
  Pool& p = pool();
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    auto& blocks = p.free_blocks[index];
    if (!blocks.empty()) {
      void* memory = blocks.back();  // last in, first out: the warmest in the cache
      blocks.pop_back();
      p.statistics.bytes_kept -= static_cast<int64_t>(size);
      p.statistics.bytes_in_use += static_cast<int64_t>(size);
      if (p.statistics.bytes_in_use > p.statistics.peak_in_use)
        p.statistics.peak_in_use = p.statistics.bytes_in_use;
      return memory;
    }
  }
  size_t boundary = size >= huge_page ? huge_page : alignment;
  void* memory = std::aligned_alloc(boundary, (size + boundary - 1) / boundary * boundary);
  if (memory == nullptr) {
    release_kept_memory();
    memory = std::aligned_alloc(boundary, (size + boundary - 1) / boundary * boundary);
    if (memory == nullptr) throw std::bad_alloc();
  }
#if defined(__linux__)
  if (size >= huge_page) madvise(memory, size, MADV_HUGEPAGE);  // advice: failure costs speed alone
#endif
  std::lock_guard<std::mutex> lock(p.mutex);
  p.statistics.bytes_in_use += static_cast<int64_t>(size);
  if (p.statistics.bytes_in_use > p.statistics.peak_in_use)
    p.statistics.peak_in_use = p.statistics.bytes_in_use;
  return memory;
}

void release(void* memory, size_t bytes) noexcept {
  if (memory == nullptr) return;
  int index = class_of(bytes);
  auto size = static_cast<int64_t>(class_bytes(index));
  Pool& p = pool();
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    p.statistics.bytes_in_use -= size;
    if (p.statistics.bytes_kept + size <= most_kept) {
      try {
        p.free_blocks[index].push_back(memory);
        p.statistics.bytes_kept += size;
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
  return p.statistics;
}

void reset_peak() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  p.statistics.peak_in_use = p.statistics.bytes_in_use;
}

void release_kept_memory() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  for (auto& blocks : p.free_blocks) {
    for (void* memory : blocks) std::free(memory);
    blocks.clear();
  }
  p.statistics.bytes_kept = 0;
}

}  // namespace chainrule
