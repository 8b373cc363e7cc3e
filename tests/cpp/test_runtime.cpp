// What every kernel stands on: the allocator, threads, checked sizes, processor features, fork.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>
#include <thread>

#include "ops/matmul.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "reference.h"
#include "runtime/allocator.h"
#include "runtime/features.h"
#include "runtime/threads.h"

using namespace chainrule;
using namespace reference;

namespace {

// Puts the number of threads back at the end of a test.
struct KeepThreads {
  int before = num_threads();
  ~KeepThreads() { set_num_threads(before); }
};

#if defined(__SANITIZE_ADDRESS__)
constexpr bool address_sanitizer = true;
#else
constexpr bool address_sanitizer = false;
#endif

}  // namespace

// ---- The allocator ----------------------------------------------------------------------------------------

TEST_CASE("blocks of any size lie on 64 bytes, never overlap, and hold what was written") {
  struct Block {
    unsigned char* memory;
    size_t bytes;
  };
  std::vector<Block> blocks;
  std::vector<size_t> sizes = {0, 1, 63, 64, 65, 79, 80, 81, 95, 96, 97, 111, 112, 113, 127, 128, 129};
  for (int octave = 8; octave <= 21; ++octave)  // one below, at and above each boundary of a class
    for (size_t quarter = 4; quarter < 8; ++quarter)
      for (int by = -1; by <= 1; ++by) sizes.push_back((quarter << (octave - 2)) + static_cast<size_t>(by));
  for (size_t bytes : sizes) {
    auto* memory = static_cast<unsigned char*>(allocate(bytes));
    CAPTURE(bytes);
    CHECK(reinterpret_cast<uintptr_t>(memory) % 64 == 0);
    std::memset(memory, static_cast<int>(blocks.size() % 251), bytes);
    blocks.push_back({memory, bytes});
  }
  std::vector<Block> sorted = blocks;
  std::sort(sorted.begin(), sorted.end(), [](const Block& a, const Block& b) { return a.memory < b.memory; });
  for (size_t i = 1; i < sorted.size(); ++i)
    CHECK(sorted[i - 1].memory + sorted[i - 1].bytes <= sorted[i].memory);
  bool kept = true;
  for (size_t b = 0; b < blocks.size(); ++b)
    for (size_t i = 0; i < blocks[b].bytes; ++i) kept = kept && blocks[b].memory[i] == b % 251;
  CHECK(kept);
  for (const Block& block : blocks) release(block.memory, block.bytes);
}

TEST_CASE("given-back memory is handed out again, to requests that fit it") {
  release_kept_memory();
  for (size_t bytes : {size_t{1}, size_t{100}, size_t{5000}, size_t{1} << 20, (size_t{3} << 20) + 5}) {
    void* first = allocate(bytes);
    release(first, bytes);
    void* second = allocate(bytes);
    CHECK(first == second);
    void* third = allocate(bytes);
    CHECK(third != second);
    release(second, bytes);
    release(third, bytes);
  }
  release(nullptr, 100);  // allowed
}

TEST_CASE("the statistics add up") {
  release_kept_memory();
  const AllocatorStatistics start = allocator_statistics();
  CHECK(start.bytes_kept == 0);
  reset_peak();
  CHECK(allocator_statistics().peak_in_use == start.bytes_in_use);
  std::vector<std::pair<void*, size_t>> blocks;
  int64_t asked = 0;
  for (size_t bytes : {100, 5000, 70000, 70000, 1000000}) {
    blocks.emplace_back(allocate(bytes), bytes);
    asked += static_cast<int64_t>(bytes);
  }
  const AllocatorStatistics full = allocator_statistics();
  const int64_t used = full.bytes_in_use - start.bytes_in_use;
  CHECK(used >= asked);
  CHECK(used <= asked + asked / 4 + 5 * 64);  // at most a quarter of a block is unused
  CHECK(full.peak_in_use == full.bytes_in_use);
  CHECK(full.bytes_kept == 0);
  for (auto [memory, bytes] : blocks) release(memory, bytes);
  const AllocatorStatistics empty = allocator_statistics();
  CHECK(empty.bytes_in_use == start.bytes_in_use);
  CHECK(empty.bytes_kept == used);
  CHECK(empty.peak_in_use == full.peak_in_use);
  reset_peak();
  CHECK(allocator_statistics().peak_in_use == start.bytes_in_use);
  release_kept_memory();
  CHECK(allocator_statistics().bytes_kept == 0);
}

