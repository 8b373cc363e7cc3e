#include "ops/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>

#include "kernels/table.h"
#include "runtime/threads.h"

namespace chainrule {

template <class T>
double multiply_add_rate(double seconds) {
  if (!(seconds >= 0 && seconds <= 60))
    throw std::invalid_argument("multiply_add_rate: " + std::to_string(seconds) +
                                " seconds: give 0 to 60 of them");
  const auto& kernel = kernels<T>().peak;
  // A chunk takes some 50 microseconds, so that threads end a round nearly together.
  constexpr int64_t steps = 20000;
  const int64_t chunks = int64_t{50} * num_threads();
  const double operations = 2.0 * steps * multiply_add_chains * kernel.lanes * static_cast<double>(chunks);
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  std::atomic<bool> sound{true};
  double best = 0;
  for (auto before = start; best == 0 || std::chrono::duration<double>(before - start).count() < seconds;) {
    parallel_for(chunks, [&](int64_t) {
      // Looking at the result keeps the compiler from leaving the work out.
      if (!(kernel.multiply_add(steps) > 0)) sound = false;
    });
    const auto after = Clock::now();
    best = std::max(best, operations / std::chrono::duration<double>(after - before).count());
    before = after;
  }
  if (!sound) throw std::runtime_error("multiply_add_rate: the sums are wrong: a fault of the machine");
  return best;
}

template double multiply_add_rate<float>(double);
template double multiply_add_rate<double>(double);

}  // namespace chainrule
