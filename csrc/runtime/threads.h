// The one place that knows OpenMP: a loop over numbered chunks of work, handed out dynamically.
//
// A chunk's work and the order of its sums must depend on its number alone, never on the thread that runs it:
// that is what makes results the same to the bit for any number of threads.
#pragma once

#include <cstdint>

namespace chainrule {

// Threads that parallel loops use. At start: OMP_NUM_THREADS if it is set, else the processors that the
// affinity mask and the cgroup's processor quota leave to this process.
int num_threads();

// Throws std::invalid_argument unless 1 <= n <= 1024.
void set_num_threads(int n);

namespace detail {
using ChunkFunction = void (*)(const void* context, int64_t chunk);
void run_chunks(int64_t chunks, ChunkFunction function, const void* context);
}  // namespace detail

// Calls body(chunk) for chunk = 0 .. chunks-1. One chunk, one thread, or a process forked after threads were
// started: all on the caller's thread. An exception of the body (memory that ran out) reaches the caller,
// with some chunks not done.
template <class Body>
void parallel_for(int64_t chunks, const Body& body) {
  detail::run_chunks(
      chunks, [](const void* context, int64_t chunk) { (*static_cast<const Body*>(context))(chunk); }, &body);
}

// The number of chunks for `items` of `work` each (in units of about one flop), so that a chunk is worth the
// few microseconds that handing it out may cost, and small enough that a thread that is held up costs little.
// Depends on the sizes alone.
inline int64_t chunk_count(int64_t items, int64_t work_per_item, int64_t work_per_chunk = 1 << 15) {
  if (items <= 0) return 0;
  int64_t per_chunk = work_per_item > 0 ? work_per_chunk / work_per_item : items;
  if (per_chunk < 1) per_chunk = 1;
  return (items + per_chunk - 1) / per_chunk;
}

}  // namespace chainrule