TEST_CASE("sizes that no machine has throw bad_alloc") {
  const AllocatorStatistics before = allocator_statistics();
  CHECK_THROWS_AS(allocate((size_t{1} << 47) + 1), std::bad_alloc);
  CHECK_THROWS_AS(allocate(~size_t{0}), std::bad_alloc);
  CHECK_THROWS_AS(allocate(~size_t{0} - 62), std::bad_alloc);  // rounding up would wrap to 0
  if (!address_sanitizer)
    CHECK_THROWS_AS(allocate(size_t{1} << 47), std::bad_alloc);  // which would stop instead
  CHECK_THROWS_AS(Scratch<float>(-1), std::bad_alloc);
  CHECK(allocator_statistics().bytes_in_use == before.bytes_in_use);
}

TEST_CASE("a count whose bytes wrap around 64 bits throws bad_alloc") {
  CHECK_THROWS_AS(Scratch<double>(int64_t{1} << 61), std::bad_alloc);
  CHECK_THROWS_AS(Scratch<float>(int64_t{1} << 62), std::bad_alloc);
  CHECK_THROWS_AS(Scratch<double>((int64_t{1} << 61) + 8), std::bad_alloc);
}

TEST_CASE("threads that allocate and give back at once never share a block") {
  const AllocatorStatistics before = allocator_statistics();
  std::atomic<int> torn{0};
  std::vector<std::thread> threads;
  for (unsigned id = 0; id < 6; ++id)
    threads.emplace_back([id, &torn] {
      std::mt19937 random(id);
      std::vector<std::pair<unsigned char*, size_t>> live;
      for (int round = 0; round < 4000; ++round) {
        if (live.size() < 12 && random() % 3 != 0) {
          const size_t bytes = 1 + random() % (random() % 20 == 0 ? 100000 : 600);
          auto* memory = static_cast<unsigned char*>(allocate(bytes));
          std::memset(memory, static_cast<int>(id + 1), bytes);
          live.emplace_back(memory, bytes);
        } else if (!live.empty()) {
          std::swap(live[random() % live.size()], live.back());
          auto [memory, bytes] = live.back();
          live.pop_back();
          if (memory[0] != id + 1 || memory[bytes / 2] != id + 1 || memory[bytes - 1] != id + 1) ++torn;
          release(memory, bytes);
        }
        if (round % 1000 == 999) release_kept_memory();
      }
      for (auto [memory, bytes] : live) release(memory, bytes);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(torn == 0);
  CHECK(allocator_statistics().bytes_in_use == before.bytes_in_use);
}

// ---- Threads ----------------------------------------------------------------------------------------------

TEST_CASE("the number of threads is set, and checked") {
  KeepThreads keep;
  CHECK(num_threads() >= 1);
  for (int n : {1, 2, 7, 1024}) {
    set_num_threads(n);
    CHECK(num_threads() == n);
  }
  set_num_threads(3);
  for (int n : {0, -1, 1025, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()}) {
    CHECK_THROWS_WITH_AS(set_num_threads(n), doctest::Contains("threads: give a number from 1 to 1024"),
                         std::invalid_argument);
    CHECK(num_threads() == 3);
  }
}

TEST_CASE("parallel_for visits each chunk exactly once") {
  KeepThreads keep;
  for (int threads : {1, 2, 3, 4, 5, 8, 16}) {
    set_num_threads(threads);
    for (int64_t chunks : {0, 1, 2, 3, 5, 17, 1000}) {
      std::vector<std::atomic<int>> visits(static_cast<size_t>(chunks));
      parallel_for(chunks, [&](int64_t chunk) { ++visits[static_cast<size_t>(chunk)]; });
      CAPTURE(threads);
      CAPTURE(chunks);
      CHECK(std::all_of(visits.begin(), visits.end(), [](const std::atomic<int>& v) { return v == 1; }));
    }
  }
  parallel_for(-3, [&](int64_t) { FAIL("a negative number of chunks has none"); });
}

TEST_CASE("an exception of a chunk reaches the caller, and the next loop runs as ever") {
  KeepThreads keep;
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    for (int64_t bad : {0, 7, 99}) {
      CHECK_THROWS_AS(parallel_for(100,
                                   [&](int64_t chunk) {
                                     if (chunk == bad) throw std::bad_alloc();
                                   }),
                      std::bad_alloc);
      CHECK_THROWS_AS(parallel_for(100, [&](int64_t) { throw std::runtime_error("every chunk"); }),
                      std::runtime_error);
      std::atomic<int> visits{0};
      parallel_for(100, [&](int64_t) { ++visits; });
      CHECK(visits == 100);
    }
  }
}

TEST_CASE("parallel_for works on several threads at once when it has them") {
  KeepThreads keep;
  set_num_threads(2);
  // The chunks wait for each other. Where the machine's cores are taken, loops stay on the calling thread for
  // a while, so there are several trials.
  using Clock = std::chrono::steady_clock;
  bool met = false;
  for (const auto end = Clock::now() + std::chrono::seconds(60); !met && Clock::now() < end;) {
    std::atomic<int> arrived{0}, saw_both{0};
    parallel_for(2, [&](int64_t) {
      ++arrived;
      const auto patience = Clock::now() + std::chrono::milliseconds(200);
      while (arrived < 2 && Clock::now() < patience) std::this_thread::yield();
      saw_both += arrived == 2;
    });
    met = saw_both == 2;
  }
  CHECK(met);
}

TEST_CASE("a parallel loop inside another visits each pair once") {
  KeepThreads keep;
  for (int threads : {1, 2, 4}) {
    set_num_threads(threads);
    std::vector<std::atomic<int>> visits(20 * 30);
    parallel_for(20, [&](int64_t outer) {
      parallel_for(30, [&](int64_t inner) { ++visits[static_cast<size_t>(outer * 30 + inner)]; });
    });
    CHECK(std::all_of(visits.begin(), visits.end(), [](const std::atomic<int>& v) { return v == 1; }));
  }
}

TEST_CASE("threads of the caller's own may each run parallel loops") {
  KeepThreads keep;
  set_num_threads(3);
  std::atomic<int64_t> total{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int round = 0; round < 20; ++round) parallel_for(50, [&](int64_t chunk) { total += chunk; });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(total == 4 * 20 * (49 * 50 / 2));
}

TEST_CASE("chunk_count covers all items and depends on sizes alone") {
  CHECK(chunk_count(0, 10) == 0);
  CHECK(chunk_count(-5, 10) == 0);
  CHECK(chunk_count(1, 0) == 1);
  CHECK(chunk_count(1000, 0) == 1);
  CHECK(chunk_count(1 << 15, 1) == 1);
  CHECK(chunk_count((1 << 15) + 1, 1) == 2);
  CHECK(chunk_count(10, 1 << 20) == 10);  // no chunk holds less than an item
  CHECK(chunk_count(100, 1000, 10000) == 10);
}

TEST_CASE_TEMPLATE("results are the same to the bit on 1 to 5 threads", T, float, double) {
  KeepThreads keep;
  const std::vector<T> x = normal<T>(300000, 1), y = normal<T>(300000, 2);
  auto strided = [](const std::vector<T>& v, int64_t rows, int64_t columns, bool transposed) {
    return StridedArray<T>{v.data(), {rows, columns}, transposed ? Shape{1, rows} : Shape{columns, 1}};
  };
  auto run = [&] {
    std::vector<T> all;
    auto keep_values = [&](const std::vector<T>& out) { all.insert(all.end(), out.begin(), out.end()); };
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{256, 10, 1000},
                                  {10, 256, 1000},
                                  {130, 170, 600},
                                  {61, 400, 300},
                                  {1, 1000, 300},
                                  {500, 33, 300}})
      for (int layout = 0; layout < 4; ++layout) {
        std::vector<T> out(static_cast<size_t>(m * n));
        matmul<T>(strided(x, m, k, layout & 1), strided(y, k, n, layout & 2), out.data());
        keep_values(out);
      }
    std::vector<T> batch(200 * 10 * 10);
    matmul<T>({x.data(), {200, 10, 100}, {1000, 100, 1}}, {y.data(), {200, 100, 10}, {1000, 10, 1}},
              batch.data());
    keep_values(batch);
    for (const ReduceShape& s :
         {ReduceShape{1, 300000, 1}, {1000, 300, 1}, {1, 1000, 300}, {10, 3000, 10}, {2, 70000, 2}}) {
      std::vector<T> sums(static_cast<size_t>(s.outer * s.inner));
      reduce_sum<T>(x.data(), s, sums.data());
      keep_values(sums);
      for (SoftmaxOutput output : {SoftmaxOutput::softmax, SoftmaxOutput::log_softmax}) {
        std::vector<T> out(static_cast<size_t>(s.outer * s.n * s.inner)), dx(out.size());
        softmax_forward<T>(output, x.data(), s, out.data());
        softmax_backward<T>(output, out.data(), y.data(), s, dx.data());
        keep_values(out);
        keep_values(dx);
      }
    }
    return all;
  };
  set_num_threads(1);
  const std::vector<T> alone = run();
  for (int threads = 2; threads <= 5; ++threads) {
    set_num_threads(threads);
    CAPTURE(threads);
    CHECK(same_bits(alone, run()));
  }
}

