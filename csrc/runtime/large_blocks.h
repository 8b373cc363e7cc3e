// Blocks of a megabyte and more: ranges of addresses that are split and merged, so that what one size gave
// back serves any other. A training step frees values of some sizes while it asks for gradients of others;
// lists of free blocks by size held twice what was ever in use at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace chainrule {

// Not thread-safe: the allocator calls it under its lock.
class LargeBlocks {
 public:
  // Sizes are rounded up to this: a multiple of every system's page.
  static constexpr size_t granule = size_t{64} << 10;
  static size_t rounded(size_t bytes) { return (bytes + granule - 1) / granule * granule; }

  // Past `most_kept` bytes, what is given back goes to the system.
  explicit LargeBlocks(int64_t most_kept) : most_kept_(most_kept) {}
  LargeBlocks(const LargeBlocks&) = delete;
  LargeBlocks& operator=(const LargeBlocks&) = delete;

  // rounded(bytes) bytes on a boundary of `granule`, bytes > 0; nullptr when the system has no more. The
  // content is arbitrary. Throws std::bad_alloc when there is no room to remember what is free.
  void* take(size_t bytes);
  // Gives back what take(bytes) returned.
  void give(void* memory, size_t bytes) noexcept;

  // Bytes that were in use and are held for reuse.
  int64_t bytes_kept() const { return kept_; }
  // Returns all that is not in use to the system.
  void release_kept() noexcept;

 private:
  // What is free. Fresh ranges have no pages yet: the system gives zeroed ones at the first touch, which
  // costs as much as a kernel's pass over them. Neighbours of one kind are merged.
  struct Range {
    char* begin;
    size_t bytes;
    bool fresh;
    char* end() const { return begin + bytes; }
  };

  using Ranges = std::vector<Range>;

  // The first `bytes` of a range.
  void* cut(Ranges::iterator range, size_t bytes);
  // A whole kept range and the beginning of the fresh one behind it, where there is such a pair; else
  // nullptr.
  void* cut_across(size_t bytes);
  // Adds a fresh range of at least `bytes`; false when the system has none.
  bool map_more(size_t bytes);
  void insert(Range range) noexcept;

  Ranges free_;        // by address
  size_t in_use_ = 0;  // blocks, not bytes
  int64_t kept_ = 0;
  int64_t most_kept_;
};

}  // namespace chainrule
