// A recycling allocator: memory that was given back is handed out again without asking the system for fresh
// pages, whose first touch costs as much as a kernel's pass over them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace chainrule {

// At least `bytes` bytes on a 64-byte boundary; throws std::bad_alloc. Thread-safe. The content is arbitrary.
void* allocate(size_t bytes);

// Gives back what allocate(bytes) returned; `bytes` must be the same number. nullptr is allowed.
void release(void* memory, size_t bytes) noexcept;

struct AllocatorStatistics {
  int64_t bytes_in_use;  // handed out now
  int64_t bytes_kept;    // held for reuse
  int64_t peak_in_use;   // the most handed out at once since the last reset
};
AllocatorStatistics allocator_statistics();
void reset_peak();

// Returns everything held for reuse to the system.
void release_kept_memory();

// Scratch memory of one call for `count` values, given back at the end of the scope.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count) : bytes_(bytes_of(count)), data_(static_cast<T*>(allocate(bytes_))) {}
  ~Scratch() { release(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  static size_t bytes_of(int64_t count) {
    size_t bytes;
    if (count < 0 || __builtin_mul_overflow(static_cast<size_t>(count), sizeof(T), &bytes))
      throw std::bad_alloc();
    return bytes;
  }

  size_t bytes_;
  T* data_;
};

}  // namespace chainrule