TEST_CASE("a process forked after a parallel loop computes on, alone") {
  KeepThreads keep;
  set_num_threads(4);
  std::atomic<int> visits{0};
  parallel_for(8, [&](int64_t) { ++visits; });
  REQUIRE(visits == 8);

  const std::vector<float> a = small_integers<float>(200 * 300, 1), b = small_integers<float>(300 * 200, 2);
  std::vector<float> expected(200 * 200);
  matmul<float>({a.data(), {200, 300}, {300, 1}}, {b.data(), {300, 200}, {200, 1}}, expected.data());

  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);  // a child that waits for threads it has not is ended by the signal
    std::vector<float> out(200 * 200);
    matmul<float>({a.data(), {200, 300}, {300, 1}}, {b.data(), {300, 200}, {200, 1}}, out.data());
    int sum = 0;
    parallel_for(100, [&](int64_t chunk) { sum += static_cast<int>(chunk); });
    Scratch<float> scratch(1000000);
    scratch[999999] = 1;
    _exit(out == expected && sum == 4950 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  INFO("the child's status is " << status << (WIFSIGNALED(status) ? ": ended by a signal" : ""));
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);

  visits = 0;  // the parent still has its threads
  parallel_for(8, [&](int64_t) { ++visits; });
  CHECK(visits == 8);
}

