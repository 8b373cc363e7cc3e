#include "runtime/large_blocks.h"

#include <sys/mman.h>

#include <algorithm>

#include "runtime/poison.h"

namespace chainrule {

namespace {

// Asked of the system at a time. What is not touched costs nothing.
constexpr size_t mapped_at_once = size_t{256} << 20;
constexpr size_t huge_page = size_t{2} << 20;

}  // namespace

void* LargeBlocks::take(size_t bytes) {
  bytes = rounded(bytes);
  // Room for what blocks in use may leave behind, so that giving back never fails.
  const size_t most_ranges = free_.size() + in_use_ + 4;
  if (free_.capacity() < most_ranges) free_.reserve(2 * most_ranges);
  for (bool mapped = false;; mapped = true) {
    // The smallest kept range that holds it; else one that does with some of the fresh range behind it; else
    // a fresh one.
    auto best = free_.end(), best_fresh = free_.end();
    for (auto range = free_.begin(); range != free_.end(); ++range) {
      auto& found = range->fresh ? best_fresh : best;
      if (range->bytes >= bytes && (found == free_.end() || range->bytes < found->bytes)) found = range;
    }
    if (best != free_.end()) return cut(best, bytes);
    if (void* memory = cut_across(bytes)) return memory;
    if (best_fresh != free_.end()) return cut(best_fresh, bytes);
    if (mapped || !map_more(bytes)) return nullptr;
  }
}

void* LargeBlocks::cut(Ranges::iterator range, size_t bytes) {
  char* memory = range->begin;
  if (!range->fresh) kept_ -= static_cast<int64_t>(bytes);
  range->begin += bytes;
  range->bytes -= bytes;
  if (range->bytes == 0) free_.erase(range);
  ++in_use_;
  return memory;
}

void* LargeBlocks::cut_across(size_t bytes) {
  auto best = free_.end();
  for (auto range = free_.begin(); range != free_.end() && range + 1 != free_.end(); ++range) {
    const auto behind = range + 1;
    if (range->fresh || !behind->fresh || behind->begin != range->end()) continue;
    if (range->bytes + behind->bytes >= bytes && (best == free_.end() || range->bytes > best->bytes))
      best = range;
  }
  if (best == free_.end()) return nullptr;
  char* memory = best->begin;
  const auto behind = best + 1;
  const size_t more = bytes - best->bytes;
  kept_ -= static_cast<int64_t>(best->bytes);
  behind->begin += more;
  behind->bytes -= more;
  free_.erase(best, behind->bytes == 0 ? behind + 1 : behind);
  ++in_use_;
  return memory;
}

bool LargeBlocks::map_more(size_t bytes) {
  const int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
  for (size_t size : {std::max(bytes, mapped_at_once), bytes}) {
    void* memory = mmap(nullptr, size + huge_page, protection, flags, -1, 0);
    if (memory == MAP_FAILED) continue;
    // Begin on a huge page; give the rest back.
    auto* begin = static_cast<char*>(memory);
    const size_t before = (huge_page - reinterpret_cast<uintptr_t>(begin) % huge_page) % huge_page;
    if (before > 0) munmap(begin, before);
    if (before < huge_page) munmap(begin + before + size, huge_page - before);
#if defined(MADV_HUGEPAGE)
    madvise(begin + before, size, MADV_HUGEPAGE);  // advice: failure costs speed alone
#endif
    poison(begin + before, size);
    insert({begin + before, size, true});
    return true;
  }
  return false;
}

void LargeBlocks::give(void* memory, size_t bytes) noexcept {
  bytes = rounded(bytes);
  --in_use_;
  const bool keep = kept_ + static_cast<int64_t>(bytes) <= most_kept_;
  if (keep)
    kept_ += static_cast<int64_t>(bytes);
  else
    madvise(memory, bytes, MADV_DONTNEED);
  insert({static_cast<char*>(memory), bytes, !keep});
}

void LargeBlocks::insert(Range range) noexcept {
  auto after = std::lower_bound(free_.begin(), free_.end(), range.begin,
                                [](const Range& r, const char* begin) { return r.begin < begin; });
  const bool joins_after = after != free_.end() && after->fresh == range.fresh && after->begin == range.end();
  const bool joins_before =
      after != free_.begin() && (after - 1)->fresh == range.fresh && (after - 1)->end() == range.begin;
  if (joins_before && joins_after) {
    (after - 1)->bytes += range.bytes + after->bytes;
    free_.erase(after);
  } else if (joins_before) {
    (after - 1)->bytes += range.bytes;
  } else if (joins_after) {
    after->begin = range.begin;
    after->bytes += range.bytes;
  } else {
    free_.insert(after, range);
  }
}

void LargeBlocks::release_kept() noexcept {
  for (const Range& range : free_) {
    unpoison(range.begin, range.bytes);
    munmap(range.begin, range.bytes);
  }
  free_.clear();
  kept_ = 0;
}

}  // namespace chainrule
