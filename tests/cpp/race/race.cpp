// What shows that ThreadSanitizer sees into parallel loops: `race` has two chunks write one number, which
// must be reported; `sound` has loops after each other write what the one before wrote, which must not.
#include <atomic>
#include <cstdio>
#include <cstring>

#include "runtime/threads.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  chainrule::set_num_threads(2);
  long shared = 0, apart[64] = {};
  if (std::strcmp(argv[1], "race") == 0) {
    // The second chunk is on another thread when the first writes, and writes after it; relaxed, so that
    // nothing orders the two.
    std::atomic<bool> begun{false}, written{false};
    auto wait_for = [](const std::atomic<bool>& flag) {
      while (!flag.load(std::memory_order_relaxed)) {
      }
    };
    chainrule::parallel_for(2, [&](int64_t chunk) {
      if (chunk == 0) {
        wait_for(begun);
        ++shared;
        written.store(true, std::memory_order_relaxed);
      } else {
        begun.store(true, std::memory_order_relaxed);
        wait_for(written);
        ++shared;
      }
    });
  } else {
    // Backwards every second time, so that a number changes threads.
    for (int round = 0; round < 200; ++round)
      chainrule::parallel_for(64, [&](int64_t chunk) {
        ++apart[round % 2 == 0 ? chunk : 63 - chunk];
        for (volatile int work = 0; work < 2000;) work = work + 1;
      });
    for (long value : apart) shared += value;
  }
  std::printf("%s: %ld\n", argv[1], shared);
  return 0;
}