// ---- Checked sizes ----------------------------------------------------------------------------------------

TEST_CASE("sizes that overflow 64 bits are errors") {
  const int64_t most = std::numeric_limits<int64_t>::max(), least = std::numeric_limits<int64_t>::min();
  CHECK(checked_multiply(3, 4, "test") == 12);
  CHECK(checked_multiply(most, 1, "test") == most);
  CHECK(checked_multiply(most, 0, "test") == 0);
  CHECK_THROWS_WITH_AS(checked_multiply(int64_t{1} << 32, int64_t{1} << 31, "conv"),
                       "conv: 4294967296 x 2147483648 elements overflow 64 bits: use smaller shapes",
                       std::invalid_argument);
  CHECK_THROWS_AS(checked_multiply(least, -1, "test"), std::invalid_argument);
  CHECK(checked_add(most, 0, "test") == most);
  CHECK(checked_add(most, -1, "test") == most - 1);
  CHECK_THROWS_WITH_AS(checked_add(most, 1, "pad"),
                       doctest::Contains("pad: 9223372036854775807 + 1 overflows 64 bits"),
                       std::invalid_argument);
  CHECK_THROWS_AS(checked_add(least, -1, "test"), std::invalid_argument);
  CHECK(element_count({}, "test") == 1);
  CHECK(element_count({2, 3, 4}, "test") == 24);
  CHECK(element_count({2, 0, 4}, "test") == 0);
  CHECK_THROWS_WITH_AS(element_count({2, -3}, "test"), "test: negative size -3", std::invalid_argument);
  CHECK_THROWS_AS(element_count({most, 2}, "test"), std::invalid_argument);
  // An empty array's other sizes are multiplied as well, by whoever computes an offset.
  CHECK_THROWS_AS(element_count({0, most, 2}, "test"), std::invalid_argument);
  CHECK_THROWS_AS(element_count({most, 2, 0}, "test"), std::invalid_argument);
  CHECK_THROWS_AS(element_count({0, most, -1}, "test"), std::invalid_argument);
}

