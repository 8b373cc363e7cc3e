#include "runtime/threads.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace chainrule {

namespace {

constexpr int most_threads = 1024;

// libgomp's worker threads do not survive fork(), and a parallel region in the child would wait for them for
// ever. A child of a process that has started threads therefore works on one thread.
std::atomic<bool> threads_started{false};
std::atomic<bool> forked_after_threads{false};

void after_fork_in_child() {
  if (threads_started.load()) forked_after_threads.store(true);
}

// The smallest processor quota of the cgroup that the process runs in, rounded up, or 0 for none.
int read_quota(const char* path, bool version2) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return 0;
  char text[128] = {};
  size_t got = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  if (got == 0) return 0;
  double quota = 0, period = 100000;
  if (version2) {
    if (std::sscanf(text, "%lf %lf", &quota, &period) < 2) return 0;  // "max 100000" has no quota
  } else {
    if (std::sscanf(text, "%lf", &quota) < 1 || quota <= 0) return 0;  // -1 means none
    if (std::FILE* other = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r")) {
      if (std::fscanf(other, "%lf", &period) != 1) period = 100000;
      std::fclose(other);
    }
  }
  return period > 0 && quota > 0 ? static_cast<int>(std::ceil(quota / period)) : 0;
}

// Walks from the process's own cgroup up to the root; every level may set a quota.
int cgroup_quota() {
  int smallest = 0;
  auto consider = [&](int quota) {
    if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
  };
  consider(read_quota("/sys/fs/cgroup/cpu.max", true));
  consider(read_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", false));
  if (std::FILE* file = std::fopen("/proc/self/cgroup", "r")) {
    char line[4096];
    while (std::fgets(line, sizeof line, file) != nullptr) {
      if (std::strncmp(line, "0::", 3) != 0) continue;
      std::string path(line + 3);
      while (!path.empty() && (path.back() == '\n' || path.back() == '/')) path.pop_back();
      while (!path.empty()) {
        consider(read_quota(("/sys/fs/cgroup" + path + "/cpu.max").c_str(), true));
        const size_t parent = path.rfind('/');
        path.erase(parent == std::string::npos ? 0 : parent);
      }
    }
    std::fclose(file);
  }
  return smallest;
}

int initial_threads() {
  pthread_atfork(nullptr, nullptr, after_fork_in_child);
  const char* wanted = std::getenv("OMP_NUM_THREADS");
  if (wanted != nullptr && *wanted != '\0') {
    const int threads = omp_get_max_threads();
    return threads < 1 ? 1 : threads > most_threads ? most_threads : threads;
  }
  int threads = omp_get_num_procs();  // respects the affinity mask
  int quota = cgroup_quota();
  if (quota > 0 && quota < threads) threads = quota;
  return threads < 1 ? 1 : threads;
}

std::atomic<int>& thread_setting() {
  static std::atomic<int> threads{initial_threads()};
  return threads;
}

}  // namespace

int num_threads() { return thread_setting().load(std::memory_order_relaxed); }

void set_num_threads(int n) {
  if (n < 1 || n > most_threads)
    throw std::invalid_argument("set_num_threads: " + std::to_string(n) +
                                " threads: give a number from 1 to " + std::to_string(most_threads));
  thread_setting().store(n);
}

namespace {

// A thread whose core another process holds keeps all others waiting at the end of a region, a scheduler's
// slice of milliseconds for work of microseconds. Where that is seen twice in a row, short work stays on the
// calling thread for a while: forty times as long as was lost, so that looking again costs a twentieth. A
// region that follows the last one after a pause does not count: its threads slept, and waking one may take a
// virtual machine a millisecond. The bits do not depend on any of it.
std::atomic<int64_t> alone_until{0};      // nanoseconds, as all times here
std::atomic<int64_t> last_end{0};         // of a region
constexpr int64_t least_pause = 150'000;  // threads that have spun for less are awake
std::atomic<bool> held_up_before{false};
constexpr int64_t times_as_long = 40;
constexpr int64_t longest_alone = 200'000'000;
constexpr int64_t least_wait = 400'000;       // what counts as held up
constexpr int64_t worth_sharing = 2'000'000;  // work as long as a slice is shared all the same

int64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

// On a cache line of its own.
struct alignas(64) Counter {
  std::atomic<int64_t> value{0};
};

}  // namespace

void detail::run_chunks(int64_t chunks, ChunkFunction function, const void* context) {
  int threads = num_threads();
  if (threads > chunks) threads = static_cast<int>(chunks);
  if (threads <= 1 || omp_in_parallel() || forked_after_threads.load(std::memory_order_relaxed)) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) function(context, chunk);
    return;
  }
  const int64_t start = now();
  int64_t first = 0;
  if (start < alone_until.load(std::memory_order_relaxed)) {
    while (first < chunks) {
      function(context, first++);
      if ((now() - start) / first * (chunks - first) > worth_sharing) break;
    }
    if (first == chunks) return;
  }
  threads_started.store(true, std::memory_order_relaxed);
  // An exception must not leave the parallel region, where it would end the process: it waits outside.
  std::exception_ptr thrown;
  std::mutex mutex;
  // Each thread begins with a range of its own, the same in every loop of as many chunks: what it wrote in
  // one loop lies in its caches in the next. Chunks are taken one by one, and who is done takes from the
  // others' ranges: a thread that is held up keeps a single chunk. Relaxed: chunks are not ordered by it,
  // only the region's end is, and ThreadSanitizer would take an order for one that always holds.
  const int64_t left = chunks - first;
  auto begin = [&](int range) { return first + left * range / threads; };
  std::vector<Counter> next(static_cast<size_t>(threads));
  for (int range = 0; range < threads; ++range)
    next[static_cast<size_t>(range)].value.store(begin(range), std::memory_order_relaxed);
  int64_t own_end = start;
#pragma omp parallel num_threads(threads)
  {
    try {
      const int own = omp_get_thread_num();
      for (int turn = 0; turn < threads; ++turn) {
        const int range = (own + turn) % threads;
        auto& counter = next[static_cast<size_t>(range)].value;
        const int64_t end = begin(range + 1);
        auto take = [&] { return counter.fetch_add(1, std::memory_order_relaxed); };
        for (int64_t chunk = take(); chunk < end; chunk = take()) function(context, chunk);
      }
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex);
      if (thrown == nullptr) thrown = std::current_exception();
      for (int range = 0; range < threads; ++range)
        next[static_cast<size_t>(range)].value.store(begin(range + 1), std::memory_order_relaxed);
    }
    if (omp_get_thread_num() == 0) own_end = now();
  }
  if (thrown != nullptr) std::rethrow_exception(thrown);
  const int64_t end = now(), wait = end - own_end;
  const bool awake = start - last_end.exchange(end, std::memory_order_relaxed) < least_pause;
  if (!awake) return;
  const bool held_up = wait > least_wait && wait > own_end - start;
  const bool again = held_up && held_up_before.load(std::memory_order_relaxed);
  held_up_before.store(held_up && !again, std::memory_order_relaxed);
  if (again)
    alone_until.store(end + std::min(times_as_long * wait, longest_alone), std::memory_order_relaxed);
}

}  // namespace chainrule