TEST_CASE("shapes are written as Python writes them") {
  CHECK(shape_text({}) == "()");
  CHECK(shape_text({4}) == "(4,)");
  CHECK(shape_text({2, 3}) == "(2, 3)");
}

// ---- Processor features -----------------------------------------------------------------------------------

TEST_CASE("instruction sets have names, in rising order") {
  for (Isa isa : all_isas) CHECK(parse_isa(isa_name(isa)) == isa);
  for (const char* wrong : {"", "AVX2", "avx", "avx512f", "avx512-bf16", " baseline", "sse9"})
    CHECK_THROWS_WITH_AS(
        parse_isa(wrong),
        doctest::Contains("is not known: use baseline, avx2, avx512, avx512_bf16 or amx_bf16"),
        std::invalid_argument);
  const std::vector<Isa> found = available_isas();
  REQUIRE(!found.empty());
  CHECK(found.front() == Isa::baseline);
  CHECK(std::is_sorted(found.begin(), found.end()));
  CHECK(std::find(found.begin(), found.end(), active_isa()) != found.end());
}

TEST_CASE("CHAINRULE_MAX_ISA caps the level in use") {
  const char* cap = std::getenv("CHAINRULE_MAX_ISA");
  const Isa best = available_isas().back();
  if (cap == nullptr || *cap == '\0')
    CHECK(active_isa() == best);
  else
    CHECK(active_isa() == std::min(best, parse_isa(cap)));
}

TEST_CASE("every available instruction set can be used, and no other") {
  const Isa before = active_isa();
  const std::vector<Isa> found = available_isas();
  const std::vector<float> x = small_integers<float>(37 * 41, 1);
  float sums[std::size(all_isas)] = {};
  for (Isa isa : all_isas) {
    CAPTURE(isa_name(isa));
    if (std::find(found.begin(), found.end(), isa) == found.end()) {
      CHECK_THROWS_WITH_AS(set_active_isa(isa), doctest::Contains("this processor lacks"),
                           std::invalid_argument);
      CHECK(active_isa() != isa);
      continue;
    }
    set_active_isa(isa);
    CHECK(active_isa() == isa);
    float* sum = &sums[static_cast<int>(isa)];
    reduce_sum<float>(x.data(), {1, 37 * 41, 1}, sum);
    CHECK(*sum == sums[0]);
  }
  set_active_isa(before);
}
